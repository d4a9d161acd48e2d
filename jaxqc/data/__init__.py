"""Data: readers, decoding, checks, splits, the grain pipeline, records, on-device augmentation, synthetic sets."""
