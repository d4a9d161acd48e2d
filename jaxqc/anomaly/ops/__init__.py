"""The detectors' mathematics: Gaussians, nearest neighbours, coresets and maps, as functions of arrays alone."""
