"""Cells over sequences: unrolling, both directions, truncation, decoding, and from one sequence to another."""
