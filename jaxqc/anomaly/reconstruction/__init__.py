"""Networks that rebuild good images or their features; their settings are in `detectors`."""
