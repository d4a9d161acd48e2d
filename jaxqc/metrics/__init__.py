"""Metrics as mergeable accumulators of sums, jitted and checked against their published definitions."""
