"""Normalising flows over frozen features: couplings, the networks between them, chains, losses, maps."""
