"""The quality ledger: tables, transactions, queries and exports."""

from jaxqc.inspection.ledger.store import Ledger, open_ledger

__all__ = ["Ledger", "open_ledger"]
