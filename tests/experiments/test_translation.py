"""The translation experiment: networks and searches written out, gradients by differences, what a run leaves."""

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from experiments.translation import config as settings
from experiments.translation import flow, model, report
from experiments.translation.data import END, Symbols, batch_of
from experiments.translation.examples import Pair
from experiments.translation.main import plan, searches
from experiments.translation.model import ADDITIVE, ATTENTIONS, NONE, READINGS, Layers, Network, Search
from experiments.translation.trained import load, readable, translate
from rnnjax.sequence.encoder_decoder import EncoderDecoderParams
from tests.answers import answered
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn, check_page
from tests.test_errors import check_refused

QUICK = ["--variant=quick"]
SYMBOLS = Symbols(("a", "b", "c"), ("X", "Y"), 5, 3)
PAIRS = [Pair("ab", ("X",)), Pair("cbaa", ("Y", "X")), Pair("c", ("X", "X", "Y"))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the quick variant."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    call = {"module": "translation", "flags": [*QUICK, f"--workdir={workdir}"]}
    ((status, printed),) = answered([call])
    assert status == 0, printed
    return workdir


# Networks


def network_of(layers: Layers, seed: int = 1, scale: float = 1.0, dtype: Any = jnp.float32) -> Network:
    with jax.enable_x64(False):
        network = jax.jit(lambda key: model.init(layers, SYMBOLS, 3, key))(jax.random.key(seed))
    return jax.tree.map(lambda leaf: scale * leaf.astype(dtype), network)


def softmax(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def tanh_step(params: Any, hidden: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.tanh(x @ params.kernel + hidden @ params.recurrent_kernel + params.bias)


def written_out(layers: Layers, network: Network, pair: Pair) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits (T, V) of one pair alone, of Elman cells, step by step, and where it looks (T, S)."""
    plain = jax.tree.map(np.asarray, network)
    read = [plain.source[SYMBOLS.sources.index(character) + 1] for character in pair.source]

    def run(params: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
        hidden, outputs = np.zeros(4), []
        for x in inputs:
            hidden = tanh_step(params, hidden, x)
            outputs.append(hidden)
        return outputs

    if layers.reading == "bidirectional":
        forward, backward = run(plain.encoder.forward, read), run(plain.encoder.backward, read[::-1])
        memory = np.array([np.concatenate(both) for both in zip(forward, backward[::-1], strict=True)])
        summary = np.concatenate([forward[-1], backward[-1]])
    else:
        outputs = run(plain.encoder, read if layers.reading == "forward" else read[::-1])
        summary, memory = outputs[-1], np.array(outputs if layers.reading == "forward" else outputs[::-1])
    affine, params = plain.decoder.state.hidden, plain.decoder.cell
    hidden = np.tanh(summary @ affine.kernel + affine.bias)
    found, looks = [], []
    for symbol in ("", *pair.target):
        x = plain.target[SYMBOLS.targets.index(symbol) + 1 if symbol else END]
        if layers.attention == NONE:
            output = hidden = tanh_step(params, hidden, x)
        elif layers.attention == ADDITIVE:
            scores = np.tanh(hidden @ params.query_kernel + memory @ params.memory_kernel) @ params.score_kernel
            looks.append(softmax(scores))
            output = hidden = tanh_step(params.cell, hidden, np.concatenate([x, looks[-1] @ memory]))
        else:
            hidden = tanh_step(params.cell, hidden, x)
            looks.append(softmax(hidden @ params.score_kernel @ memory.T))
            output = np.tanh(np.concatenate([looks[-1] @ memory, hidden]) @ params.output_kernel)
        readout = plain.readout["params"]
        found.append(output @ readout["kernel"] + readout["bias"])
    return np.array(found), np.array(looks) if looks else None


CASES = [*itertools.product(ATTENTIONS, ("reversed",)), (NONE, "bidirectional"), (ADDITIVE, "bidirectional")]


@pytest.mark.parametrize(("attention", "reading"), CASES)
def test_logits_and_alignment_of_a_padded_batch_are_those_of_each_pair_alone_written_out(
    attention: str, reading: str
) -> None:
    layers = model.make_layers(attention, reading, "elman", 4)
    network, batch = network_of(layers), batch_of(SYMBOLS, PAIRS, (6, 4))
    answer = jax.jit(lambda network: model.logits(layers, network, network.source[batch.source], batch))
    found = answer(network)
    looks = jax.jit(lambda network: model.alignment(layers, network, batch))(network) if attention != NONE else None
    for place, pair in enumerate(PAIRS):
        expected, weights = written_out(layers, network, pair)
        steps = len(pair.target) + 1
        np.testing.assert_allclose(found[:steps, place], expected, rtol=2e-5, atol=2e-6)
        if looks is not None:
            np.testing.assert_allclose(looks[:steps, place, : len(pair.source)], weights, rtol=2e-5, atol=2e-6)
            assert (np.asarray(looks[:, place, len(pair.source) :]) == 0).all()


def test_without_attention_it_is_the_librarys_encoder_and_decoder() -> None:
    layers, batch = model.make_layers(NONE, "forward", "gru", 4), batch_of(SYMBOLS, PAIRS)
    network = network_of(layers)
    of_library = rnnjax.encoder_decoder(layers.encoder, rnnjax.one_to_many(layers.decoder))
    params = EncoderDecoderParams(network.encoder, network.decoder)
    source, inputs = network.source[batch.source], network.target[batch.inputs]
    outputs = jax.jit(of_library.apply)(params, source, inputs, batch.source_mask)
    found = jax.jit(model.logits, static_argnums=0)(layers, network, source, batch)
    np.testing.assert_allclose(found, model.readout(network, outputs), rtol=1e-5, atol=1e-6)


def test_a_source_read_backwards_is_its_mirror_image_read_forward_and_its_memory_stands_in_its_own_order() -> None:
    backward, forward = (model.make_layers(NONE, reading, "gru", 4) for reading in ("reversed", "forward"))
    network, mirrored = network_of(forward), [pair._replace(source=pair.source[::-1]) for pair in PAIRS]
    of_source, of_mirror = batch_of(SYMBOLS, PAIRS, (6, 4)), batch_of(SYMBOLS, mirrored, (6, 4))
    encode = jax.jit(model.encode, static_argnums=0)
    found = encode(backward, network, network.source[of_source.source], of_source.source_mask)
    expected = encode(forward, network, network.source[of_mirror.source], of_mirror.source_mask)
    np.testing.assert_allclose(found.state.hidden, expected.state.hidden, rtol=1e-5)
    for place, pair in enumerate(PAIRS):
        length = len(pair.source)
        np.testing.assert_allclose(found.memory[:length, place], expected.memory[:length, place][::-1], rtol=1e-6)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_padding_changes_neither_logits_nor_what_is_said(x64: None, attention: str) -> None:
    layers = model.make_layers(attention, "bidirectional", "gru", 4)
    network = network_of(layers, scale=2.0, dtype=jnp.float64)
    assert jax.jit(flow.change_with_padding, static_argnums=0)(layers, network, batch_of(SYMBOLS, PAIRS)) < 1e-13
    say = jax.jit(model.say, static_argnums=(0, 3))
    padded = say(layers, network, batch_of(SYMBOLS, PAIRS, (9, 3)), Search(2, 1.0))
    plain = say(layers, network, batch_of(SYMBOLS, PAIRS, (4, 3)), Search(2, 1.0))
    assert (padded.tokens == plain.tokens).all()
    np.testing.assert_allclose(padded.log_probabilities, plain.log_probabilities, rtol=1e-5)


def log_probability(layers: Layers, network: Network, source: str, tokens: tuple[int, ...]) -> float:
    """Of tokens up to their end, by the network written out."""
    symbols = tuple(SYMBOLS.targets[token - 1] for token in tokens if token != END)
    rows = written_out(layers, network, Pair(source, symbols))[0][: len(tokens)]
    return float(sum(np.log(softmax(row)[token]) for row, token in zip(rows, tokens, strict=True)))


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_one_beam_is_greedy_and_beams_enough_find_the_best_however_many_there_are(attention: str) -> None:
    layers = model.make_layers(attention, "reversed", "elman", 4)
    network, batch = network_of(layers, seed=3, scale=2.0), batch_of(SYMBOLS, PAIRS, (4, 2))
    batch = batch._replace(targets=batch.targets[:3], inputs=batch.inputs[:3], mask=batch.mask[:3])
    say = jax.jit(model.say, static_argnums=(0, 3))
    one, nine, many = (say(layers, network, batch, Search(beams, 0.0)) for beams in (1, 9, 27))
    texts = {
        tokens[: tokens.index(END) + 1] if END in tokens else tokens
        for tokens in itertools.product((0, 1, 2), repeat=3)
    }
    for place, pair in enumerate(PAIRS):
        greedy: tuple[int, ...] = ()
        while len(greedy) < 3 and END not in greedy:
            symbols = tuple(SYMBOLS.targets[token - 1] for token in greedy)
            logits = written_out(layers, network, Pair(pair.source, symbols))[0][len(greedy)]
            greedy = (*greedy, int(logits.argmax()))
        likely = {tokens: log_probability(layers, network, pair.source, tokens) for tokens in texts}
        best = max(likely, key=lambda tokens: likely[tokens])
        for found, expected in ((one, greedy), (nine, best), (many, best)):
            assert tuple(np.asarray(found.tokens[: len(expected), place])) == expected
            np.testing.assert_allclose(found.log_probabilities[place], likely[expected], rtol=1e-4)
            assert bool(found.ended[place]) == (END in expected)


@pytest.mark.slow
@pytest.mark.parametrize(("reading", "read_last"), [("forward", (4, 2, 1)), ("reversed", (0, 0, 3))])
def test_gradients_are_geometric_means_of_differences_of_the_log_odds(
    x64: None, reading: str, read_last: tuple[int, int, int]
) -> None:
    layers = model.make_layers(ADDITIVE, reading, "elman", 4)
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network_of(layers))
    pairs = [Pair("abcba", ("X", "Y", "X")), Pair("bca", ("Y", "Y", "Y"))]
    batch = batch_of(SYMBOLS, pairs)
    parts = flow.parts_of(batch, 3, 2)  # c and Y stand between
    assert parts.source.T.tolist() == [[0, 0, -1, 1, 1], [0, -1, 1, -1, -1]]
    assert parts.target.T.tolist() == [[0, -1, 1, 1], [-1, -1, -1, 3]]
    parts = parts._replace(target=parts.target.at[:, 1].set(jnp.array([0, -1, 1, 1])))
    found = jax.jit(lambda network: flow.flow(layers, network, batch, parts, 5, 2))(network)
    assert found.sources.tolist() == [2, 2, 2, 1, 1]
    inputs = network.source[batch.source]

    @jax.jit
    def log_odds(inputs: Any) -> Any:
        most = jax.nn.softmax(model.logits(layers, network, inputs, batch), axis=-1).max(axis=-1)
        return jnp.log(most / (1 - most))

    norms = np.zeros((3, 5, 2))  # of both parts and of the last symbol
    for column, pair in enumerate(pairs):
        for j in range(len(pair.source)):
            difference = np.zeros((4, 3))
            for number in range(3):
                change = jnp.zeros_like(inputs).at[j, column, number].set(1e-6)
                difference[:, number] = (log_odds(inputs + change) - log_odds(inputs - change))[:, column] / 2e-6
            of_part = [difference[:1].sum(axis=0), difference[2:].sum(axis=0), difference[2]]
            norms[:, j, column] = np.linalg.norm(of_part, axis=-1)
    first, second, fourth = read_last  # the last to be read of each source, and the third before it of the longer one
    np.testing.assert_allclose(found.norms[0], np.sqrt(norms[2, first, 0] * norms[2, second, 1]), rtol=1e-5)
    np.testing.assert_allclose(found.norms[3], norms[2, fourth, 0], rtol=1e-5)
    for part in range(2):
        of_both = [np.linalg.norm(norms[part, 3:, 0]), norms[part, 2, 1]]
        np.testing.assert_allclose(found.parts[part, 1], np.sqrt(np.prod(of_both)), rtol=1e-5)


# A run


def test_a_run_leaves_records_figures_and_a_summary(finished: Path) -> None:
    check_drawn(finished, [make.__name__ for make in report.FIGURES])
    check_page(finished, "translation")
    summary = (finished / "summary.md").read_text()
    assert "300 pairs of up to 2 dates to train on" in summary
    assert "## Locales and formats" in summary
    assert "NaN" not in (finished / "metrics.jsonl").read_text()
    records = records_in(finished)
    assert max(record["change"] for record in records if record["kind"] == "padding") < 1e-4
    for name in ("no attention, forward", "additive attention, bidirectional"):
        assert name in summary
    losses = [record["loss"] for record in records if record["kind"] == "evaluation" and record["seed"] == 0]
    assert losses[3] < losses[0]


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    only = ["--config.networks=none:forward", "--config.seeds=1"]
    flags = [*QUICK, f"--workdir={tmp_path / 'run'}", *only]
    call = {"module": "translation", "flags": flags, "drawn": False}
    killed, done = answered([call | {"fault": "killed", "at": ("experiments.common.checkpoint", "save", 2)}, call])
    assert killed[0] != 0
    assert done[0] == 0, done[1]
    expected = [each for each in records_in(finished) if each["run"] == "none-forward-seed0"]
    assert records_in(tmp_path / "run") == expected


def test_what_is_typed_is_translated_or_refused_with_what_does_not_fit(finished: Path) -> None:
    known = load(finished / "checkpoints" / "additive-bidirectional-seed0" / "last")
    assert readable(known, " 3. MAI\u00a02021;  ") == "3. mai 2021"
    found = translate(known, "3. Mai 2021", Search(2, 0.0))
    assert set(found.text) <= set("0123456789- ")
    assert 0 < found.probability < 1
    assert found.flaw  # so little trained, it writes no date
    for text, message in (
        ("", "'' is empty: expected a date such as '3. Mai 2021'"),
        ("3. Mai §2021", "'3. Mai §2021' has '§', which no training source has"),
        ("mai", "'mai' has no digit: expected a date such as '3. Mai 2021'"),
        ("1. mai 2021;; 3. mai 2021", "has 3 dates: expected 2 at most"),
        ("3. mai 2021; " * 30, "has 388 characters: expected 81 at most"),
    ):
        with pytest.raises(ValueError, match="expected") as raised:
            translate(known, text, Search(1, 0.0))
        assert message in str(raised.value)


def test_wrong_commands_are_answered_in_a_line(finished: Path, tmp_path: Path) -> None:
    given = f"--workdir={finished}"
    (tmp_path / "blank.txt").write_text("\n\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    calls = {
        ("translation.translate", f"--workdir={tmp_path}", "3. Mai 2021"): "has no trained network: give the folder of",
        ("translation.translate", given, "--run=subtractive", "3. Mai 2021"): "--run=subtractive is not in",
        ("translation.translate", given, "--file=nowhere.txt"): "--file=nowhere.txt cannot be read",
        ("translation.translate", given, f"--file={tmp_path / 'latin.txt'}"): "cannot be read",
        ("translation.translate", given, f"--file={tmp_path / 'blank.txt'}"): "there is nothing to translate: give it",
        ("translation.translate", given): "there is nothing to translate: give it",
        ("translation.translate", given, "3. Mai 2021", "5 § 1999"): "has '§', which no training source has",
        ("translation.translate", given, "--beams=0", "3. Mai 2021"): "beams",
        ("translation", "--config.networks=subtractive"): "unknown attention 'subtractive'",
        ("translation", "3. Mai 2021"): "unexpected argument '3. Mai 2021'",
    }
    found = answered([{"module": module, "flags": list(flags)} for module, *flags in calls])
    for (status, printed), message in zip(found, calls.values(), strict=True):
        assert status == 1
        assert message in printed
        assert len(printed.strip().splitlines()) <= 2


def test_searches_are_greedy_then_all_beams_with_all_penalties() -> None:
    config = settings.get_config("default")
    config.beams, config.length_penalties = "1,4,2", "0,0.5"
    assert searches(config) == [(1, 0.0), (4, 0.0), (4, 0.5), (2, 0.0), (2, 0.5)]


@pytest.mark.parametrize("variant", ["default", *(variant.__name__ for variant in settings.VARIANTS)])
def test_the_plan_of_every_variant_has_each_network_once_a_seed(variant: str) -> None:
    config = settings.get_config(variant)
    runs = plan(config)
    assert len({run.name for run in runs}) == len(runs) == len(config.networks.split(",")) * config.seeds
    assert {run.program.reading for run in runs} <= set(READINGS)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data", "date", "unknown data 'date': did you mean 'dates'"),
        ("networks", "none,subtractive", "unknown attention 'subtractive'"),
        ("networks", "none:sideways", "unknown reading 'sideways'"),
        ("networks", " , ", "--config.networks is empty"),
        ("cell", "gruu", "unknown cell 'gruu': did you mean 'gru'"),
        ("dropout", 1.0, "--config.dropout is 1"),
        ("beams", "1,0", "--config.beams is '1,0': expected positive whole numbers"),
        ("length_penalties", "0,a", "--config.length_penalties is '0,a': expected numbers from 0 to 10"),
        ("length_penalties", "-1", "--config.length_penalties is '-1': expected numbers from 0 to 10"),
        ("evaluate_every", 75, "--config.evaluate_every is 75: expected a multiple of --config.steps_a_call"),
        ("train_sources", 2, "--config.train_sources is 2: expected at least 3"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("default"), field, value, message)
