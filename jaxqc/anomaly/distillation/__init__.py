"""Students that imitate a frozen teacher's features on normal images; their settings are in `detectors`."""
