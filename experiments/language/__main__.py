"""``python -m experiments.language``: config.py has its settings, ``--help`` prints them."""

from experiments.common import sweep
from experiments.language.main import main

if __name__ == "__main__":
    sweep.run("language", main)
