"""docs/cells.md says what the cells are now, and its numbers are right where they can be known."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import rnnjax
from docs import cell_findings, cell_measurements, cell_table
from docs.cell_measurements import SEEDS, STRONG, WARM_UP, WEAK, H, I, T

PAGE = cell_table.PAGE.read_text(encoding="utf-8")
FOUND, VERSION = cell_measurements.read()
RESIDUAL = ("residual_tanh", "step size 0.01")


# The page


@pytest.mark.slow
def test_the_page_is_what_the_docstrings_and_the_measurements_give() -> None:
    assert cell_table.page(FOUND, VERSION) == PAGE, "run: make cells"


def test_everything_is_measured_once_with_every_seed() -> None:
    expected = [
        (each.cell, each.change, each.scale, seed) for each in cell_measurements.networks() for seed in range(SEEDS)
    ]
    rows = FOUND[["cell", "change", "scale", "seed"]].itertuples(index=False, name=None)
    assert list(rows) == expected, "run: make cells"


def test_every_cell_has_a_row_without_gaps_and_a_section() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| \[.*$", PAGE, re.M)]
    assert [row[0] for row in rows] == [f"[{name}](#{name})" for name in rnnjax.CELLS]
    assert all(len(row) == 8 and all(row) for row in rows)
    assert re.findall(r"^## (\w+)$", PAGE, re.M) == list(rnnjax.CELLS)
    for path in re.findall(r"\]\(\.\./([^)]+)\)", PAGE):
        assert (cell_table.PAGE.parent.parent / path).exists()
    anchors = {
        re.sub(r"[^\w-]", "", title.lower().replace(" ", "-")) for title in re.findall(r"^##? (.*)$", PAGE, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors


def test_a_docstring_that_lacks_something_is_told_what() -> None:
    def nameless(size: int) -> rnnjax.Cell:
        """A cell of nobody's.

            h_t = x_t

        It forgets everything.
        """
        return rnnjax.elman(size)

    with pytest.raises(ValueError, match=r"nameless lacks: source \(Author, year\), sentence 'Invented"):
        cell_table.text_of(nameless)


# The params


@pytest.mark.parametrize(("input_size", "hidden_size"), [(3, 40), (7, 64)])
def test_formulas_count_the_params_at_sizes_they_were_not_fitted_to(input_size: int, hidden_size: int) -> None:
    for name, constructor in rnnjax.CELLS.items():
        written = cell_table.formula(constructor).replace("²", "**2")
        python = re.sub(r"(?<=[\dIH)])(?=[IH(])", "*", written)
        value = eval(python, {"I": input_size, "H": hidden_size})
        assert value == cell_table.count_params(constructor, input_size, hidden_size), (name, written)


@pytest.mark.parametrize(
    ("constructor", "written"),
    [
        (rnnjax.lstm, "4H(I + H + 1)"),
        (rnnjax.indrnn, "H(I + 2)"),
        (partial(rnnjax.jordan, output_size=1), "IH + 3H + 1"),
        (rnnjax.scrn, "H(4I + 3H + 3)/4"),
    ],
)
def test_formulas_are_written_short(constructor, written: str) -> None:
    assert cell_table.formula(constructor) == written


# The measurement


def test_the_decay_of_a_linear_leak_is_its_rate() -> None:
    make = partial(rnnjax.leaky, rate=0.5, activation="identity", recurrent_init=jax.nn.initializers.zeros)
    norms = cell_measurements.gradient_norms(make, seeds=1)
    np.testing.assert_allclose(norms[0, :-1] / norms[0, 1:], 0.5, rtol=1e-12)
    seeds = cell_measurements.described(norms)
    assert cell_findings.columns(seeds, seeds) == {
        "1/2 at lag": "1",
        "1/10 at lag": "4",
        "1/10, weak drive": "4",
        "asymptotic rate": "0.500",
        "left at lag 99": "1.6e-30",
        "verdict": "vanishes",
    }


def test_the_warm_up_gives_the_initial_state_and_its_inputs_are_of_the_same_kind() -> None:
    """A sum of all inputs so far has, after n steps, n times the variance of one of them."""
    warm_up, scale = 50, 0.1

    def adder(size: int) -> rnnjax.Cell:
        """s_t = s_{t-1} + x_t, y_t = s_t² / 2: the gradient of y_T . v is v * s_T at all steps."""
        return rnnjax.Cell(
            init=lambda key, input_size: {"kernel": jnp.eye(input_size, size)},
            initial_state=lambda params, batch_shape: jnp.zeros((*batch_shape, size), params["kernel"].dtype),
            project=lambda params, inputs: inputs @ params["kernel"],
            advance=lambda params, state, drive: state + drive,
            output=lambda params, state: state**2 / 2,
        )

    norms = {n: cell_measurements.gradient_norms(adder, scale, warm_up=n, seeds=4)[:, -1] for n in (0, warm_up)}
    # Of B examples and the I units that have an input; v has the variance 1.
    for n, of_length in norms.items():
        expected = np.sqrt(cell_measurements.B * I * scale**2 * (n + T))
        np.testing.assert_allclose(np.sqrt(np.mean(of_length**2)), expected, rtol=0.25)
    assert np.mean(norms[warm_up] ** 2) / np.mean(norms[0] ** 2) == pytest.approx((warm_up + T) / T, rel=0.25)


def test_the_drive_is_what_the_kernels_initializers_say() -> None:
    def drives(scale: float) -> pd.Series:
        return FOUND[(FOUND["change"] == "") & (FOUND["scale"] == scale)].groupby("cell")["deviation"].first()

    strong = drives(STRONG)
    assert strong["lipschitz"] == pytest.approx((2 * I / (I + H)) ** 0.5, abs=0.02)  # Glorot's variance, 2 / (I + H)
    assert strong[["tdnn", "narx"]].to_numpy() == pytest.approx(3**-0.5, abs=0.02)  # one of three taps
    assert strong.drop(["lipschitz", "tdnn", "narx"]).dropna().to_numpy() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(drives(WEAK).dropna(), WEAK * strong.dropna(), rtol=1e-5)


def test_the_drive_is_what_inputs_add() -> None:
    cell = rnnjax.elman(H)
    params = cell.init(jax.random.key(0), I)
    added = cell.project(params, jax.random.normal(jax.random.key(1), (2000, I)))
    assert cell_measurements.deviation(rnnjax.elman, seeds=1) == pytest.approx(float(added.std()), rel=0.02)


# What is said of it


def test_a_gradient_that_ends_is_said_to_end() -> None:
    ends = cell_measurements.described(np.array([[0.0] * 7 + [2.0] * 3] * 2))
    told = cell_findings.columns(ends, ends)
    assert (told["1/2 at lag"], told["asymptotic rate"], told["verdict"]) == ("3", "0 from lag 3", "vanishes")


def test_a_gradient_that_grows_never_halves() -> None:
    grows = cell_measurements.described(np.array([2.0 ** np.arange(10, 0, -1)] * 2))
    told = cell_findings.columns(grows, grows)
    assert (told["1/2 at lag"], told["asymptotic rate"], told["verdict"]) == ("never", "2.000", "explodes")


def test_seeds_that_disagree_are_counted_and_ranges_keep_their_ends() -> None:
    lags = np.arange(30)[::-1]
    seeds = cell_measurements.described(np.array([0.95**lags, 0.9**lags, 0.8**lags]))
    told = cell_findings.columns(seeds, seeds)
    # ln(1/10) / ln(0.95) is 44.9, beyond the 29 there are; of 0.9 it is 21.9, of 0.8 10.3.
    assert told["1/10 at lag"] == "11 to never"
    assert told["verdict"] == "vanishes 2, preserved 1"
    assert told["asymptotic rate"] == f"{(0.95 * 0.9 * 0.8) ** (1 / 3):.3f} (0.800 to 0.950)"


def test_a_curve_that_is_no_line_has_no_rate_and_a_flat_one_is_level() -> None:
    drops = np.where(np.arange(40) == 39, 1, 0.02)  # to a fiftieth at lag 1, and no further
    assert cell_findings.rate(cell_measurements.described(np.array([drops, 0.5 ** np.arange(40)[::-1]]))) == (
        "not exponential"
    )
    rough = 1 + 1e-12 * np.random.default_rng(0).normal(size=(2, 40))
    assert cell_findings.rate(cell_measurements.described(rough)) == "level"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0"),
        (5.7184e-21, "5.7e-21"),
        (0.0833, "0.083"),
        (0.9815, "0.98"),
        (1.013, "1.01"),
        (40.3, "40"),
        (16712, "17,000"),
    ],
)
def test_shares_are_told_by_two_digits_or_hundredths(value: float, told: str) -> None:
    assert cell_findings.share(value) == told


def test_the_summary_names_what_lasts_and_what_is_lost_with_its_lags() -> None:
    lags = np.arange(T)[::-1]
    curves = {
        "keeps": [0.999**lags, 1.001**lags],
        "leaks": [0.97**lags, 0.96**lags],
        "forgets": [0.5**lags, 0.4**lags],
        "parts": [0.5**lags, 0.999**lags],
        "grows": [1.1**lags, 1.2**lags],
    }
    found = pd.concat(
        [
            cell_measurements.described(np.array(curve)).assign(cell=name, change="", scale=STRONG)
            for name, curve in curves.items()
        ]
    )
    learned = " ".join(cell_findings.learned(found).split())
    assert f"1 of the 5 cells keep the gradient of a loss at the last step over {T} steps: `keeps`." in learned
    assert f"At least {0.999**99:.2f} of its norm at the loss is left" in learned
    # ln(1/10) / ln(rate): 75.6 and 56.4; 3.3 and 2.5
    assert "latest in `leaks` (57 to 76) and `forgets` (3 to 4), and soonest in `forgets` (3 to 4)" in learned
    assert "on the seed: `parts` (vanishes 1, preserved 1) and `grows` (explodes)." in learned


def test_under_the_weak_drive_elman_is_ahead_near_the_loss_and_the_lstm_far_from_it() -> None:
    weak = cell_findings.of_cells(FOUND, WEAK)
    assert weak["elman"]["tenth_lag"].min() > weak["lstm"]["tenth_lag"].max()
    assert weak["elman"]["asymptotic_rate"].max() < weak["lstm"]["asymptotic_rate"].min()


# Why some keep it


def test_modrelu_without_a_bias_is_the_identity() -> None:
    inputs = jax.random.normal(jax.random.key(0), (T, 2, I))
    for parametrization in ("exponential", "cayley"):
        outputs = []
        for activation in ("modrelu", "identity"):
            cell = rnnjax.orthogonal_rnn(H, parametrization, activation)
            outputs.append(rnnjax.unroll(cell, cell.init(jax.random.key(1), I), inputs)[1])
        np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [rnnjax.antisymmetric, cell_measurements.residual_tanh])
def test_at_step_size_1_tanh_is_saturated_after_the_warm_up_and_not_at_first(make) -> None:
    cell, inputs = make(H, step_size=1.0), jax.random.normal(jax.random.key(0), (WARM_UP + T, 16, I))
    hidden = rnnjax.unroll(cell, cell.init(jax.random.key(1), I), inputs)[1]
    slopes = 1 - jnp.diff(hidden, axis=0) ** 2  # of tanh, which is what a step adds
    assert slopes[WARM_UP:].mean() < 0.02 < 0.1 < slopes[:20].mean()


def test_cells_that_keep_the_gradient_without_a_reason_given_are_an_error() -> None:
    with pytest.raises(ValueError, match="expected those that have a reason"):
        cell_findings.reasons(FOUND[FOUND["cell"] != "lipschitz"])


def test_a_change_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"lipschitz with 'step size 7' has not been measured; run: make cells"):
        cell_findings.of(FOUND, "lipschitz", "step size 7")


def test_a_residual_network_is_the_antisymmetric_one_where_the_recurrent_kernel_is_antisymmetric() -> None:
    inputs = jax.random.normal(jax.random.key(0), (9, 2, I))
    known = rnnjax.antisymmetric(H, 0.3, 0.0)
    params = known.init(jax.random.key(1), I)
    plain = cell_measurements.residual_tanh(H, 0.3)
    same = cell_measurements.ResidualParams(params.kernel, params.recurrent_kernel - params.recurrent_kernel.T)
    np.testing.assert_allclose(
        rnnjax.unroll(plain, same, inputs)[1], rnnjax.unroll(known, params, inputs)[1], rtol=1e-5, atol=1e-6
    )


def test_what_the_page_says_in_words_of_its_changes_holds_for_every_seed() -> None:
    def left(name: str, change: str) -> np.ndarray:
        rows = cell_findings.of(FOUND, name, change)
        return rows[rows["scale"] == STRONG]["left"].to_numpy()

    for name in ("orthogonal_rnn", "orthogonal_rnn_cayley"):
        np.testing.assert_allclose(left(name, "no modReLU"), left(name, ""), rtol=1e-5)
        assert (left(name, "modReLU with bias -0.1, warm-up 0") < left(name, "modReLU with bias -0.1")).all()
    off = {name: np.abs(np.log(left(name, change))).max() for name, change in [("antisymmetric", ""), RESIDUAL]}
    assert off["antisymmetric"] < off["residual_tanh"] < np.log(2)
    for name in ("antisymmetric", "residual_tanh"):
        assert (left(name, "step size 1, warm-up 0") > 30 * left(name, "step size 1")).all()
    assert left("lstm_1997", "warm-up 0").min() > left("lstm_1997", "").max()


def test_the_memory_of_lstm_1997_grows_and_passes_less_the_longer_it_runs() -> None:
    cell, inputs = rnnjax.lstm_1997(H), jax.random.normal(jax.random.key(0), (1000, 16, I))
    params = cell.init(jax.random.key(1), I)
    early, middle, late = (rnnjax.unroll(cell, params, inputs[:length])[0].cell for length in (20, 200, 1000))
    assert jnp.std(early) < 0.6 * jnp.std(middle) < 0.6**2 * jnp.std(late)
    slopes = [jnp.mean(1 - jnp.tanh(cell) ** 2) for cell in (early, middle, late)]
    assert slopes[0] > 1.5 * slopes[1] > 1.5**2 * slopes[2]
