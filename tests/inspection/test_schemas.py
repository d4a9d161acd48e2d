"""Names, versions and fields of the records for other programs: as the documentation has them, and read back."""

import dataclasses
import json
from pathlib import Path

import pytest

from jaxqc.errors import UserError
from jaxqc.inspection.findings import Decision, Finding, LotFinding, Share
from jaxqc.inspection.ledger.queries import Lot
from jaxqc.inspection.ledger.store import ModelInfo, open_ledger
from jaxqc.inspection.results import Findings, Inspection, to_json
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.schemas import KINDS, fields_of, markdown
from jaxqc.inspection.stamps import VERSIONS, stamped, unstamped

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "outputs.md"
FINDING = Finding("1.png", "0" * 64, 8, 9, "pass", 0.1, 0.0, 0, 0.0, 0.0)
LOT = LotFinding("A", 2, 1.0, 0.5, 0.1, 0.9, 0.95, 0.0, 0.0, 0.0, 100.0, 0.0, "D", "high", pieces=2,
                 share=Share(0.5, 0.1, 0.9, "labelled images"), decision=Decision("refuse", 0, {"refuse": 1.0}, "Why."),
                 reasons=("Because.",))  # fmt: skip
# The fields of each version, which other programs rely on. One that is gone or has another type needs a new version
# here; one that is new is added to the present one.
FIELDS = {
    ("jaxqc-finding", 2): "image sha256 height width verdict score area_ratio count density severity composition "
    "class_area defects mm_per_pixel density_m2",
    ("jaxqc-lot", 2): "lot images defective fraction low high confidence mean_area_ratio p95_area_ratio mean_density "
    "quality severe grade risk verdicts composition supplier product pieces rejected waiting share decision reasons "
    "copies uninspected reused",
    ("jaxqc-supplier", 2): "supplier lots inspected defective pass_rate low high stability trend drift outside score "
    "rank",
}


@pytest.mark.parametrize("name", KINDS)
def test_the_documentation_has_every_field_as_it_is(name: str) -> None:
    assert all(meaning.endswith((".", "`.")) for _, _, meaning in fields_of(name)), name
    assert markdown(name) in PAGE.read_text("utf-8"), f"docs/guide/outputs.md differs:\n{markdown(name)}"


@pytest.mark.parametrize("name", VERSIONS)
def test_the_documentation_has_the_version(name: str) -> None:
    assert f"## `{name}`, version {VERSIONS[name]}: " in PAGE.read_text("utf-8")
    if name in KINDS:
        own = [field for field, _, _ in fields_of(name)]
        assert own == FIELDS[name, VERSIONS[name]].split()


def test_findings_carry_their_name_and_lines_of_before_are_read(tmp_path: Path) -> None:
    with (
        open_ledger(tmp_path / "ledger.sqlite") as ledger,
        Findings(tmp_path / "findings.jsonl", ledger, "m") as findings,
    ):
        findings.add([FINDING], [{"lot": "A"}])
    line = json.loads((tmp_path / "findings.jsonl").read_text())
    assert (line["schema"], line["version"]) == ("jaxqc-finding", 2)
    assert line.pop("manifest") == {"lot": "A"}
    assert Finding.from_dict(line) == FINDING == Finding.from_dict(FINDING.to_dict())


def test_the_summary_and_each_of_its_lines_carry_theirs() -> None:
    lot = Lot("A", "", "", "", "m", 2, "", 1)
    found = Inspection(Path("out"), "l.sqlite", ModelInfo("m"), 2, 0, 0, (), ((lot, LOT),), (), 1.0)
    summary = json.loads(json.dumps(to_json(found, GradeRules())))
    assert (summary["schema"], summary["version"]) == ("jaxqc-summary", VERSIONS["jaxqc-summary"])
    (line,) = summary["lots"]
    assert (line["schema"], line["version"]) == ("jaxqc-lot", VERSIONS["jaxqc-lot"])
    assert LotFinding.from_dict({k: v for k, v in line.items() if k not in ("line", "since")}) == LOT
    page = PAGE.read_text("utf-8")
    assert all(f"| `{name}` | " in page for name in summary if name not in ("schema", "version"))


def test_other_programs_and_later_versions_are_refused() -> None:
    with pytest.raises(UserError, match=r"jaxqc-lot: version 99; this jaxqc reads 1 to"):
        LotFinding.from_dict({**stamped("jaxqc-lot", LOT.to_dict()), "version": 99})
    with pytest.raises(UserError, match="schema='coco' is none of"):
        unstamped({"schema": "coco"})
    assert unstamped(dataclasses.asdict(Share(0, 0, 0, "x")))["origin"] == "x"
