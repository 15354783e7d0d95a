"""``python -m experiments.forward_memory``: config.py has its settings, ``--help`` prints them."""

from experiments.common import sweep
from experiments.forward_memory.main import main

if __name__ == "__main__":
    sweep.run("forward_memory", main)
