"""The rules of inspection with their usual values: from defects to verdicts, severities and grades of lots. A file to
copy and to change to the product's needs.

    jaxqc recipes inspection_rules --out rules.py
    jaxqc inspect --checkpoint runs/steel --images lots.csv --rules rules.py --out inspected

A class that hurts more than others gets a weight, and one that must never pass is named in `reject_classes`:

    severity=SeverityRules(weights=(ClassWeight("Scratches", 2.0),)),
    verdict=VerdictRules(reject_classes=("Inclusion",)),

Where every find counts, however small, `review_counts=True` lets images to be reviewed count as defective in their lot.
"""

from jaxqc.inspection.rules import DefectRules, GradeRules, LotRules, SeverityRules, VerdictRules


def get_config() -> GradeRules:
    """The rules."""
    return GradeRules(
        defects=DefectRules(opening=1, smallest=16, kept=64),
        severity=SeverityRules(area_share=0.6, area_full=0.10, count_share=0.2, count_full=1.0,
                               largest_share=0.2, largest_full=0.05),
        verdict=VerdictRules(review=0.0, reject=0.2, review_counts=False),
        lots=LotRules(a=90.0, b=75.0, c=50.0, severe=0.6, severe_share=0.05, confidence=0.95),
    )  # fmt: skip
