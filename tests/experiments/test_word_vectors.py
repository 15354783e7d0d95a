"""The word_vectors experiment: networks that predict the next word, by loops; kinds of words; the run."""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.errors import ExperimentError
from experiments.word_vectors import config as settings
from experiments.word_vectors import main as word_vectors
from experiments.word_vectors import predictor, report, similarity
from experiments.word_vectors.main import plan
from rnnjax.data import vocabulary_of
from tests.answers import answered, completed
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn, check_page, quick_run
from tests.experiments.undrawn import laid_out
from tests.test_errors import check_refused

ROOT = Path(__file__).parents[2]
V, E, H = 7, 3, 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    pytest.importorskip("sklearn", reason="not installed: rnnjax[word_vectors]")
    return quick_run(tmp_path_factory, "word_vectors")


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "word_vectors")


def config_of(**fields: Any) -> Any:
    config = settings.get_config("quick")
    for field, value in fields.items():
        config[field] = value
    return config


# Predicting the next word


@pytest.mark.parametrize("model", ["tdnn:3", "direct:3"])
def test_the_tdnn_is_projected_words_side_by_side_a_tanh_layer_and_a_softmax(model: str) -> None:
    config = config_of(projection_size=E, hidden_size=H)
    cell = predictor.make_cell(model, config, V)
    network = predictor.init(cell, V, E, jax.random.key(0))
    words = np.random.default_rng(0).integers(0, V, (9, 2))

    @jax.jit
    def found_in_two_parts(network: predictor.Network) -> Any:
        state, found = cell.initial_state(network.layers, (2,)), []
        for part in (slice(0, 4), slice(4, 8)):  # the window reaches back into the part before
            after = slice(part.start + 1, part.stop + 1)
            state, losses = predictor.losses(cell, network, words[part], words[after], state)
            found.append(losses)
        return jnp.concatenate(found)

    found = found_in_two_parts(network)
    projection = np.asarray(network.projection, np.float64)
    hidden, readout = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), network.layers)
    for column in range(2):
        for place in range(8):
            window = [projection[words[place - back, column]] if back <= place else np.zeros(E) for back in range(3)]
            if model == "tdnn:3":
                kernels = hidden.kernel.reshape(E, 3, H)
                outputs = np.tanh(sum(x @ kernels[:, back] for back, x in enumerate(window)) + hidden.bias)
            else:
                layer = hidden[1]
                inner = np.tanh(np.concatenate(window) @ layer.kernel + layer.bias)
                outputs = np.concatenate([*window, inner])
            logits = outputs @ readout.kernel + readout.bias
            expected = np.log(np.exp(logits).sum()) - logits[words[place + 1, column]]
            np.testing.assert_allclose(found[place, column], expected, rtol=2e-5)


def test_a_held_out_text_is_read_once_from_the_beginning_on() -> None:
    cell = predictor.make_cell("elman", config_of(hidden_size=H), V)
    network = predictor.init(cell, V, E, jax.random.key(0))
    text = np.random.default_rng(1).integers(0, V, predictor.CHUNK + 40).astype(np.int32)
    found = jax.jit(functools.partial(predictor.held_out_loss, cell))(network, predictor.held_out(text))
    start = cell.initial_state(network.layers, ())
    whole = jax.jit(functools.partial(predictor.losses, cell))
    _, expected = whole(network, text[:-1], text[1:], start)
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-5)


# The run


def test_a_run_leaves_records_figures_and_a_summary(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    check_drawn(workdir, [make.__name__ for make in report.FIGURES])
    summary = (workdir / "summary.md").read_text()
    assert "docstrings and pydoc topics of the Python 3" in summary
    assert "That distances become meaningful" in printed or "It is not shown for" in printed
    assert "The best held-out perplexity of each kind of model is" in printed
    assert "NaN" not in (workdir / "metrics.jsonl").read_text()


def test_trained_models_learn_and_untrained_ones_stand_at_chance(finished: tuple[Path, str]) -> None:
    records = records_in(finished[0])
    one_hot = next(each for each in records if each["kind"] == "similarity" and each["model"] == "one-hot")
    assert np.mean(one_hot["hits"]) == pytest.approx(one_hot["chance"])
    evaluations = [each for each in records if each["kind"] == "evaluation"]
    for name in {each["run"] for each in evaluations} - {"n-gram-1-seed0", "n-gram-2-seed0"}:
        losses = [each["loss_report"] for each in evaluations if each["run"] == name]
        assert len(losses) == (4 if name.startswith(("cbow", "skip_gram")) else 3)  # before, and after each epoch
        assert losses[-1] < losses[0]


def test_nearest_words_are_those_of_the_checkpoint(finished: tuple[Path, str]) -> None:
    workdir = finished[0]
    flags = ["--word=the", "--count=3", "--run=cbow-seed1"]
    done = completed("word_vectors.nearest", f"--workdir={workdir}", *flags)
    assert done.returncode == 0, done.stderr
    known = word_vectors.load(workdir / "checkpoints" / "cbow-seed1")
    word = known.vocabulary.entries.index("the")
    found = similarity.neighbours(known.vectors, known.vectors[word], 3, {word})
    for each, cosine in found:
        assert f"{cosine:.3f}" in done.stdout
        assert repr(known.vocabulary.entries[each])[1:-1] in done.stdout


def test_what_cannot_be_asked_of_projected_words_is_a_line(finished: tuple[Path, str], tmp_path: Path) -> None:
    workdir = f"--workdir={finished[0]}"
    asked = {
        (workdir, "--word=thee"): "'thee' is not among the 300 words that were projected: did you mean '",
        (workdir,): "expected either words, as in --word=list, or an analogy",
        (workdir, "--word=the", "--analogy=a:b::c"): "expected either words",
        (workdir, "--analogy=a:b:c"): "expected A:B::C",
        (workdir, "--word=the", "--run=gru-seed0"): "--run=gru-seed0 is not in",
        (f"--workdir={tmp_path}", "--word=the"): "has no projected words: give the folder of a run",
    }
    answers = answered([{"module": "word_vectors.nearest", "flags": list(flags)} for flags in asked])
    for (status, printed), expected in zip(answers, asked.values(), strict=True):
        assert status == 1
        assert expected in printed
        assert len(printed.splitlines()) == 1


def known(hits: dict[str, list[list[float]]]) -> list[dict[str, Any]]:
    """Runs on four words of two kinds by whether the nearest is of the same kind."""
    records = []
    for model, seeds in hits.items():
        for seed, of_seed in enumerate(seeds):
            about = {"words": "int str json sys", "labels": [0, 0, 1, 1], "names": "types modules", "chance": 1 / 3}
            found = {"kind": "similarity", "hits": of_seed, "separation": 0.5, **about}
            records.append({"run": f"{model}-{seed}", "model": model, "seed": seed, **found})
    return records


def test_the_claim_is_confirmed_of_models_above_what_is_untrained_and_of_no_others() -> None:
    records = known(
        {
            "one-hot": [[1 / 3] * 4],
            "random": [[1, 0, 0, 0], [0, 0, 1, 1]],
            "cbow": [[1] * 4, [1] * 4],
            "gru": [[1, 0, 1, 0], [0, 1, 0, 1]],
        }
    )
    said = report.claim(records)
    assert "33.3% by chance, 38 % (25 to 50) if projected at random, 33 % if one-hot" in said
    assert (
        "for 1 of 2 models, most clearly for CBOW: the nearest word is of the same kind for 100 % of the words" in said
    )
    assert "It is not shown for gru." in said
    rows = [
        [entry.strip() for entry in line.strip("|").split("|")] for line in report.similarities(records).splitlines()
    ]
    assert rows[2] == ["CBOW", "100 %", "100 to 100 %", "0.50", "2"]
    assert rows[3][:2] == ["gru", "50 %"]
    figure = report.nearest_of_the_same_kind(records)
    assert figure
    drawn = {(float(x), float(y)) for line in figure.axes[0].lines for x, y in zip(*line.get_data(), strict=True)}
    assert {(100, 0), (50, 1), (25, 2), (37.5, 2)} <= drawn


def test_models_that_predict_nothing_can_be_drawn_alone(tmp_path: Path) -> None:
    records = known({"one-hot": [[1 / 3] * 4], "random": [[1, 0, 0, 0]]})
    assert [path.stem for path in laid_out(report.FIGURES, records, tmp_path)] == ["nearest_of_the_same_kind"]


def test_a_text_of_something_else_has_no_kinds_and_is_reported_without_them(tmp_path: Path) -> None:
    assert similarity.kinds_of(vocabulary_of("une pomme and deux poires", "words", reserve=True)).names == ()
    numbers = {"step": 0, "loss_choose": 1.0, "loss_report": 1.0}
    records = [
        {"run": "n-gram-1-seed0", "model": "n-gram:1", "seed": 0, **each}
        for each in ({"kind": "network", "params": 7}, {"kind": "evaluation", **numbers})
    ]
    assert [path.stem for path in laid_out(report.FIGURES, records, tmp_path)] == ["perplexity_by_window"]
    assert "is not known: the text lacks Python's names" in report.verdict(records)
    assert "Are words of one kind" not in report.summary(records, "pommes")


def test_without_scikit_learn_the_command_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExperimentError, match=r"pip install 'rnnjax\[word_vectors\]'"):
        word_vectors.main(settings.get_config("quick"), lambda: pytest.fail("a workdir was opened"))


@pytest.mark.parametrize("variant", ["default", *(variant.__name__ for variant in settings.VARIANTS)])
def test_the_plan_of_every_variant_has_each_run_once(variant: str) -> None:
    config = settings.get_config(variant)
    runs = plan(config)
    models = len(config.models.split(",")) + 1
    assert len({run.name for run in runs}) == len(runs) == models * config.seeds + config.ngrams + 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("models", "cbow:hierarchical", "unknown model 'cbow:hierarchical': did you mean"),
        ("models", "tdnn", "--config.models has tdnn: expected words of its window behind a colon, as in tdnn:4"),
        ("models", "tdnn:0", "--config.models has tdnn:0"),
        ("models", "gruu", "unknown cell 'gruu': did you mean 'gru'"),
        ("block_size", 100, "--config.block_size is 100: expected a divisor"),
        ("cbow_block_size", 100, "--config.cbow_block_size is 100: expected a divisor"),
        ("cbow_copies", 3, "--config.cbow_copies is 3: expected a divisor of the 320 blocks of 32 words in a dispatch"),
        ("cbow_copies", 0, "--config.cbow_copies is 0: expected at least 1"),
        ("cbow_shared_noise", 0, "--config.cbow_shared_noise is 0: expected at least 1"),
        ("subsampling", 2.0, "--config.subsampling is 2.0: expected a share"),
        ("cbow_rate", 0.0, "--config.cbow_rate is 0.0: expected a positive number"),
        ("checkpoint_every", 15, "--config.checkpoint_every is 15: expected a multiple of --config.steps_a_call"),
        ("window", 0, "--config.window is 0: expected at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("default"), field, value, message)
