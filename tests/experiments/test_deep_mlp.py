"""The deep_mlp experiment: its gradients, what theory predicts of them, its files, and what it says."""

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from experiments.common.errors import ExperimentError
from experiments.deep_mlp import config as settings
from experiments.deep_mlp import network as deep_network
from experiments.deep_mlp import report
from experiments.deep_mlp.main import QUANTILES, Run, distributions, execute, plan, split, standardized
from experiments.deep_mlp.network import INITIALIZATIONS, layer_variances, neuron_gradients
from experiments.deep_mlp.prediction import predict
from rnnjax.data import Images, load_images
from tests import reference
from tests.experiments.logs import logs_in
from tests.experiments.runs import check_drawn, check_page, quick_run

# The gradients of a neuron's incoming weights


_init = jax.jit(deep_network.init, static_argnums=1)
_measure = jax.jit(neuron_gradients, static_argnums=(0, 4))


def drawn(seed: int, widths: list[int], initialization: str) -> Any:
    return _init(jax.random.key(seed), tuple(widths), jnp.array(layer_variances(initialization, widths)))


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_norms_are_those_of_every_examples_own_gradient(x64: None, activation: str) -> None:
    """Against whole gradients of each example, of a network written out anew."""
    params = drawn(0, [5, 7, 7, 7, 3], "torch")
    images, labels = jax.random.normal(jax.random.key(1), (6, 5)), jnp.array([0, 2, 1, 1, 0, 2])

    def loss(params: Any, image: jax.Array, label: jax.Array) -> jax.Array:
        for layer in params[:-1]:
            image = rnnjax.ACTIVATIONS[activation](image @ layer["params"]["kernel"] + layer["params"]["bias"])
        logits = image @ params[-1]["params"]["kernel"] + params[-1]["params"]["bias"]
        return jnp.log(jnp.exp(logits).sum()) - logits[label]

    each = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))(params, images, labels)
    kernels = [np.asarray(layer["params"]["kernel"]) for layer in each[:-1]]
    biases = [np.asarray(layer["params"]["bias"]) for layer in each[:-1]]
    found = _measure(rnnjax.ACTIVATIONS[activation], params, images, labels, 4)  # one chunk of 4, one of 2
    expected = np.stack([np.sqrt((kernel**2).sum(axis=1)) for kernel in kernels])
    np.testing.assert_allclose(found.examples, expected, rtol=1e-12, atol=1e-18)
    together = np.stack([np.sqrt((kernel.mean(axis=0) ** 2).sum(axis=0)) for kernel in kernels])
    np.testing.assert_allclose(found.batch, together, rtol=1e-11, atol=1e-18)
    np.testing.assert_allclose(found.adjoints, [np.sqrt((bias**2).mean()) for bias in biases], rtol=1e-12)
    losses = jax.vmap(loss, (None, 0, 0))(params, images, labels)
    np.testing.assert_allclose(found.loss, losses.mean(), rtol=1e-12)
    assert (expected == 0).any() == (activation == "relu")  # units that are off


def test_single_examples_take_the_memory_of_a_chunk_and_of_their_norms() -> None:
    depth, width = 6, 64
    shapes = [(width, width)] * depth + [(width, 10)]
    params = [{"params": {"kernel": jnp.zeros(shape), "bias": jnp.zeros(shape[1])}} for shape in shapes]

    def memory(examples: int, chunk: int) -> int:
        images, labels = jnp.zeros((examples, width)), jnp.zeros(examples, jnp.int32)
        compiled = _measure.lower(jnp.tanh, params, images, labels, chunk).compile()
        return int(compiled.memory_analysis().temp_size_in_bytes)

    norms = 4 * depth * width  # bytes an example; its gradient of the kernels would be 64 times as large
    assert memory(640, 8) - memory(16, 8) < (640 - 16) * 2 * norms
    assert memory(640, 8) < memory(640, 640) / 4


@pytest.mark.slow
def test_norms_survive_where_their_squares_would_underflow() -> None:
    variances = jnp.array([[0.5e-6, 0.1]] * 8 + [[0.1, 0.0]])  # a factor of 1e-3 for each layer
    params = _init(jax.random.key(0), (4, *[32] * 8, 3), variances)
    images, labels = jax.random.normal(jax.random.key(1), (3, 4)), jnp.array([0, 1, 2])
    found = jax.device_get(_measure(jax.nn.sigmoid, params, images, labels, 2))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), params)
        exact = jax.device_get(_measure(jax.nn.sigmoid, wide, jnp.asarray(images, jnp.float64), labels, 2))
    assert 0 < exact.batch[0].max() < 1e-20  # squares are below float32's 1e-38
    np.testing.assert_allclose(found.batch[0], exact.batch[0], rtol=1e-3)
    np.testing.assert_allclose(found.examples[0], exact.examples[0], rtol=1e-3)
    np.testing.assert_allclose(found.adjoints[0], exact.adjoints[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("initialization", "kernel", "bias"),
    [
        ("torch", 1 / 1200, 1 / 1200),
        ("1/3n", 1 / 1200, 0),
        ("1/n", 1 / 400, 0),
        ("2/n", 1 / 200, 0),
        ("glorot", 1 / 300, 0),
    ],
)
def test_weights_are_drawn_with_the_variance_that_is_said(initialization: str, kernel: float, bias: float) -> None:
    layer, above = (each["params"] for each in drawn(0, [400, 200, 400], initialization))
    assert np.var(layer["kernel"]) == pytest.approx(kernel, rel=0.02)  # 5 standard errors of 80,000
    assert np.var(layer["bias"]) == pytest.approx(bias, rel=0.5)
    correlation = np.corrcoef(np.ravel(layer["kernel"]), np.ravel(above["kernel"]))[0, 1]
    assert abs(correlation) < 0.018  # 5 standard errors: each layer is drawn anew
    assert not INITIALIZATIONS.keys() - {"torch", "1/3n", "1/n", "2/n", "glorot"}


# What theory predicts


def test_a_relu_network_loses_the_adjoint_layer_by_layer_but_not_the_weights_gradient() -> None:
    """What dL/dz loses on its way down, the signal has lost on its way up: sqrt(v/2) each."""
    predicted = predict(jax.nn.relu, [30, 100, 100, 100, 100], [(1 / 90, 0.0), *[(1 / 300, 0.0)] * 3], 2.0)
    np.testing.assert_allclose(predicted.adjoints, 6 ** (-np.arange(4)[::-1] / 2), rtol=1e-10)
    np.testing.assert_allclose(predicted.inputs, np.sqrt(2 / 6.0 ** np.arange(4)), rtol=1e-10)
    np.testing.assert_allclose(predicted.norms, [math.sqrt(0.3), 1, 1, 1], rtol=1e-10)


def test_of_layers_of_different_widths_each_counts_its_own_units() -> None:
    """Linear: up a layer the mean square grows by n_{l-1} v_l, down by n_{l+1} v_{l+1}."""
    predicted = predict(lambda x: x, [3, 4, 8, 2], [(0.5, 0.0), (0.25, 0.1), (1.5, 0.0)], 2.0)
    np.testing.assert_allclose(predicted.inputs**2, [2, 3, 3.1], rtol=1e-10)
    np.testing.assert_allclose(predicted.adjoints**2, [8 * 0.25 * 3, 2 * 1.5, 1], rtol=1e-10)
    np.testing.assert_allclose(predicted.norms**2, np.array([3 * 2 * 6, 4 * 3 * 3, 8 * 3.1]) / 24.8, rtol=1e-10)


def test_biases_keep_the_signal_and_so_uncover_the_loss_of_the_adjoint() -> None:
    """Linear units: q = q / 3 + c has the fixed point 3c / 2, from there on the norm falls as dL/dz does."""
    predicted = predict(lambda x: x, [100] * 31, [(1 / 300, 1 / 300)] * 30, 1.0)
    np.testing.assert_allclose(predicted.inputs[-1] ** 2, 1.5 / 300, rtol=1e-8)
    np.testing.assert_allclose(predicted.norms[-8:], predicted.adjoints[-8:], rtol=1e-6)
    np.testing.assert_allclose(predicted.norms[-2] / predicted.norms[-1], 3**-0.5, rtol=1e-8)


FIXED_POINTS = {
    ("sigmoid", 1 / 3): 0.141, ("relu", 1 / 3): 0.408, ("tanh", 1 / 3): 0.577, ("elu", 1 / 3): 0.577,
    ("sigmoid", 1): 0.236, ("relu", 1): 0.707, ("sigmoid", 2): 0.318, ("relu", 2): 1.0, ("tanh", 2): 1.051,
}  # fmt: skip
"""Of dL/dz, a layer back, where the signal no longer changes from layer to layer."""

ON_THE_WAY = {("tanh", 1): 0.98, ("elu", 1): 0.96, ("elu", 2): 1.07}
"""Of dL/dz in layer 19 of 20: at 1/n the signal still fades, as 1/l; ELU's at 2/n grows without end."""


def test_the_factors_known_for_nineteen_layers_are_those_of_the_adjoint_in_deep_layers() -> None:
    for (activation, gain), expected in (FIXED_POINTS | ON_THE_WAY).items():
        # MNIST's mean square pixel is 0.1.
        predicted = predict(rnnjax.ACTIVATIONS[activation], [1024] * 21, [(gain / 1024, 0.0)] * 20, 0.1)
        exact = (activation, gain) in FIXED_POINTS
        assert predicted.adjoints[18] == pytest.approx(expected, abs=0.0006 if exact else 0.005), (activation, gain)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "selu"])
def test_a_wide_network_does_what_theory_predicts(activation: str) -> None:
    """Over 4 draws of 6 layers of 256, ln of a root mean square scatters by about sqrt(6 / 256 / 4) / 2 = 0.04."""
    widths = [64, *[256] * 6, 10]
    images = jax.random.normal(jax.random.key(9), (32, 64))
    labels = jnp.arange(32) % 10
    for initialization in ("torch", "2/n"):
        networks = [drawn(seed, widths, initialization) for seed in range(4)]
        found = [_measure(rnnjax.ACTIVATIONS[activation], params, images, labels, 64) for params in networks]
        variances = layer_variances(initialization, widths)[:-1]
        predicted = predict(rnnjax.ACTIVATIONS[activation], widths[:-1], variances, float((images**2).mean()))
        inputs = np.mean([np.log(one.inputs) for one in found], axis=0)
        np.testing.assert_allclose(inputs, np.log(predicted.inputs), atol=0.12)
        for field, measured in (
            ("adjoints", [one.adjoints for one in found]),
            ("norms", [np.sqrt(np.mean(np.asarray(one.examples, np.float64) ** 2, (1, 2))) for one in found]),
        ):
            logs = np.mean([np.log(array) - np.log(array[-1]) for array in measured], axis=0)
            np.testing.assert_allclose(logs, np.log(getattr(predicted, field)), atol=0.12, err_msg=field)


# What is recorded


def test_zeros_and_norms_below_the_floor_are_counted_and_in_no_quantile() -> None:
    norms = np.array([[0, 1e-35, 1e-3, 1e-2, 1e-1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], np.float32)
    found = distributions(norms)
    assert found["zero"].tolist() == [0.2, 1, 0]
    assert found["underflowed"].tolist() == [0.2, 0, 0]
    np.testing.assert_allclose(found["quantiles"][0], np.interp(QUANTILES, [0, 0.5, 1], [-3, -2, -1]), atol=1e-6)
    assert np.isnan(found["quantiles"][1]).all()
    np.testing.assert_allclose(found["root_mean_square"][0], math.sqrt((1e-6 + 1e-4 + 1e-2) / 5), rtol=1e-6)


def test_standardized_pixels_have_mean_0_and_variance_1_and_parts_do_not_overlap() -> None:
    pixels = np.arange(40, dtype=np.float32).reshape(20, 2)
    images = standardized(Images(pixels, np.arange(20, dtype=np.int32), 20, "test"))
    assert images.images.mean() == pytest.approx(0, abs=1e-6)
    assert images.images.var() == pytest.approx(1, rel=1e-5)
    training, held_out = split(images, 2)
    assert training.labels.tolist() == list(range(18))
    assert held_out.labels.tolist() == [18, 19]
    assert (held_out.images == images.images[18:]).all()
    with pytest.raises(ValueError, match=r"test has 20 images, 2 of them held out: expected at least 3 there; lower"):
        split(images, 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    return quick_run(tmp_path_factory, "deep_mlp")


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "deep_mlp")


def records_of(workdir: Path, **where: Any) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if all(record.get(name) == value for name, value in where.items())]


def test_a_run_leaves_config_records_figures_and_summary(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    assert json.loads((workdir / "config.json").read_text())["config"]["width"] == 64
    check_drawn(workdir, ("at_initialization", "after_training", "measured_and_predicted", "who_learns"))
    summary = (workdir / "summary.md").read_text()
    assert "| initialization" in summary
    assert "gradient of a single example falls to a hundredth" in summary
    assert str(workdir / "summary.md") in printed
    assert len(records_of(workdir, kind="finished")) == 4
    assert len(records_of(workdir, kind="neuron_gradient")) == 4 * (2 + 1) * 2


def numpy_gradients(weights: Any, images: np.ndarray, labels: np.ndarray) -> tuple[float, Any, list[np.ndarray]]:
    """Of a ReLU network by hand, in float64: mean loss, gradients of it, and norms of each example's own (B, H)."""
    inputs = [images]
    for kernel, bias in weights[:-1]:
        inputs.append(reference.ACTIVATIONS["relu"](inputs[-1] @ kernel + bias))
    logits = inputs[-1] @ weights[-1][0] + weights[-1][1]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(probabilities[rows, labels]).mean()
    probabilities[rows, labels] -= 1
    adjoint, gradients, norms = probabilities, [], []
    for number in reversed(range(len(weights))):
        gradients.insert(0, (inputs[number].T @ adjoint / len(labels), adjoint.mean(axis=0)))
        norms.insert(0, np.linalg.norm(inputs[number], axis=1)[:, None] * np.abs(adjoint))
        adjoint = (adjoint @ weights[number][0].T) * (inputs[number] > 0)
    return loss, gradients, norms[:-1]


def test_what_is_recorded_is_what_a_loop_by_hand_finds_before_and_after_its_own_training(
    finished: tuple[Path, str],
) -> None:
    """ReLU at 2/n: momentum and clipping from their equations, all in float64 NumPy."""
    config = settings.get_config("quick")
    images = load_images(max_images=config.max_images)
    pixels = (images.images - images.images.mean()) / images.images.std()
    measured = slice(360, 376)
    params = drawn(0, [pixels.shape[1], *[64] * 6, images.classes], "2/n")
    weights = [[np.asarray(layer["params"][name], np.float64) for name in ("kernel", "bias")] for layer in params]
    velocity = [[np.zeros_like(array) for array in layer] for layer in weights]

    def expect(phase: str) -> None:
        loss, gradients, norms = numpy_gradients(weights, pixels[measured].astype(float), images.labels[measured])
        where = {"run": "relu 2/n", "phase": phase, "draw": 0}
        (network,) = records_of(finished[0], kind="network", **where)
        assert network["loss"] == pytest.approx(loss, rel=1e-4)
        (example,) = records_of(finished[0], kind="neuron_gradient", of="example", **where)
        (batch,) = records_of(finished[0], kind="neuron_gradient", of="batch", **where)
        for layer, (own, (kernel, _)) in enumerate(zip(norms, gradients, strict=False)):
            assert example["zero"][layer] == pytest.approx((own == 0).mean(), abs=0.003)
            expected = np.quantile(np.log10(own[own > 0]), QUANTILES[1:])
            np.testing.assert_allclose(example["quantiles"][layer][1:], expected, atol=0.01)
            columns = np.linalg.norm(kernel, axis=0)
            expected = np.quantile(np.log10(columns[columns > 0]), QUANTILES[1:])
            np.testing.assert_allclose(batch["quantiles"][layer][1:], expected, atol=0.01)

    expect("initialization")
    losses = []
    for step in range(1, config.train_steps + 1):
        rows = np.random.default_rng(step).integers(0, 360, size=config.batch_size)
        loss, gradients, _ = numpy_gradients(weights, pixels[rows].astype(float), images.labels[rows])
        losses.append(loss)
        norm = math.sqrt(sum((array**2).sum() for layer in gradients for array in layer))
        for place, layer in enumerate(gradients):
            for part, gradient in enumerate(layer):
                velocity[place][part] = 0.9 * velocity[place][part] + gradient * min(1, config.clip_norm / norm)
                weights[place][part] = weights[place][part] - config.learning_rate * velocity[place][part]
    recorded = [record["loss"] for record in records_of(finished[0], kind="train", run="relu 2/n")]
    np.testing.assert_allclose(recorded, losses, rtol=1e-3)
    expect("trained")


# What is said of it


def test_reach_counts_layers_back_to_a_share() -> None:
    assert report.reach(np.array([-9.0, -6.1, -3.2, -1.0, -0.5])) == 2
    assert report.reach(np.array([-9.0, -6.1, -3.2, -1.0, -0.5]), share=-3) == 3
    assert report.reach(np.array([-2.4, -2.0, -0.5])) == np.inf
    assert report.reach(np.array([-2.5, -2.0, -0.5])) == 2
    assert report.reach(np.array([np.nan, -2.0, -0.5])) == 2  # nothing left
    assert report.reach(np.array([-0.5, -9.0, -0.5])) == 1


def test_factor_is_of_a_layer_back_and_leaves_the_first_layer_out() -> None:
    norms = 0.5 ** np.arange(6)[::-1]
    norms[0] = 77
    assert report.factor(norms) == pytest.approx(0.5)
    assert report.factor(np.array([1, 0, 2.0, 4.0, 8.0])) == pytest.approx(0.5)  # a zero is no small norm
    assert np.isnan(report.factor(np.zeros(5)))


def curve(
    activation: str, initialization: str, per_layer: float, phase: str = "initialization", spread: float = 0.3
) -> list[dict[str, Any]]:
    """Records of a network of 19 layers whose norms fall by that factor at each layer back."""
    norms = per_layer ** np.arange(19.0)[::-1]
    quantiles = (np.log10(norms)[:, None] + np.linspace(-spread, spread, 7)).tolist()
    common = {"activation": activation, "initialization": initialization, "draw": 0, "phase": phase, "step": 0}
    shares = {"zero": [0.25] * 19, "underflowed": [0.0] * 19, "root_mean_square": norms.tolist()}
    rows = [{"kind": "neuron_gradient", "of": of, "quantiles": quantiles, **shares} for of in ("example", "batch")]
    rows.append({"kind": "network", "inputs": [1.0] * 19, "adjoints": norms.tolist(), "accuracy": 0.5})
    rows.append({"kind": "predicted", "adjoints": (norms**1.01).tolist(), "norms": (norms**1.01).tolist()})
    return [{**common, **row} for row in rows]


def test_the_claim_is_judged_for_each_initialization() -> None:
    rates = {("elu", "torch"): 0.5, ("relu", "torch"): 0.4, ("sigmoid", "torch"): 0.1, ("selu", "torch"): 1.0}
    rates |= {("elu", "1/n"): 1.0, ("relu", "1/n"): 0.7, ("sigmoid", "1/n"): 0.2, ("selu", "1/n"): 1.1}
    records = [record for key, rate in rates.items() for record in curve(*key, rate)]
    records += curve("elu", "1/n", 1.1, "trained") + curve("relu", "1/n", 0.6, "trained", spread=0.4)
    line = report.verdict(records)
    assert "back: torch: elu 7 (10), relu 6 (8), sigmoid 2 (3); 1/n: relu 13 (never), sigmoid 3 (5); in the" in line
    assert "gone within 10 layers in all of elu, relu, sigmoid holds for the initialization torch; the claim" in line
    assert "longest, for torch, 1/n." in line
    assert "Training makes the median gradient at most half as large in 1 of 2 networks (in" in line
    assert "(in 1 of these the largest gradient" in line
    assert line.endswith("grows) and at least twice as large in 1.")
    row = next(row for row in report.reach_table(records).splitlines() if "torch" in row and "one example" in row)
    assert [cell.strip() for cell in row.split("|")[4:-1]] == ["7 (10)", "6 (8)", "2 (3)", "never"]
    assert report.factors(records).loc[("relu", "torch"), "norms"] == pytest.approx(0.4)


def test_a_panel_shows_the_distribution_of_each_layer_and_where_a_hundredth_is() -> None:
    records = curve("elu", "torch", 0.5)
    axes = report.distributions(records, "initialization").axes[0]
    by_label = {line.get_label(): line for line in axes.lines}
    median = by_label["one example: median"]
    np.testing.assert_allclose(median.get_xdata(), np.arange(1, 20))
    np.testing.assert_allclose(median.get_ydata(), np.log10(0.5) * np.arange(19)[::-1], atol=1e-12)
    assert axes.lines[-1].get_xdata() == [12, 12]  # 7 layers back from 19
    assert report.distributions(records, "trained") is None


# What cannot be


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("activations", "elo", "unknown activation 'elo': did you mean 'elu'"),
        ("activations", " , ", "--config.activations is ' , '|--config.activations is empty: expected names"),
        ("initializations", "1/2n", "unknown initialization '1/2n': did you mean "),
        ("depth", 2, "--config.depth is 2: expected at least 3"),
        ("draws", 0, "--config.draws is 0: expected at least 1"),
        ("train_steps", -1, "--config.train_steps is -1: expected 0 or more"),
        ("optimizer", "adm", "unknown optimizer 'adm': did you mean 'adam'"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    config = settings.get_config("quick")
    config[field] = value
    with pytest.raises(ValueError, match=message):
        plan(config)


def test_the_plan_has_every_combination_once() -> None:
    config = settings.get_config()
    runs = plan(config)
    assert len(set(runs)) == len(runs) == 6 * 5
    assert Run("elu", "glorot") in runs


def test_a_loss_that_is_not_finite_names_the_step(tmp_path: Path) -> None:
    config = settings.get_config("quick")
    config.depth, config.width, config.draws, config.learning_rate, config.clip_norm = 3, 4, 1, 1e20, 1e30
    pixels = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    images = Images(pixels, np.arange(20, dtype=np.int32) % 2, 2, "test")
    message = r"loss is (nan|inf) after [1-4] training steps of relu 2/n \(last good checkpoint: none\); lower "
    with pytest.raises(ExperimentError, match=message):
        execute([Run("relu", "2/n")], logs_in(tmp_path), config=config, images=images, held_out=images)
