"""Pages for people: live, lots, suppliers, review and model, made by the server from the ledger and the report's parts.

A page is a module with `add` and templates; `PAGES` in `site` names them.
"""
