"""Inspection as a service: images over HTTP, answers of `jaxqc inspect`, the same ledger (extra `serve`)."""
