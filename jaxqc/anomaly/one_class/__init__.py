"""Networks that learn what good images have in common; their settings are in `detectors`."""
