"""The figures of gradient_flow, its table and verdict: drawn from records with known curves."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.gradient_flow import curves as c
from experiments.gradient_flow import report

Records = list[dict[str, Any]]
FIGURES = {make.__name__: make for make in report.FIGURES}
BASE = {"cell": "gru", "activation": "-", "initialization": "default", "depth": 1, "seed": 0, "layer": 1, "step": 0}


def gradient(by_lag: np.ndarray, **where: Any) -> dict[str, Any]:
    """A record of norms given from the loss backwards."""
    norms = np.asarray(by_lag, np.float64)[::-1]
    with np.errstate(divide="ignore"):
        logs = np.log(norms).tolist()
    length = {"sequence_length": len(norms), "position": len(norms)}
    curve = {"norms": norms.tolist(), "mean_of_log": logs, "field": "all"}
    return {"kind": "state_gradient", **BASE, **length, **curve, **where}


def falling(half_life: float, steps: int = 30) -> np.ndarray:
    return 0.5 ** (np.arange(steps) / half_life)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def drawn(name: str, records: Records) -> Figure:
    figure = FIGURES[name](records)
    assert figure is not None
    return figure


def words(figure: Figure) -> str:
    titles = [figure.get_suptitle(), *(axes.get_title(loc="left") for axes in figure.axes)]
    return " ".join(titles).replace("\n", " ")


def test_norms_are_drawn_against_lag_as_the_median_over_seeds_and_layers_from_below() -> None:
    factors = np.array([[seed * 10.0**-layer for layer in range(3)] for seed in (1, 2, 4)])
    records = [
        gradient(factors[seed, layer] * 10 ** (-0.1 * np.arange(30)), depth=3, seed=seed, layer=layer + 1)
        for seed in range(3)
        for layer in range(3)
    ]
    line, tenth = drawn("norm_by_lag", records).axes[0].lines
    assert list(tenth.get_ydata()) == [-1, -1]
    np.testing.assert_allclose(line.get_xdata(), np.arange(30))
    np.testing.assert_allclose(line.get_ydata(), -0.1 * np.arange(30), atol=1e-5)  # relative to the last
    by_layer = drawn("depth_and_time", records)
    (mesh,) = by_layer.axes[0].collections
    values = np.asarray(mesh.get_array()).reshape(3, 30)  # from below, where the first layer is
    expected = np.log10(2) - np.arange(3)[:, None] - 0.1 * np.arange(30)[::-1]
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert mesh.norm.vmin == pytest.approx(values.min())  # no field is cut off
    assert mesh.norm.vmax == pytest.approx(values.max())
    assert "keeps more of its gradient than layer 3 in 0 of the 1 stacks" in words(by_layer)
    assert "gru: $10^{-2.9}$ in layer 1, $10^{-2.9}$ in layer 3" in words(by_layer)


def test_a_curve_that_ends_says_whether_it_underflows_or_overflows() -> None:
    lags = np.arange(60.0)
    for by_lag, word in ((10.0**-lags, "underflows"), (10.0**lags, "overflows")):
        with np.errstate(over="ignore", under="ignore"):
            figure = drawn("norm_by_lag", [gradient(by_lag)])
        assert [text.get_text() for text in figure.axes[0].texts] == [word]


def test_a_gradient_that_begins_a_step_late_does_not_underflow() -> None:
    figure = drawn("norm_by_lag", [gradient(np.concatenate([[0.0], falling(5)]))])
    assert not figure.axes[0].texts
    line, _ = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata()[1:], np.log10(falling(5)), atol=1e-5)


def test_figures_without_data_are_not_drawn() -> None:
    assert [name for name, make in FIGURES.items() if make([gradient(falling(5))])] == ["norm_by_lag"]


def test_among_lengths_positions_and_initializations_the_usual_one_stands_for_a_network() -> None:
    records = [
        gradient(falling(5, 20), initialization="gain:2"),
        gradient(falling(6, 20), sequence_length=20, position=20),
        gradient(falling(7, 10), sequence_length=20, position=10),
        gradient(falling(8, 10)),
        gradient(falling(9, 20), step=3),
        gradient(falling(3, 20), cell="lstm", initialization="gain:10"),
        gradient(falling(4, 20), cell="lstm", initialization="gain:9"),
    ]
    found = c.typical(c.state_norms(records)).set_index("network")["half_lag"]
    assert found.to_dict() == {"gru": 6, "lstm": 4}


def test_an_unusual_initialization_is_named_where_it_stands_for_its_network() -> None:
    lines = drawn("norm_by_lag", [gradient(falling(5)), gradient(falling(2), cell="lstm", initialization="gain:2")])
    assert [line.get_label() for line in lines.axes[0].lines[:2]] == ["gru", "lstm gain:2"]


def test_initializations_are_lines_of_a_panel_and_the_title_says_how_far_they_are_apart() -> None:
    records = [gradient(falling(h), initialization=name) for name, h in (("orthogonal", 2), ("chrono:9", 8))]
    figure = drawn("norm_by_initialization", records)
    assert [line.get_label() for line in figure.axes[0].lines[:2]] == ["orthogonal", "chrono:9"]
    assert "moves the lag at which a tenth is left by a factor of 3.9" in words(figure)
    assert "gru 1/10 at lag 7 (orthogonal) to 27 (chrono:9)" in words(figure)
    growing = [*records, gradient(1 / falling(4), initialization="gain:2")]
    assert "beyond the first step in 1 of 1 networks" in words(drawn("norm_by_initialization", growing))


def test_the_reach_is_drawn_against_the_drive_with_theory_beside_it_and_the_title_says_who_leads_where() -> None:
    where = {"cell": "elman", "activation": "tanh"}
    records = [
        gradient(falling(h), initialization=f"drive:{drive}", seed=seed, **network)
        for network, reach in ((where, (12, 2)), ({"cell": "gru"}, (3, 4)))
        for h, drive in zip(reach, (0.1, 1), strict=True)
        for seed in range(2)
    ]
    theory = {"sequence_length": 30, "factors": [0.25] * 30, "valid_to_lag": 5, "initialization": "drive:1"}
    records += [{"kind": "mean_field", **BASE, **where, **theory}]
    figure = drawn("reach_by_drive", records)
    half, hundredth = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a half is left", "a hundredth is left"]
    elman, gru, circles = half.lines
    np.testing.assert_allclose(elman.get_xdata(), [0.1, 1])
    np.testing.assert_allclose([elman.get_ydata(), gru.get_ydata()], [[12, 2], [3, 4]])
    np.testing.assert_allclose([circles.get_xdata(), circles.get_ydata()], [[1], [1]])  # 0.25^(1/2) a step
    np.testing.assert_allclose(hundredth.lines[0].get_ydata(), [30, 14])  # never: drawn at T
    assert "The order is elman tanh, gru at 0.1; gru, elman tanh at 1" in words(figure)


def test_the_prediction_is_drawn_from_the_measured_start_to_the_lag_where_it_is_valid() -> None:
    factors = np.linspace(0.5, 0.8, 30)  # of every step, time forward
    where = {"initialization": "gain:0.9", "cell": "elman", "activation": "tanh"}
    records = [
        gradient(3 * np.sqrt(np.cumprod([1, *factors[:0:-1]])) * np.exp(0.01 * np.arange(30)), **where),
        gradient(falling(3), cell="elman", activation="tanh"),
        {"kind": "mean_field", **BASE, **where, "sequence_length": 30, "factors": factors.tolist(), "valid_to_lag": 5},
    ]
    figure = drawn("norm_by_initialization", records)
    predicted = figure.axes[0].lines[-1]
    np.testing.assert_allclose(predicted.get_xdata(), np.arange(6))
    expected = np.log10(np.sqrt([factors[30 - lag :].prod() for lag in range(6)]))
    np.testing.assert_allclose(predicted.get_ydata(), expected, atol=1e-6)
    assert "off by 0.010 a step" in words(figure)


def test_at_other_positions_of_the_loss_the_prediction_starts_from_there() -> None:
    factors = np.linspace(0.5, 0.8, 30)
    where = {"initialization": "gain:0.9", "cell": "elman", "activation": "tanh", "sequence_length": 30}
    by_lag = np.sqrt(np.cumprod([1, *factors[19:0:-1]]))
    records = [
        gradient(by_lag, **where, position=20),
        gradient(by_lag, **{**where, "initialization": "default"}, position=20),
        {"kind": "mean_field", **BASE, **where, "factors": factors.tolist(), "valid_to_lag": 5},
    ]
    assert "off by 0.000 a step" in words(drawn("norm_by_initialization", records))


def test_lengths_and_positions_are_told_apart_and_compared_at_equal_lag() -> None:
    by_length = drawn("norm_by_length", [gradient(falling(h, steps)) for h, steps in ((4, 20), (6, 40))])
    assert [line.get_label() for line in by_length.axes[0].lines[:2]] == ["T = 20", "T = 40"]
    assert "moves the lag at which a tenth is left by a factor of 1.4" in words(by_length)
    assert FIGURES["norm_by_position"]([gradient(falling(4, steps)) for steps in (20, 40)]) is None
    assert "39 steps back 0 of 1 gradients are out of" in words(by_length)
    records = [gradient(f * falling(4, p), position=p, sequence_length=40) for f, p in ((1, 20), (1.3, 40))]
    by_position = drawn("norm_by_position", records)
    assert [line.get_label() for line in by_position.axes[0].lines] == ["at step 20", "at step 40"]
    assert "differ by a factor of 1.30" in words(by_position)


def test_the_memory_is_drawn_beside_the_hidden_state_before_and_after_training() -> None:
    records = [
        gradient(factor * falling(4), cell="lstm", field=field, step=step)
        for step in (0, 3, 9)
        for field, factor in (("hidden", 1), ("cell", 2), ("all", 5**0.5))
    ]
    figure = drawn("hidden_and_memory", records)
    assert len(figure.axes) == 2
    for axes in figure.axes:
        hidden, memory = (line.get_ydata() for line in axes.lines)
        np.testing.assert_allclose(memory - hidden, np.log10(2), atol=1e-6)
    assert "The gradient of c is 2 times as large as that of h" in words(figure)
    assert "the memory's is 2 times as large" in words(figure)


def carousel_record(direct: float, total: float, **where: Any) -> dict[str, Any]:
    ways = {"direct": falling(direct)[::-1].tolist(), "total": falling(total)[::-1].tolist()}
    return {"kind": "carousel", **BASE, "cell": "lstm", "sequence_length": 30, **ways, **where}


def test_the_carousel_has_a_line_for_the_gates_and_one_for_all_ways() -> None:
    figure = drawn("carousel", [carousel_record(2, 8), carousel_record(3, 6, step=5), carousel_record(3, 5, step=9)])
    assert len(figure.axes) == 2
    assert "lstm, initialization $10^{-4.4}$ left by the gates, $10^{-1.1}$ over all paths" in words(figure)
    assert (
        "more than ten times as much of the last memory's derivative as the forget gates alone in 2 of 2 networks "
        "(lstm, initialization;" in words(figure)
    )
    of_gates = [carousel_record(2, 8), carousel_record(4, 8, initialization="forget_bias:3")]
    of_gates += [carousel_record(4, 8, initialization="gain:2"), carousel_record(3, 6, step=5)]
    assert [axes.get_title(loc="left").split("\n")[0] for axes in drawn("carousel", of_gates).axes] == [
        "lstm, default",
        "lstm, forget_bias:3",
    ]


def trained(half_lives: list[float], network: str = "gru", radii: list[float] | None = None) -> Records:
    records: Records = []
    for place, half_life in enumerate(half_lives):
        where = {"run": network, "cell": network, "step": 10 * place, "sequence_length": 30}
        radius = (radii or [1.0] * len(half_lives))[place]
        spectrum = {"kernel": 1, "spectral_radius": [0.5, radius], "largest_singular_value": [2 * radius, 0.1]}
        shares = {"tanh": [0.1], "closed": [0.1, 0.2], "open": [0.0, 0.1 * place]}
        records.append(gradient(falling(half_life), **where))
        records.append({"kind": "recurrent_kernel", **BASE, **where, **spectrum})
        records.append({"kind": "saturation", **BASE, **where, **shares})
    return records


def test_the_heat_map_has_lags_upwards_and_training_steps_to_the_right() -> None:
    figure = drawn("lag_and_training", trained([8, 2, 4]))
    (mesh,) = figure.axes[0].collections
    values = np.asarray(mesh.get_array()).reshape(30, 3)
    expected = [np.log10(falling(h)) for h in (8, 2, 4)]
    np.testing.assert_allclose(values.T, expected, atol=1e-5)
    assert "is smallest after 10 training steps; in 1 of 1 networks it has grown again" in words(figure)


def test_radius_singular_value_and_saturation_are_the_largest_of_the_gates_over_training() -> None:
    figure = drawn("weights_and_units", [*trained([8, 2, 4], radii=[1, 1.5, 1.2]), *trained([3, 3, 3.5], "lstm")])
    lags, radius, singular, saturated = ([line.get_ydata() for line in axes.lines] for axes in figure.axes)
    np.testing.assert_allclose(lags, [[27, 7, 14], [10, 10, 12]])  # log2(10) half-lives, rounded up
    np.testing.assert_allclose(radius, [[1, 1.5, 1.2], [1, 1, 1]])
    np.testing.assert_allclose(singular, [[2, 3, 2.4], [2, 2, 2]])
    np.testing.assert_allclose(saturated, [[0.2, 0.3, 0.4]] * 2)
    assert "radius grows in 1 of 2 networks; in 1 of these the lag at which a tenth of the gradient is left" in words(
        figure
    )


@pytest.mark.parametrize("name", ["lag_and_training", "weights_and_units"])
def test_before_and_after_alone_is_no_course_of_training(name: str) -> None:
    assert FIGURES[name](trained([8, 4])) is None
    figure = drawn("before_and_after_training", trained([8, 4]))
    assert "1/10 at lag 27, then 14" in words(figure)
    assert "away from the loss in 0 of 1 networks and nearer to it in 1 (1 layer)" in words(figure)
    assert [line.get_label() for line in figure.axes[0].lines[:2]] == ["before training", "after training"]


def learned(losses: list[float], network: str, seed: int) -> Records:
    """The records of a network's training, and of one measurement."""
    where = {"run": f"{network}-{seed}", "cell": network, "seed": seed, "sequence_length": 30}
    norms = {"gradient_norm": 2.0, "clipped_norm": 1.0}
    steps = [
        {"kind": "train", **BASE, **where, **norms, "step": step, "loss": loss} for step, loss in enumerate(losses, 1)
    ]
    return [*steps, gradient(falling(4), **where)]


def test_the_loss_of_training_is_drawn_as_means_over_steps_and_told_with_its_range_over_seeds() -> None:
    fallen = [8.0] * 10 + [4.0] * 90 + [1.0] * 10
    records = [*learned(fallen, "gru", 0), *learned([2 * x for x in fallen], "gru", 1)]
    records += [*learned([3 * x for x in fallen], "gru", 2), *learned([5.0] * 110, "lstm", 0)]
    figure = drawn("training_loss", records)
    gru, lstm = figure.axes[0].lines
    np.testing.assert_allclose(gru.get_xdata(), np.arange(2, 111, 2))  # means over two steps
    np.testing.assert_allclose(gru.get_ydata(), [16] * 5 + [8] * 45 + [2] * 5)
    np.testing.assert_allclose(lstm.get_ydata(), np.full(55, 5.0))
    assert (
        "After 110 training steps the loss is lowest in gru with 1 layer (1.00 to 3.00) and highest in lstm"
        in words(figure)
    )
    row = next(line for line in report.loss_table(records).splitlines() if "gru" in line)
    assert [cell.strip() for cell in row.split("|")[6:-1]] == ["16.000", "2.000", "1.000 to 3.000", "100%"]
    assert report.loss_table([gradient(falling(4))]) == ""
    assert FIGURES["training_loss"]([gradient(falling(4))]) is None


def test_decay_and_verdict_of_known_curves() -> None:
    records = [
        gradient(per_step ** np.arange(50.0), cell="elman", activation=activation)
        for activation, per_step in (("tanh", 0.5**0.1), ("sigmoid", 0.5), ("relu", 1.2))
    ]
    table = report.decay_table(records)
    rows = {
        line.split("|")[2].strip(): [cell.strip() for cell in line.split("|")[6:-1]] for line in table.splitlines()[2:]
    }
    assert rows["tanh"] == ["10", "34", "never", "0.933", "0.933", "0 to 49", "1.00", "10", "vanishes"]
    assert rows["sigmoid"][:4] == ["1", "4", "10", "0.500"]
    assert rows["relu"][:4] == ["never", "never", "never", "1.200"]
    assert rows["relu"][-2:] == ["does not fall", "explodes"]
    line = report.verdict(records)
    assert "gone first in elman sigmoid (lag 1) and last in elman relu (never)" in line
    assert "at every lag elman relu has most left" in line


def test_of_two_curves_that_cross_it_is_told_from_which_lag_on_the_slower_one_leads() -> None:
    lags = np.arange(50.0)
    records = [gradient(0.9**lags), gradient(np.where(lags, 0.3, 1) * 0.98**lags, cell="lstm")]
    assert "gone first in lstm (lag 1) and last in gru (lag 7); from lag 15 on lstm has most" in words(
        drawn("norm_by_lag", records)
    )


def test_three_curves_that_fall_alike_are_named_one_after_the_other() -> None:
    lags = np.arange(50.0)
    alike = [gradient(0.4**lags, cell=cell) for cell in ("elman", "janet", "lstm")]
    line = report.verdict([*alike, gradient(0.9**lags)])
    assert "gone first in elman, janet and lstm (lag 1) and last in gru (lag 7)" in line


def test_over_seeds_numbers_are_ranges_and_a_half_life_stands_only_where_all_are_exponential() -> None:
    records = [gradient(falling(h, 40), seed=seed) for seed, h in enumerate((3, 9))]
    cells = [cell.strip() for cell in report.decay_table(records).splitlines()[2].split("|")[6:-1]]
    rate = 0.5 ** ((1 / 3 + 1 / 9) / 2)  # the geometric mean
    assert cells[:4] == ["3 to 9", "10 to 30", "30 to never", f"{rate:.3f} (0.794 to 0.926)"]
    assert cells[-3:] == ["1.00", "3 to 9", "vanishes"]
    wild = np.exp(np.random.default_rng(0).normal(size=40))
    cells = [cell.strip() for cell in report.decay_table([*records, gradient(wild, seed=2)]).splitlines()[2].split("|")]
    assert cells[-3:-1] == ["not exponential", "vanishes 2, no trend 1"]


def test_the_table_names_what_is_varied_and_leaves_out_what_is_measured_on_the_way() -> None:
    def columns(records: Records) -> str:
        return report.decay_table(records).splitlines()[0]

    plain = trained([8, 4, 2])
    assert "initialization" not in columns(plain)
    assert "loss at" not in columns(plain)
    assert len(report.decay_table(plain).splitlines()) == 2 + 2
    assert "| initialization " in columns([*plain, gradient(falling(2), initialization="gain:2")])
    assert "loss at" not in columns([*plain, gradient(falling(2, 20))])
    assert "loss at" in columns([*plain, gradient(falling(2, 20), position=20, sequence_length=30)])
