"""Augmentation on the device: geometry, photometric changes, CutMix."""
