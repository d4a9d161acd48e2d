"""Findings and manifest rows for ledger tests, the same for the same number in every process."""

import hashlib
import random

from jaxqc.inspection.findings import VERDICTS, Defect, Finding
from jaxqc.inspection.ledger.store import ModelInfo

MODEL = ModelInfo("a1" * 32, "tscarnet", {"threshold": 0.5})
OTHER = ModelInfo("b2" * 32, "gaussian")
SIDE = 200


def defect(rng: random.Random, class_name: str) -> Defect:
    x0, y0 = rng.randrange(SIDE - 20), rng.randrange(SIDE - 20)
    w, h = rng.randrange(4, 20), rng.randrange(4, 20)
    return Defect(
        class_name=class_name,
        probability=rng.random(),
        box=(x0, y0, x0 + w, y0 + h),
        centroid=(x0 + w / 2, y0 + h / 2),
        area=w * h,
        length=float(max(w, h)),
        width=float(min(w, h)),
        mean_score=rng.random(),
        peak_score=rng.random(),
        polygon=((x0, y0), (x0 + w, y0), (x0 + w, y0 + h), (x0, y0 + h)),
        area_mm2=w * h * 0.01 if x0 % 2 else None,
    )


def finding(number: int, defects: int | None = None, classes: tuple[str, ...] = ("In", "Pa", "Sc")) -> Finding:
    rng = random.Random(number)
    found = [defect(rng, rng.choice(classes)) for _ in range(rng.randrange(6) if defects is None else defects)]
    found.sort(key=lambda d: -d.area)
    names = sorted({d.class_name for d in found})
    ratio = sum(d.area for d in found) / SIDE**2
    return Finding(
        image=f"images/{number:06d}.png",
        sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        height=SIDE,
        width=SIDE,
        verdict=VERDICTS[min(len(found), 2)],
        score=rng.random(),
        area_ratio=ratio,
        count=len(found),
        density=len(found) / SIDE**2 * 1e4,
        severity=min(1.0, 6 * ratio),
        composition={name: sum(d.class_name == name for d in found) for name in names},
        class_area={name: sum(d.area for d in found if d.class_name == name) for name in names},
        defects=tuple(found),
        mm_per_pixel=0.1 if number % 2 else None,
    )


def row(number: int, lot: str = "") -> dict[str, str]:
    lot = lot or f"lot {number // 10}"
    supplier = "North" if number // 10 % 2 else "South"
    return {"image": f"images/{number:06d}.png", "lot": lot, "supplier": supplier, "product": "strip", "line": "1",
            "machine": "M", "time": f"2026-01-{number % 28 + 1:02d}", "shift": str(number % 3)}  # fmt: skip
