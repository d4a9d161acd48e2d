"""Layers: convolutions, attention, resizing, batch-norm folding. They know nothing of tasks or data."""
