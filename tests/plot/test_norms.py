"""What is drawn of gradient norms: the numbers themselves, and words that say what they are."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

import rnnjax
from rnnjax import plot
from tests.cases import B, H, T, random_inputs, random_params
from tests.test_errors import check

STACK = rnnjax.stack(rnnjax.lstm(H), rnnjax.gru(H))


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    mpl.use("Agg")
    yield
    plt.close("all")


def flow_of(cell: rnnjax.Cell, seed: int = 0) -> rnnjax.GradientFlow:
    inputs = random_inputs(T, B, H)
    return rnnjax.gradient_flow(cell, random_params(cell, seed, H), inputs, lambda outputs: outputs[-1].sum())


def lines(axes: plt.Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in axes.lines}


def test_a_line_is_the_norms_back_from_the_loss_divided_by_the_nearest_one() -> None:
    norms = np.array([0.0, 2.0, 8.0, 4.0])
    np.testing.assert_array_equal(lines(plot.norms_by_lag(norms))["gradient norm"], [1.0, 2.0, 0.5, np.nan])
    absolute = lines(plot.norms_by_lag(norms, relative=False))["gradient norm"]
    np.testing.assert_array_equal(absolute, [4.0, 8.0, 2.0, np.nan])
    memory = lines(plot.norms_by_lag(np.array([1.0, 2.0, 0.0])))["gradient norm"]  # of an LSTM: none at the last step
    np.testing.assert_array_equal(memory, [np.nan, 1.0, 0.5])


def test_of_seeds_there_are_the_median_and_the_range() -> None:
    norms = np.array([[1.0, 2.0], [3.0, 2.0], [8.0, 4.0]])
    axes = plot.norms_by_lag(norms, relative=False)
    np.testing.assert_array_equal(lines(axes)["gradient norm"], [2.0, 3.0])
    (shade,) = axes.collections
    corners = {tuple(corner) for corner in np.asarray(shade.get_paths()[0].vertices)}
    assert corners == {(0, 2), (0, 4), (1, 1), (1, 8)}


def test_fields_and_layers_are_named_as_the_state_has_them_and_a_line_that_ends_has_a_cross() -> None:
    flow = flow_of(STACK)
    axes = plot.norms_by_lag({"stack": flow, "alone": np.array([0.0, 1.0, 1.0])})
    names = ["stack layer 1 hidden", "stack layer 1 cell", "stack layer 2 hidden", "alone"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == names
    expected = np.asarray(flow.state[1].hidden)[::-1]
    np.testing.assert_allclose(lines(axes)["stack layer 2 hidden"], expected / expected[0], rtol=1e-6)
    assert [line.get_marker() for line in axes.lines].count("x") == 1
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "lag (steps back from the loss; grey line: a tenth is left)"


def test_flows_of_several_seeds_come_from_vmap() -> None:
    cell, inputs = rnnjax.elman(H), random_inputs(T, B, H)
    params = jax.vmap(lambda key: cell.init(key, H))(jax.random.split(jax.random.key(0), 3))
    flows = jax.vmap(lambda p: rnnjax.gradient_flow(cell, p, inputs, lambda y: y[-1].sum()))(params)
    drawn = lines(plot.norms_by_lag(flows, relative=False))["gradient norm"]
    np.testing.assert_allclose(drawn, np.median(np.asarray(flows.state.hidden, float), axis=0)[::-1])


def test_the_map_has_a_row_a_layer_of_all_its_fields_together_and_nothing_where_there_is_no_gradient() -> None:
    flow = flow_of(STACK)
    axes = plot.norms_by_depth_and_time(flow)
    (image,) = axes.images
    first = np.hypot(np.asarray(flow.state[0].hidden, float), np.asarray(flow.state[0].cell, float))
    np.testing.assert_allclose(image.get_array()[0], np.log10(first))
    one = plot.norms_by_depth_and_time(flow._replace(state=jnp.array([0.0, 10.0, jnp.inf])))
    np.testing.assert_array_equal(np.ma.filled(one.images[0].get_array(), np.nan), [[np.nan, 1.0, np.nan]])
    assert one.get_xlabel() == "time step t (from 0)"


def test_it_draws_into_the_axes_that_it_is_given() -> None:
    figure, axes = plt.subplots(1, 2)
    assert plot.norms_by_lag(np.ones(3), axes[0]) is axes[0]
    assert plot.norms_by_depth_and_time(flow_of(rnnjax.elman(H)), axes[1]) is axes[1]
    figure.canvas.draw()


def test_what_is_no_curve_is_refused() -> None:
    check(TypeError, ["flows are 'flow'", "GradientFlow"], lambda: plot.norms_by_lag("flow"))
    check(ValueError, ["flows are empty"], lambda: plot.norms_by_lag({}))
    check(ValueError, ["norms have shape (2, 2, 2)"], lambda: plot.norms_by_lag(np.ones((2, 2, 2))))
    check(TypeError, ["flow is", "GradientFlow"], lambda: plot.norms_by_depth_and_time(np.ones(3)))
    seeds = flow_of(rnnjax.elman(H))._replace(state=jnp.ones((2, 3)))
    check(ValueError, ["leaves of shape (2, 3)"], lambda: plot.norms_by_depth_and_time(seeds))
