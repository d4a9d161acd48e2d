"""Transformers of an image's patches that rebuild it; their settings are in `detectors`."""
