"""Supervised saliency segmentation: losses, the training method, evaluation and pictures."""
