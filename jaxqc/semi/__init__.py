"""Segmentation from few labels: MvpMatch, and its family as values of one configuration."""
