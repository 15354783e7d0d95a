"""How a batch is divided among the cores of a CPU."""

import subprocess
import sys
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import pytest

from experiments.common import host_devices

ROOT = Path(__file__).parents[2]


@hypothesis.given(batch=st.integers(1, 300), kernel=st.integers(0, 2**23), cores=st.integers(1, 64))
def test_every_device_has_as_many_examples_and_enough_of_them(batch: int, kernel: int, cores: int) -> None:
    count = host_devices.number(batch, kernel, cores)
    assert 1 <= count <= cores
    assert batch % count == 0
    if count > 1:
        assert batch / count >= 16
        assert kernel <= 3.5 * 2**20
    fewer = [n for n in range(1, cores + 1) if batch % n == 0 and batch / n >= 16]
    assert count == (max(fewer, default=1) if kernel <= 3.5 * 2**20 else 1)


@pytest.mark.parametrize(("hidden", "expected"), [(64, 2), (128, 2), (256, 2), (384, 2), (512, 1)])
def test_the_rule_is_what_benchmarks_found_for_lstms_of_batch_50_on_two_cores(hidden: int, expected: int) -> None:
    assert host_devices.number(50, 4 * 4 * hidden**2, 2) == expected


def test_a_kernel_is_the_largest_matrix() -> None:
    params = {"kernel": jnp.zeros((3, 8), jnp.bfloat16), "bias": jnp.zeros(1000), "small": jnp.zeros((2, 2))}
    assert host_devices.largest_recurrent_kernel(params) == 48
    assert host_devices.largest_recurrent_kernel(jax.eval_shape(lambda: params)) == 48


@pytest.mark.slow
def test_devices_are_made_of_the_cpu_before_jax_has_looked_for_its_own_and_found_after() -> None:
    lines = (
        "from experiments.common import host_devices",
        "print(host_devices.mesh(3).size, host_devices.mesh(2).size, host_devices.mesh(5).size)",
    )
    done = subprocess.run([sys.executable, "-c", "; ".join(lines)], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("3 2 3\n", "")
