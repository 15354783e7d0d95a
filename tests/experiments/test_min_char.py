"""The min_char experiment: against loops in NumPy, iteration by iteration; its samples; end to end."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.min_char import in_numpy
from experiments.min_char import config as settings
from experiments.min_char import main as min_char
from experiments.min_char import report
from experiments.networks.character_model import CharacterParams
from rnnjax.cells.elman import ElmanParams
from rnnjax.data import load_corpus
from tests.experiments.runs import check_page, quick_run
from tests.test_errors import check_refused


def in_loops(state: min_char.TrainState) -> in_numpy.Params:
    """The params under the names of the NumPy program."""
    recurrent, readout = state.params.recurrent, state.params.readout["params"]
    named = {"kernel": recurrent.kernel, "recurrent_kernel": recurrent.recurrent_kernel, "bias": recurrent.bias}
    named |= {"readout_kernel": readout["kernel"], "readout_bias": readout["bias"]}
    return {name: np.asarray(param, np.float64) for name, param in named.items()}


def doubled(state: min_char.TrainState) -> min_char.TrainState:
    """In float64."""
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state
    )


def at(loops: in_numpy.State, state: min_char.TrainState) -> min_char.TrainState:
    """The state with the numbers of the NumPy program."""

    def named(numbers: in_numpy.Params) -> CharacterParams:
        recurrent = ElmanParams(*(numbers[name] for name in ("kernel", "recurrent_kernel", "bias")))
        return CharacterParams(recurrent, {"params": {n: numbers[f"readout_{n}"] for n in ("bias", "kernel")}})

    optimizer = optax.tree.set(state.optimizer, sum_of_squares=named(loops.squares))
    own = {"params": named(loops.params), "hidden": state.hidden._replace(hidden=loops.hidden)}
    return state._replace(**own, optimizer=optimizer, place=jnp.int32(loops.place))


@pytest.mark.slow
def test_from_the_same_weights_each_of_the_first_thousand_iterations_is_that_of_the_same_model_in_numpy() -> None:
    config = settings.get_config()
    corpus = load_corpus(max_characters=6_000, max_vocabulary=1 << 20)  # which ends four times on the way
    tokens, cell = jnp.asarray(corpus.tokens), min_char.make_cell(config)
    state = min_char.initial_state(cell, config, len(corpus.vocabulary), jax.random.key(0))
    loops, smoothed = in_numpy.start(in_loops(state)), float(state.smoothed_loss)
    losses, expected = [], []
    with jax.enable_x64(True):
        state = doubled(state)
        iterate = jax.jit(lambda state: min_char.iterations(cell, config, state, tokens, count=1))
        for _ in range(1000):
            state, seen = iterate(at(loops, state))
            loops, loss = in_numpy.step(loops, corpus.tokens, config.sequence_length)
            losses.append(float(seen["loss"]))
            expected.append(loss)
            smoothed = 0.999 * smoothed + 0.001 * loss
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    np.testing.assert_allclose(state.smoothed_loss, smoothed, rtol=1e-6)
    for name, param in in_loops(state).items():
        np.testing.assert_allclose(param, loops.params[name], rtol=1e-8, atol=1e-12)
    assert np.mean(expected[-100:]) < 0.8 * expected[0]


def test_left_alone_the_two_part_no_sooner_than_two_runs_in_numpy_that_differ_in_the_last_digit(tmp_path: Path) -> None:
    """Adagrad's first steps are 0.1 for every weight, and its course is chaotic: a rounding error grows with each."""
    config = settings.get_config()
    text = tmp_path / "text.txt"  # the same with each Python: how soon they part depends on the text
    text.write_text("".join(chr(97 + letter) for letter in np.random.default_rng(0).integers(26, size=6_000)))
    corpus = load_corpus(str(text), max_vocabulary=1 << 20)
    tokens, cell = jnp.asarray(corpus.tokens), min_char.make_cell(config)
    state = min_char.initial_state(cell, config, len(corpus.vocabulary), jax.random.key(0))
    params = in_loops(state)
    nearby = {**params, "kernel": params["kernel"] * (1 + 1e-15)}
    alone = []
    for start in (params, nearby):
        loops, of_run = in_numpy.start(start), []
        for _ in range(30):
            loops, loss = in_numpy.step(loops, corpus.tokens, config.sequence_length)
            of_run.append(loss)
        alone.append(np.array(of_run))
    with jax.enable_x64(True):
        _, seen = jax.jit(lambda state: min_char.iterations(cell, config, state, tokens, count=30))(doubled(state))
    apart, own = (np.abs(np.asarray(losses) / alone[0] - 1) for losses in (seen["losses"], alone[1]))
    assert apart[:10].max() < 1e-10
    assert (np.maximum.accumulate(apart) < 100 * np.maximum.accumulate(own) + 1e-12).all()


def test_the_oracles_gradients_are_those_of_finite_differences() -> None:
    generator = np.random.default_rng(0)
    shapes = {
        "kernel": (5, 4),
        "recurrent_kernel": (4, 4),
        "bias": (4,),
        "readout_kernel": (4, 5),
        "readout_bias": (5,),
    }
    params = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    window, hidden = generator.integers(0, 5, 8), generator.normal(size=4)

    def loss(params: in_numpy.Params) -> float:
        return in_numpy.loss_and_gradients(params, window[:-1], window[1:], hidden)[0]

    _, gradients, _ = in_numpy.loss_and_gradients(params, window[:-1], window[1:], hidden)
    for name, param in params.items():
        place = tuple(generator.integers(0, size) for size in param.shape)
        changed = [{**params, name: param.copy()} for _ in range(2)]
        for sign, one in zip((1, -1), changed, strict=True):
            one[name][place] += sign * 1e-6
        slope = (loss(changed[0]) - loss(changed[1])) / 2e-6
        np.testing.assert_allclose(gradients[name][place], slope, rtol=1e-5)


def test_weights_start_small_and_biases_at_zero() -> None:
    config = settings.get_config()
    state = min_char.initial_state(min_char.make_cell(config), config, 80, jax.random.key(1))
    params = in_loops(state)
    assert {name: param.shape for name, param in params.items()} == {
        "kernel": (80, 100),
        "recurrent_kernel": (100, 100),
        "bias": (100,),
        "readout_kernel": (100, 80),
        "readout_bias": (80,),
    }
    for name in ("kernel", "recurrent_kernel", "readout_kernel"):
        np.testing.assert_allclose(params[name].std(), 0.01, rtol=0.05)
        assert abs(params[name].mean()) < 5e-4
    assert not params["bias"].any()
    assert not params["readout_bias"].any()


@pytest.mark.slow
def test_samples_follow_the_networks_own_probabilities_from_where_it_is_in_the_text(tmp_path: Path) -> None:
    """A network that is sure of what follows each character says it, beginning after the next one to be read."""
    config = settings.get_config("quick")
    (tmp_path / "cycle.txt").write_text("abcd" * 20)
    corpus = load_corpus(str(tmp_path / "cycle.txt"))
    cell = min_char.make_cell(config)
    state = min_char.initial_state(cell, config, 4, jax.random.key(0))
    params = jax.tree.map(jnp.zeros_like, state.params)
    order = [corpus.vocabulary.index(character) for character in "abcd"]
    kernel = params.recurrent.kernel.at[jnp.array(order), jnp.arange(4)].set(9.0)
    readout = params.readout["params"]["kernel"].at[jnp.arange(4), jnp.roll(jnp.array(order), -1)].set(60.0)
    params = params._replace(
        recurrent=params.recurrent._replace(kernel=kernel),
        readout={"params": {**params.readout["params"], "kernel": readout}},
    )
    state = state._replace(params=params, place=jnp.int32(2))
    said = min_char.sampled(cell, config, state, jnp.asarray(corpus.tokens))
    text = "".join(corpus.vocabulary[token] for token in said.tolist())
    assert text == ("dabc" * 20)[: config.sample_length]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    return quick_run(tmp_path_factory, "min_char")


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "min_char")


def test_a_run_leaves_a_sample_every_hundred_iterations_losses_figures_and_a_summary(
    finished: tuple[Path, str],
) -> None:
    workdir, printed = finished
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    of_seed = [record for record in records if record["seed"] == 0]
    samples = [record for record in of_seed if record["kind"] == "sample"]
    assert [record["step"] for record in samples] == list(range(0, 601, 100))
    assert {len(record["text"]) for record in samples} == {40}
    trained = [record for record in of_seed if record["kind"] == "train"]
    assert sum(len(record["losses"]) for record in trained) == 600
    flows = [record["step"] for record in of_seed if record["kind"] == "state_gradient"]
    assert flows == [0, 300, 600]
    assert trained[-1]["smoothed_loss"] < samples[0]["step"] + 10 * np.log(60)
    summary = (workdir / "summary.md").read_text()
    assert "After 600 iterations:" in summary
    assert "In 600 iterations the smoothed loss falls from" in printed
    for name in ("loss_by_iteration", "gradient_by_lag"):
        assert (workdir / "figures" / f"{name}.png").stat().st_size > 10_000


def test_the_table_has_ranges_over_seeds_in_nats_and_bits_a_character() -> None:
    records = []
    for seed in range(2):
        for step, smoothed, factor in ((0, 8.0, 0.1), (200, 4.0 - 2 * seed, 0.5)):
            own = {"run": f"seed{seed}", "seed": seed, "step": step}
            records += [
                {**own, "kind": "evaluation", "smoothed_loss": smoothed},
                {**own, "kind": "state_gradient", "norms": [factor**lag for lag in (3, 2, 1, 0)]},
            ]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.table(records).splitlines()[2:]]
    assert rows[0] == ["0", "2.000", "2.89", "1", "1", "3"]
    assert rows[1] == ["200", "0.500 to 1.000", "0.72 to 1.44", "1", "never", "never"]
    assert "falls from 2.00 nats a character, that of guessing, to 0.50 to 1.00 (2 seeds)" in report.verdict(records)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("train_steps", 150, "--config.train_steps is 150: expected a multiple of --config.sample_every=100"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
        ("clip_value", 0.0, "--config.clip_value is 0.0: expected a positive number"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(min_char.plan, settings.get_config("quick"), field, value, message)


def test_a_text_shorter_than_a_window_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("ab" * 13)
    with pytest.raises(ValueError, match=r"has 26 characters, but --config.sequence_length=25 needs 27: give a longer"):
        min_char.check_length(load_corpus(str(tmp_path / "short.txt")), 25)
