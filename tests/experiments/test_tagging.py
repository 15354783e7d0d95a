"""The tagging experiment: what its grammar decides, its networks by hand, its scores by counting, what a run leaves."""

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.tagging import config as settings
from experiments.tagging import data as tagging_data
from experiments.tagging import decisions, findings, grammar, model, report, scores
from experiments.tagging import main as tagging
from experiments.tagging.data import Data, batch_of, lexicon_of
from experiments.tagging.grammar import HELD_OUT, LEFT, RIGHT, SEEN
from experiments.tagging.main import plan
from experiments.tagging.model import DIRECTIONS, Batch, Layer, Network, Noise, Sizes
from experiments.tagging.trained import load, probabilities, tagged
from rnnjax.data import TaggedSentence
from tests.answers import answered
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn, check_page
from tests.experiments.test_tagging_data import LEXICON, SENTENCES
from tests.experiments.undrawn import laid_out
from tests.test_errors import check_refused

QUICK = ["--variant=quick"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the quick variant."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    ((status, printed),) = answered([{"module": "tagging", "flags": [*QUICK, f"--workdir={workdir}"]}])
    assert status == 0, printed
    return workdir


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: Path) -> None:
    check_page(finished, "tagging")


# Networks


SIZES = Sizes(len(LEXICON.words), len(LEXICON.affixes), 3, len(LEXICON.tags))


def undisturbed() -> Noise:
    return Noise(jnp.zeros(len(LEXICON.words) + 1))


def network_of(layer: Layer, sizes: Sizes = SIZES) -> Network:
    with jax.enable_x64(False):
        return jax.jit(lambda key: model.init(layer, sizes, key))(jax.random.key(1))


def written_out(layer: Layer, network: Network, sentence: TaggedSentence) -> np.ndarray:
    """Logits (T, K) of one sentence alone, of Elman cells, word by word."""
    plain = jax.tree.map(np.asarray, network)
    inputs = []
    for word in sentence.words:
        own = LEXICON.words.index(word) + 1 if word in LEXICON.words else 0
        found = plain.words[own].copy()
        for affix in tagging_data.affixes_of(word, 2):
            if affix in LEXICON.affixes:
                found += plain.affixes[LEXICON.affixes.index(affix) + 1] / 2  # the root of four
        inputs.append(found)

    def run(params: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
        hidden, outputs = np.zeros(4), []
        for x in inputs:
            hidden = np.tanh(x @ params.kernel + hidden @ params.recurrent_kernel + params.bias)
            outputs.append(hidden)
        return outputs

    ways = {
        "forward": lambda: run(plain.recurrent, inputs),
        "backward": lambda: run(plain.recurrent, inputs[::-1])[::-1],
        "bidirectional": lambda: [
            np.concatenate(pair)
            for pair in zip(
                run(plain.recurrent.forward, inputs), run(plain.recurrent.backward, inputs[::-1])[::-1], strict=True
            )
        ],
    }
    readout = plain.readout["params"]
    return np.array([y @ readout["kernel"] + readout["bias"] for y in ways[layer.direction]()])


@pytest.mark.slow
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_logits_of_a_padded_batch_are_those_of_each_sentence_alone_written_out(direction: str) -> None:
    layer = model.make_layer(direction, "elman", 4)
    network, batch = network_of(layer), batch_of(LEXICON, SENTENCES, 8)
    answer = jax.jit(lambda network: model.logits(layer, network, model.embed(network, batch), batch.mask))
    found = answer(network)
    for place, sentence in enumerate(SENTENCES):
        expected = written_out(layer, network, sentence)
        np.testing.assert_allclose(found[: len(sentence.words), place], expected, rtol=2e-5, atol=2e-6)
    loss = jax.jit(lambda network: model.training_loss(layer, undisturbed(), network, batch, jax.random.key(0)))(
        network
    )
    nats = [
        np.log(np.exp(row).sum()) - row[LEXICON.tags.index(tag)]
        for sentence in SENTENCES
        for row, tag in zip(written_out(layer, network, sentence), sentence.tags, strict=True)
    ]
    np.testing.assert_allclose(loss, np.mean(nats), rtol=1e-5)
    assert decisions.change_with_padding(layer, network, batch_of(LEXICON, SENTENCES)) < 1e-6


def test_noise_disturbs_training_and_a_word_that_is_dropped_is_an_unknown_one() -> None:
    layer, batch, key = model.make_layer("forward", "elman", 4), batch_of(LEXICON, SENTENCES), jax.random.key(3)
    network = network_of(layer)

    def loss(noise: Noise, batch: Batch = batch) -> float:
        return float(jax.jit(lambda network: model.training_loss(layer, noise, network, batch, key))(network))

    unknown = loss(undisturbed(), batch._replace(words=jnp.zeros_like(batch.words)))
    assert abs(loss(undisturbed()) - unknown) > 1e-4
    np.testing.assert_allclose(loss(Noise(jnp.ones(len(LEXICON.words) + 1))), unknown, rtol=1e-6)
    assert abs(loss(undisturbed()._replace(outputs=0.4)) - loss(undisturbed())) > 1e-4


def test_words_are_dropped_the_more_often_the_rarer_they_are() -> None:
    found = tagging.dropped_by_count(batch_of(LEXICON, SENTENCES), len(LEXICON.words), 0.5)
    counts = {"as": 1, "bears": 3, "do": 1, "sat": 2, "the": 1, "wept": 1}
    np.testing.assert_allclose(found, [0, *(0.5 / (0.5 + counts[word]) for word in LEXICON.words)])


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_one_direction_has_as_many_params_as_two_but_for_what_a_unit_has(direction: str) -> None:
    """Of a GRU of H units, 3 H (E + H) in kernels, and biases; of the readout K (H + 1)."""
    sizes = Sizes(100, 50, 32, 8)
    one, both = (model.sized_layer(each, "gru", 48, sizes) for each in (direction, "bidirectional"))
    counts = [model.count_params(layer, sizes) for layer in (one, both)]
    assert abs(counts[0] / counts[1] - 1) < 0.015

    def expected(units: int, cells: int) -> int:
        kernels = 3 * units * (32 + units)
        biases = jax.eval_shape(lambda: one.cell.init(jax.random.key(0), 32))
        a_unit = sum(leaf.size for leaf in jax.tree.leaves(biases) if leaf.ndim == 1) / width
        return int(101 * 32 + 51 * 32 + cells * (kernels + a_unit * units) + 8 * (cells * units + 1))

    width = jax.eval_shape(lambda: model.init(one, sizes, jax.random.key(0))).readout["params"]["kernel"].shape[0]
    assert counts == [expected(width, 1), expected(48, 2)]
    assert abs(expected(width, 1) - counts[1]) <= min(abs(expected(w, 1) - counts[1]) for w in (width - 1, width + 1))


@pytest.mark.parametrize(("direction", "blind"), [("forward", RIGHT), ("backward", LEFT)])
def test_whatever_its_weights_one_direction_is_right_by_chance_at_most_where_it_does_not_see(
    direction: str, blind: str
) -> None:
    cases = [case for case in grammar.to_test_on(2) if case.side == blind]
    lexicon = lexicon_of([case.sentence for case in cases], grammar.TAGS, 3)
    layer, batch = model.make_layer(direction, "gru", 4), batch_of(lexicon, [case.sentence for case in cases])
    sizes = Sizes(len(lexicon.words), len(lexicon.affixes), 4, len(grammar.TAGS))
    answer = jax.jit(lambda network: model.logits(layer, network, model.embed(network, batch), batch.mask))
    names, nouns = (grammar.TAGS.index(tag) for tag in (grammar.NAME, grammar.NOUN))
    for seed in range(3):
        network = jax.tree.map(lambda leaf, seed=seed: leaf * (1 + seed), network_of(layer, sizes))
        found = np.asarray(answer(network))
        rights = []
        for column, case in enumerate(cases):
            said = grammar.NAME if found[case.place, column, names] > found[case.place, column, nouns] else grammar.NOUN
            rights.append(said == case.sentence.tags[case.place])
        assert np.mean(rights) <= grammar.chance_level() + 1e-12


@pytest.mark.slow
def test_gradients_by_distance_are_geometric_means_of_differences_of_the_log_odds(x64: None) -> None:
    layer = model.make_layer("bidirectional", "elman", 4)
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network_of(layer))
    batch, places = batch_of(LEXICON, SENTENCES), np.array([1, 3, 0])
    found = jax.jit(lambda network: decisions.flow(layer, network, batch, jnp.asarray(places), 2))(network)
    assert found.sentences.tolist() == [1, 2, 3, 2, 0]
    inputs = model.embed(network, batch)

    @jax.jit
    def log_odds(inputs: Any) -> Any:
        """By probabilities: ln p / (1 - p) of the likeliest tag."""
        answers = model.logits(layer, network, inputs, batch.mask)[places, jnp.arange(3)]
        most = jax.nn.softmax(answers, axis=-1).max(axis=-1)
        return jnp.log(most / (1 - most))

    norms: dict[int, list[float]] = defaultdict(list)
    for column, place in enumerate(places):
        for t in range(len(SENTENCES[column].words)):
            parts = []
            for number in range(3):
                change = jnp.zeros_like(inputs).at[t, column, number].set(1e-6)
                parts.append((log_odds(inputs + change) - log_odds(inputs - change))[column] / 2e-6)
            norms[t - int(place)].append(float(np.linalg.norm(parts)))
    for lag in (-2, -1, 0, 1):
        np.testing.assert_allclose(found.inputs[2 + lag], np.exp(np.mean(np.log(norms[lag]))), rtol=1e-5)
    assert found.inputs[4] == 0
    assert (np.asarray(found.states["forward"][3:]) == 0).all()
    assert (np.asarray(found.states["backward"][:2]) == 0).all()
    assert (np.asarray(found.states["forward"][:3]) > 0).all()


# Scores


def test_precision_recall_and_f1_are_those_counted_by_hand() -> None:
    true_tags, said = np.array(list("aaabbc")), np.array(list("aabbba"))
    found = {row["tag"]: row for row in scores.by_tag(true_tags, said, ("a", "b", "c", "d"))}
    assert set(found) == {"a", "b", "c"}
    np.testing.assert_allclose([found["a"][name] for name in ("precision", "recall", "f1")], [2 / 3] * 3)
    np.testing.assert_allclose([found["b"][name] for name in ("precision", "recall", "f1")], [2 / 3, 1, 0.8])
    assert [found["c"][name] for name in ("precision", "recall", "f1", "support")] == [0, 0, 0, 1]


def test_a_counted_tag_is_the_most_frequent_one_and_of_other_words_that_of_most_words() -> None:
    counted = scores.counted(SENTENCES)
    assert counted.of_words["bears"] == "NOUN"
    assert counted.of_others == "VERB"  # as of sat, wept and do
    assert scores.said_by_counting(counted, [TaggedSentence(("bears", "fly"), ("", ""))]) == [("NOUN", "VERB")]


def test_known_unknown_and_ambiguous_words_are_told_apart() -> None:
    train = [TaggedSentence(("a", "b", "a"), ("X", "Y", "Y"))]
    test = [TaggedSentence(("a", "b"), ("X", "Y")), TaggedSentence(("c",), ("Y",))]
    data = Data(train, test, (), ("X", "Y"), "made")
    first, *by_tag = scores.records(data, [("X", "X"), ("Y",)])
    assert [first[f"right_{name}"] for name in findings.WORDS] == [2 / 3, 0.5, 1, 1]
    assert [first[f"words_{name}"] for name in findings.WORDS] == [3, 2, 1, 1]
    assert first["confusion"].tolist() == [[1, 0], [1, 1]]
    assert [row["kind"] for row in by_tag] == ["tag", "tag"]


def test_counting_is_right_by_chance_about_the_grammars_words_on_both_sides() -> None:
    cases = grammar.to_test_on(2)
    said = scores.said_by_counting(scores.counted(grammar.to_train_on(3000, 2)), [case.sentence for case in cases])
    rows = list(scores.by_distance(cases, said))
    assert {(row["side"], row["distance"], row["deciding"]) for row in rows} == set(
        itertools.product((RIGHT, LEFT), (1, 2), (SEEN, HELD_OUT))
    )
    for row in rows:
        np.testing.assert_allclose([row["right"], row["chance"]], grammar.chance_level())


# A run


def test_a_run_leaves_records_figures_and_a_summary(finished: Path) -> None:
    check_drawn(finished, [make.__name__ for make in report.FIGURES])
    summary = (finished / "summary.md").read_text()
    assert "Generated grammar: 1,000 sentences" in summary
    assert "Teddy Roosevelt was a great president" in summary
    assert "NaN" not in (finished / "metrics.jsonl").read_text()
    records = records_in(finished)
    assert max(record["change"] for record in records if record["kind"] == "padding") < 1e-4
    for record in records:
        if record["kind"] == "result":
            counts = np.array(record["confusion"])
            np.testing.assert_allclose(record["right_all"], np.trace(counts) / counts.sum())
            assert record["right_all"] > 0.6


def test_no_run_is_right_more_often_than_by_chance_where_it_does_not_see(finished: Path) -> None:
    rows = [record for record in records_in(finished) if record["kind"] == "distance"]
    blind = {"forward": [RIGHT], "backward": [LEFT], "most_frequent": [RIGHT, LEFT]}
    for row in rows:
        if row["side"] in blind.get(row["network"], []):
            assert row["right"] <= grammar.chance_level() + 1e-9


def test_what_is_typed_is_tagged_as_the_test_sentences_were_and_unknown_words_are_told(finished: Path) -> None:
    known = load(finished / "checkpoints" / "bidirectional-seed0" / "last")
    lines, unknown = tagged(known, ["Teddy bears were on sale\n", "", "teddy!"])
    assert [part.partition("/")[0] for part in lines[0].split("  ")] == ["Teddy", "bears", "were*", "on", "sale"]
    assert lines[1] == ""
    assert unknown == ["were", "!"]
    told = [part.partition("/")[2] for part in lines[0].split("  ")]
    for each, row in zip(told, probabilities(known, ["teddy", "bears", "were", "on", "sale"]), strict=True):
        assert each == f"{known.lexicon.tags[row.argmax()]} {100 * row.max():.1f} %"
    records = [record for record in records_in(finished) if record["kind"] == "lecture"]
    told_of = {(record["run"], record["sentence"]): record["name"] for record in records}
    name = probabilities(known, ["teddy", "bears", "are", "on", "sale"])[0, 0]
    np.testing.assert_allclose(told_of["bidirectional-seed0", "Teddy bears are on sale"], name, rtol=1e-5)


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    flags = [*QUICK, f"--workdir={tmp_path / 'run'}", "--config.networks=forward", "--config.seeds=1"]
    call = {"module": "tagging", "flags": flags, "drawn": False}
    killed, done = answered([call | {"fault": "killed", "at": ("experiments.common.checkpoint", "save", 2)}, call])
    assert killed[0] != 0
    assert done[0] == 0, done[1]
    assert records_in(tmp_path / "run") == [each for each in records_in(finished) if each["run"] == "forward-seed0"]


def test_wrong_commands_are_answered_in_a_line(finished: Path, tmp_path: Path) -> None:
    given = f"--workdir={finished}"
    calls = {
        ("tagging.tag", f"--workdir={tmp_path}", "--sentence=a"): "has no trained network: give the folder of a run of",
        ("tagging.tag", given, "--run=forwards", "--sentence=a"): "--run=forwards is not in",
        ("tagging.tag", given, "--file=nowhere.txt"): "--file=nowhere.txt cannot be read",
        ("tagging.tag", given): "there is no word: give --sentence",
        ("tagging", "--config.networks=sideways"): "unknown network 'sideways'",
    }
    found = answered([{"module": module, "flags": list(flags)} for module, *flags in calls])
    for (status, printed), message in zip(found, calls.values(), strict=True):
        assert status == 1
        assert message in printed
        assert len(printed.strip().splitlines()) <= 2


# The report


def known(rights: dict[str, list[float]], *, cases: bool = True) -> list[dict[str, Any]]:
    """Runs of which so many words are right, by network and seed; of the grammar, half of what a direction sees."""
    records = []
    for network, of_seeds in rights.items():
        for seed, right in enumerate(of_seeds):
            identity = {"run": f"{network}-{seed}", "network": network, "seed": seed}
            counts = {"words_all": 100, "words_known": 90, "words_unknown": 10, "words_ambiguous": 20}
            parts = {"right_all": right, "right_known": right, "right_unknown": 0.25, "right_ambiguous": right}
            about = {"source": "made", "tags": "A,B,C", "trained_on": 9, "trained_words": 80, "tested_on": 12}
            kinds: list[dict[str, Any]] = [
                {"kind": "network", "params": 1234, "hidden_size": 5},
                *({"kind": "evaluation", "step": step, "loss": 1.0, "error": 1 - right} for step in (0, 10)),
                {"kind": "result", **about, **parts, **counts, "confusion": [[50, 5, 0], [2, 43, 0], [0, 0, 0]]},
                *(
                    {"kind": "tag", "tag": tag, "precision": right, "recall": 0.5, "f1": f1, "support": support}
                    for tag, f1, support in (("A", right, 55), ("B", 0.5, 45))
                ),
                *(
                    {
                        "kind": "distance",
                        "side": side,
                        "distance": distance,
                        "deciding": SEEN,
                        "right": 0.6 if {"forward": RIGHT, "backward": LEFT}.get(network) == side else right,
                        "sentences": 10,
                        "chance": 0.6,
                    }
                    for side, distance in itertools.product((RIGHT, LEFT), (1, 2))
                    if cases
                ),
                *(
                    {
                        "kind": "flow",
                        "phase": phase,
                        "side": RIGHT if cases else "middle",
                        "inputs": [0.0, 1.0, 0.01],
                        "sentences": [9, 9, 9],
                        "states_backward": [0.0, 3.0, 0.1],
                        **({"states_forward": [0.2, 4.0, 0.0]} if network == "bidirectional" else {}),
                    }
                    for phase in ("initialization", "trained")
                    if network != "most_frequent"
                ),
                {"kind": "padding", "change": 1e-6},
            ]
            records += [{**identity, **each} for each in kinds]
    return records


KNOWN = {"most_frequent": [0.75], "forward": [0.8, 0.85], "bidirectional": [0.95, 0.9]}


def test_table_and_verdict_of_known_runs() -> None:
    records = known(KNOWN)
    rows = [[entry.strip() for entry in line.strip("|").split("|")] for line in findings.table(records).splitlines()]
    assert rows[4][:5] == ["bidirectional", "5", "1,234", "92.5 % (90.0 to 95.0)", "92.5 % (90.0 to 95.0)"]
    assert rows[3][-1] == "66.3 % (65.0 to 67.5)"
    verdict = findings.verdict(records)
    assert verdict.startswith("bidirectional is best: it tags 92.5 % (90.0 to 95.0) of all words right. ")
    assert (
        "That a network which reads forward cannot know what is decided to the right is confirmed: at every distance "
        "it tags 60.0 % of these words right, and 60.0 % is the best that can be done without the word that decides"
    ) in verdict
    assert (
        "decided to the left, up to 2 words away, forward tags 80.0 to 85.0 % if by words seen in training right"
        in verdict
    )
    of_corpus = findings.verdict(known(KNOWN, cases=False))
    assert "That both directions are better than forward is confirmed: +10.00 points" in of_corpus
    undecided = findings.verdict(known({"forward": [0.8, 0.92], "bidirectional": [0.95, 0.9]}, cases=False))
    assert "undecided: +6.50 points (90.00 to 95.00 % of all words right against 80.00 to 92.00 %)" in undecided


@pytest.mark.slow
def test_figures_say_and_show_what_the_records_have(tmp_path: Path) -> None:
    records = known(KNOWN)
    figure = report.accuracy_by_distance(records)
    assert figure is not None
    title = figure.get_suptitle().replace("\n", " ")
    assert title == (
        "forward tags 60.0 % of the words right that are decided to the right, bidirectional 90.0 to 95.0 % of those "
        "decided on either side; chance "
        "is 60.0 %"
    )
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), [60, 60])
    assert findings.matrix(records)[0] == ["A", "B"]
    assert (
        findings.confused(records)
        == "bidirectional most often takes A for B (10 of 110 times), B for A (4 of 90 times)"
    )
    states = report.flows(records)
    np.testing.assert_allclose(states["states"].iloc[-1], [0.2, 5.0, 0.1])
    figure = report.input_gradient_by_distance(records)
    assert figure is not None
    title = figure.get_suptitle().replace("\n", " ")
    assert "$10^{-2.0}$ ($10^{-2.0}$) to the right in bidirectional; where" in title
    assert all(path.exists() for path in laid_out(report.FIGURES, records, tmp_path))
    assert "By tag" in report.summary(records)
    assert "Teddy" not in report.summary(known(KNOWN, cases=False))
    assert report.accuracy_by_distance(known(KNOWN, cases=False)) is None


@pytest.mark.parametrize("variant", ["default", *(variant.__name__ for variant in settings.VARIANTS)])
def test_the_plan_of_every_variant_has_each_network_once_a_seed_and_counting_once(variant: str) -> None:
    config = settings.get_config(variant)
    runs = plan(config)
    assert len({run.name for run in runs}) == len(runs) == 3 * config.seeds + 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data", "grammer", "unknown data 'grammer'"),
        ("networks", "forward,sideways", "unknown network 'sideways'"),
        ("cell", "gruu", "unknown cell 'gruu': did you mean 'gru'"),
        ("output_dropout", 1.0, "--config.output_dropout is 1"),
        ("word_dropout", -0.1, "--config.word_dropout is -0.1"),
        ("evaluate_every", 75, "--config.evaluate_every is 75: expected a multiple of --config.steps_a_call"),
        ("distances", 0, "--config.distances is 0: expected at least 1"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("default"), field, value, message)
