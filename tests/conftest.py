"""Settings of all tests: strict dtype promotion, warnings as errors (pyproject.toml), 64 bits where a test asks."""

import os
from collections.abc import Iterator

import hypothesis
import jax
import pytest

from rnnjax import Cell
from tests.cases import CELL_CASES, TYPICAL

jax.config.update("jax_numpy_dtype_promotion", "strict")
# Tests compile far more than they run: without XLA's newer code generator they take half of the time. XLA_FLAGS= in the
# environment brings it back; a jaxlib that no longer knows this flag will say so.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_num_cpu_devices", 2)  # the second is for tests/sequence/test_sharding.py

hypothesis.settings.register_profile(
    "rnnjax",
    deadline=None,  # the first example compiles
    max_examples=20,
    derandomize="CI" in os.environ,
    # The fixture x64 may stay in force from one example to the next.
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("rnnjax")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a whole run of an experiment is slow."""
    for item in items:
        if {"finished", "swept"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 in JAX for this test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=list(CELL_CASES))
def cell(request: pytest.FixtureRequest) -> Cell:
    """Every cell there is, one after the other."""
    return CELL_CASES[request.param]()


@pytest.fixture(params=TYPICAL)
def typical_cell(request: pytest.FixtureRequest) -> Cell:
    """One of each kind, for what depends on the cell's kind alone."""
    return CELL_CASES[request.param]()
