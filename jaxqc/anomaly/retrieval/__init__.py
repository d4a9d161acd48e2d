"""Learned retrieval: what a cell is compared with is found first, or restricted."""
