"""Functions that make cells of cells: stacked, repeated, with noise, in lower precision, with clipped gradients."""
