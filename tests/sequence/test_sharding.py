"""A batch on several devices: the numbers of one device, and no state passed from one to another."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import rnnjax
from tests.cases import H, I, T, random_inputs, random_params

BATCH = 4
EXCHANGE = r"(all-\w+|collective-\w+|reduce-scatter)\("
NETWORK = rnnjax.stack(rnnjax.gru(H), rnnjax.repeat(rnnjax.lstm(H), 2))
pytestmark = pytest.mark.skipif(len(jax.devices()) < 2, reason="needs two devices")


def gradient(params, inputs):
    reset = jnp.abs(inputs[..., 0]) > 1  # some steps of some examples start afresh
    return jax.grad(lambda params: jnp.sum(rnnjax.unroll(NETWORK, params, inputs, reset=reset)[1] ** 2))(params)


def flow(params, inputs):
    reset = jnp.abs(inputs[..., 0]) > 1
    return rnnjax.gradient_flow(NETWORK, params, inputs, lambda outputs: jnp.sum(outputs[-1] ** 2), reset=reset)


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("function", [gradient, flow])
def test_a_batch_over_two_devices_gives_what_one_gives(x64, function, axis_type):
    params, inputs = random_params(NETWORK), random_inputs(T, BATCH, I)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(axis_type,), devices=jax.devices()[:2])
    spread = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec(None, "batch")))
    everywhere = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    compiled = jax.jit(function).lower(everywhere, spread).compile()

    received, expected = compiled(everywhere, spread), jax.jit(function)(params, inputs)
    for a, b in zip(jax.tree.leaves(received), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    if function is gradient:
        # The gradients of the devices' examples are added up, once in each of the two programs for layers.
        text = compiled.as_text()
        assert re.findall(EXCHANGE, text) == ["all-reduce"] * 2
        loops = re.findall(rf'body=%?([\w.\-]+)[^\n]*"known_trip_count":{{"n":"{T}"}}', text)
        assert len(loops) >= 4
        for body in loops:
            assert not re.search(EXCHANGE, text.split(f"\n%{body} (", 1)[1].split("\n}", 1)[0])


@pytest.mark.parametrize("own", [True, False])
def test_in_shard_map_gradients_are_those_of_one_device(x64, own):
    """``own``: each device has the gradient of its own examples, and they are added up at the end."""

    def of_device(params, inputs):
        if not own:
            return gradient(params, inputs)
        return jax.lax.psum(gradient(jax.lax.pcast(params, "batch", to="varying"), inputs), "batch")

    params, inputs = random_params(NETWORK), random_inputs(T, BATCH, I)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    specs = PartitionSpec(), PartitionSpec(None, "batch")
    received = jax.jit(jax.shard_map(of_device, mesh=mesh, in_specs=specs, out_specs=PartitionSpec()))(params, inputs)
    for a, b in zip(jax.tree.leaves(received), jax.tree.leaves(jax.jit(gradient)(params, inputs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
