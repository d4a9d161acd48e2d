"""Annotations of people's tools: shapes that are drawn as masks, run lengths, and outlines for writing back."""
