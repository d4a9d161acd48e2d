"""`jaxqc ledger ...`: the verbs of the quality ledger, a file each."""

from jaxqc.cli.ledger import drift, export, import_outcomes, lots, outcomes, report

__all__ = ["TEXTS", "drift", "export", "import_outcomes", "lots", "outcomes", "report"]

TEXTS = ("Lots, outcomes, reports and exports of what was inspected.", "The ledger.")
"""Help and description."""
