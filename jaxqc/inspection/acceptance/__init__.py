"""Acceptance: severity and grades, sampling plans, switching rules, suppliers."""
