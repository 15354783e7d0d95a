"""docs/how_it_works.md: its code runs, the zero inside the scan has dL/ds_t, and its figures were measured."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import rnnjax

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how_it_works.md").read_text(encoding="utf-8")
GUIDE = [(ROOT / "benchmarks" / file).read_text(encoding="utf-8") for file in ("README.md", "TRIED.md")]

FIGURES = [
    "0.75 times as long for an LSTM, 0.55 times for a GRU and 0.7 times for an Elman network",
    "The two loops still take 59 % of the time of a gradient, on average over four cells and four shapes",
    "`gradient_flow` takes 0.9 to 1.4 times as long as the gradient",
    "1.05 to 1.16 times on average, by cell",
    "1.1 to 11 times as long as `gradient_flow`",
]
"""What the page says; the guide to the benchmarks, or the page of what was tried, has these numbers together."""


@pytest.mark.slow
def test_a_zero_inside_the_recurrence_has_the_whole_gradient_and_what_is_returned_the_direct_term() -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, names)
    cell, params, inputs, loss = (names[name] for name in ("cell", "params", "inputs", "loss"))

    def rest_of_the_way(hidden: jax.Array) -> jax.Array:
        """The loss as a function of the state after step 10: dL/ds_t by its definition."""
        return loss(rnnjax.unroll(cell, params, inputs[11:], names["state"]._replace(hidden=hidden))[1])

    expected = jax.grad(rest_of_the_way)(rnnjax.unroll(cell, params, inputs[:11])[0].hidden)
    np.testing.assert_allclose(names["adjoints"][10], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(names["flow"].state.hidden, names["norms"], rtol=1e-4, atol=1e-6)
    assert not names["direct"][:-1].any()
    assert names["direct"][-1].all()


@pytest.mark.parametrize("said", FIGURES)
def test_figures_are_those_of_the_benchmarks(said: str) -> None:
    assert said in " ".join(PAGE.split())
    parts = (part for text in GUIDE for part in re.split(r"\n\s*\n|\n\s*[*-] |\n\|", text))
    assert any(_numbers(said) <= _numbers(part) for part in parts)


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def test_the_norm_of_a_share_follows_from_inner_products_of_the_examples() -> None:
    a, d = np.random.default_rng(0).normal(size=(2, 5, 3))
    np.testing.assert_allclose(np.sum((a @ a.T) * (d @ d.T)), np.sum((a.T @ d) ** 2))


def test_the_drawing_is_well_formed_and_brings_its_own_background() -> None:
    drawing = ElementTree.parse(ROOT / "docs" / "figures" / "through_time.svg").getroot()
    first = next(each for each in drawing if each.tag.endswith("rect"))
    assert first.get("fill") == "#ffffff"
    assert float(first.get("width", 0)) == pytest.approx(float(drawing.get("width", 0)), abs=1)
