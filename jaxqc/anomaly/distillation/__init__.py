"""Students that imitate a frozen teacher's features on normal images: one config, whose values are the members."""

# Its members are entries of DETECTORS, which import them: whoever is imported first, that dict is made first.
import jaxqc.anomaly.detectors as detectors  # noqa: F401
