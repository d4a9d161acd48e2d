"""Normals only: detectors that learn from defect-free images; each collects, fits and scores as pure functions."""
