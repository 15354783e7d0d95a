"""Programs that would not fit into memory are refused with how much they need, before anything is computed."""

import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import compiling
from experiments.common.compiling import jit, require_room
from experiments.common.errors import ExperimentError

LARGE = 2 * 10**6  # rows and columns: 16 TB of float32


def needed(message: str) -> float:
    found = re.search(
        r"not enough memory: about ([\d,.]+) GB are needed, and the machine has [\d,.]+ GB; choose smaller", message
    )
    assert found, message
    return float(found[1].replace(",", ""))


def test_programs_are_compiled_at_the_first_level_unless_the_environment_gives_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_parallel_codegen_split_count=1")
    assert compiling.options() == {"xla_backend_optimization_level": "1"}
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    assert compiling.options() == {}


def test_a_program_is_compiled_once_and_gives_what_it_gives() -> None:
    compiled: list[str] = []

    def note(name: str, seconds: float, **told: str | int) -> None:
        if name.endswith("backend_compile_duration"):
            compiled.append(name)

    @jit
    def halved(x: jax.Array) -> jax.Array:
        return jnp.fft.fft(x).real / 2

    x = jnp.arange(37.0)
    jax.block_until_ready(x)
    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        results = [halved(x) for _ in range(3)]
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    assert len(compiled) == 1
    for result in results:
        np.testing.assert_allclose(result, np.fft.fft(np.arange(37.0)).real / 2, rtol=1e-4, atol=1e-4)


def test_a_program_that_needs_more_than_there_is_says_how_much() -> None:
    @jit
    def large(x: jax.Array) -> jax.Array:
        return jnp.outer(x, x)

    with pytest.raises(ExperimentError) as refused:
        large(jnp.ones(LARGE))
    assert needed(str(refused.value)) == pytest.approx(16_000, rel=0.01)


def test_arrays_that_do_not_fit_are_refused_and_others_are_not() -> None:
    def state(size: int) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((size, size)), jax.random.key(0)

    require_room(jax.eval_shape(lambda: state(100)))
    with pytest.raises(ExperimentError) as refused:
        require_room(jax.eval_shape(lambda: state(LARGE)))
    assert needed(str(refused.value)) == pytest.approx(16_000, rel=0.01)
    compiling.require_memory(1000)


def test_loops_are_compiled_whole_unless_a_threshold_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    for _ in range(2):
        compiling.compile_loops_whole()
    option = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=100000000"
    assert os.environ["XLA_FLAGS"] == f"--xla_backend_optimization_level=0 {option}"
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=0")
    compiling.compile_loops_whole()
    assert os.environ["XLA_FLAGS"].endswith("=0")
