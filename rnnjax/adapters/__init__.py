"""Adapters to other libraries. Import the one you need: ``linen`` and ``nnx`` need flax, ``torch`` needs nothing."""
