"""Findings go to JSON and back, and refuse what is none."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.errors import UserError
from jaxqc.inspection.findings import GRADES, RISKS, VERDICTS, Defect, Finding, LotFinding

real = st.floats(0, 1e6)
share = st.floats(0, 1)
count = st.integers(0, 10**6)
names = st.text(max_size=8)
millimetres = st.none() | real
defects = st.builds(
    Defect,
    class_name=names,
    probability=share,
    box=st.tuples(count, count, count, count),
    centroid=st.tuples(real, real),
    area=count,
    length=real,
    width=real,
    mean_score=share,
    peak_score=share,
    polygon=st.lists(st.tuples(real, real), min_size=3, max_size=6).map(tuple),
    area_mm2=millimetres,
    length_mm=millimetres,
    width_mm=millimetres,
)
findings = st.builds(
    Finding,
    image=names,
    sha256=st.just("a" * 64),
    height=count,
    width=count,
    verdict=st.sampled_from(VERDICTS),
    score=real,
    area_ratio=share,
    count=count,
    density=real,
    severity=share,
    composition=st.dictionaries(names, count, max_size=3),
    class_area=st.dictionaries(names, count, max_size=3),
    defects=st.lists(defects, max_size=3).map(tuple),
    mm_per_pixel=millimetres,
    density_m2=millimetres,
)
lots = st.builds(
    LotFinding,
    lot=names,
    images=count,
    defective=count,
    fraction=share,
    low=share,
    high=share,
    confidence=share,
    mean_area_ratio=share,
    p95_area_ratio=share,
    mean_density=real,
    quality=real,
    severe=share,
    grade=st.sampled_from(GRADES),
    risk=st.sampled_from(RISKS),
    verdicts=st.dictionaries(st.sampled_from(VERDICTS), count),
    composition=st.dictionaries(names, count, max_size=3),
    supplier=names,
    product=names,
)


@settings(deadline=None)
@given(defects | findings | lots)
def test_round_trip_through_json(value):
    text = json.dumps(value.to_dict(), allow_nan=False)
    assert type(value).from_dict(json.loads(text)) == value


DEFECT = Defect("In", 0.9, (0, 0, 1, 1), (0.5, 0.5), 1, 1.0, 1.0, 0.8, 0.8, ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0)))
FINDING = Finding("a.png", "0" * 64, 10, 10, "pass", 0.1, 0.01, 1, 100.0, 0.1, {"In": 1}, {"In": 1}, (DEFECT,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "fail"}, r"verdict='fail' \(known: pass, reject, review\)"),
        ({"scores": 1}, r"Finding: unknown key 'scores' \(did you mean 'score'"),
        ({"defects": [{"class_name": "In"}]}, "Defect: key 'probability' is missing"),
    ],
)
def test_what_is_no_finding_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        Finding.from_dict(FINDING.to_dict() | change)


def test_defaults_may_be_left_out():
    short = {k: v for k, v in FINDING.to_dict().items() if k not in ("mm_per_pixel", "density_m2", "defects")}
    assert Finding.from_dict(short) == replace(FINDING, defects=())
