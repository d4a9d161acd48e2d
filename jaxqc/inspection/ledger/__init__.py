"""The quality ledger: tables, transactions, queries and exports."""
