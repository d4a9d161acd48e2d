"""Codes of images made normal in two subspaces (DSR); its settings are in `detectors`."""
