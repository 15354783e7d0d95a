"""One question per module, each run as ``python -m experiments.NAME``."""
