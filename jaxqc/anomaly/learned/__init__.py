"""Parts that detectors share whose training starts from frozen features: the cache, distances, weights, fusion."""
