"""Pretrained weights: known files and where to get them, downloading, reading any format, our own format."""
