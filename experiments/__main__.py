"""``python -m experiments`` lists all of them."""

from experiments.common import catalogue

if __name__ == "__main__":
    catalogue.show(catalogue.listing())
