"""Networks that learn to tell normal features from disturbed ones; their settings are in `detectors`."""
