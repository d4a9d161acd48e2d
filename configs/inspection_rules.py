"""The rules of inspection with their usual values: from defects to verdicts, severities and grades of lots. A file to
copy and to change to the product's needs.

    jaxqc recipes inspection_rules --out rules.py
    jaxqc inspect --checkpoint runs/steel --images lots.csv --rules rules.py --out inspected

A class that hurts more than others gets a weight, and one that must never pass is named in `reject_classes`:

    severity=SeverityRules(weights=(ClassWeight("Scratches", 2.0),)),
    verdict=VerdictRules(reject_classes=("Inclusion",)),

A lot's grade and risk follow from its share of defective pieces. A piece that waits for review counts as defective
until somebody has cleared it; `review_weight=0.5` counts two such pieces as one.
"""

from jaxqc.inspection.rules import DefectRules, GradeRules, LotRules, SeverityRules, VerdictRules


def get_config() -> GradeRules:
    """The rules."""
    return GradeRules(
        defects=DefectRules(opening=1, smallest=16, kept=64),
        severity=SeverityRules(area_share=0.6, area_full=0.10, count_share=0.2, count_full=1.0,
                               largest_share=0.2, largest_full=0.05),
        verdict=VerdictRules(review=0.0, reject=0.2),
        lots=LotRules(a=0.01, b=0.04, c=0.10, tolerated=0.10, severe=0.6, severe_share=0.05, confidence=0.95,
                      review_weight=1.0, called_share=0.5),
    )  # fmt: skip
