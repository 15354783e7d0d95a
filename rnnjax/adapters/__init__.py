"""Cells in other libraries' clothes. Import the one you need: ``linen`` and ``nnx`` need flax, ``torch`` nothing."""
