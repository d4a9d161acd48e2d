"""Autoencoders of the image with several outputs; their settings are in `detectors`."""
