"""Figures that people look at: rows of images and maps, worst cases, training curves; files only, no windows."""
