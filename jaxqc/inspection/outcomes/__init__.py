"""Outcomes of sales: orders, rates, relative risks."""
