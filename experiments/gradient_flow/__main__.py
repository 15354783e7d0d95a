"""``python -m experiments.gradient_flow``: config.py has its settings, ``--help`` prints them."""

from experiments.common import sweep
from experiments.gradient_flow.main import main

if __name__ == "__main__":
    sweep.run("gradient_flow", main)
