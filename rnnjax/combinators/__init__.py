"""Cells made of cells: stacked, repeated, with noise, in few digits, with clipped gradients."""
