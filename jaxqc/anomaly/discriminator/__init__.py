"""Networks that learn to part normal features from disturbed ones."""

# Its member is an entry of DETECTORS, which imports it: whoever is imported first, that dict is made first.
import jaxqc.anomaly.detectors as detectors  # noqa: F401
