"""Cells over sequences: unrolled, in both directions, truncated, from one sequence into another."""
