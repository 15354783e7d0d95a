"""What all tests of experiments share."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    """Else others who draw would draw on it."""
    yield
    plt.close("all")
