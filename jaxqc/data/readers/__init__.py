"""Readers: one file a data-set layout, each giving an index of samples with nothing decoded."""
