"""What the captioning experiment says and draws of known records, also of those of a run that diverged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.captioning import findings, report, scenes
from experiments.captioning.data import HELD_OUT, SEEN
from experiments.captioning.grammar import KINDS_IN_A_ROW, seen_in, words_of
from experiments.captioning.model import ATTENTION, INITIAL_STATE, NO_PICTURE
from experiments.captioning.scenes import COMBINATIONS, Thing
from experiments.captioning.scores import OTHERS, UNSEEN
from tests.experiments.undrawn import laid_out

STEPS = len(KINDS_IN_A_ROW)
SCENES = {part: scenes.scenes(2, 5, 1, one_unseen=part == HELD_OUT) for part in (SEEN, HELD_OUT)}


def known(rights: dict[str, list[float]], norm: float | None = 1.0) -> list[dict[str, Any]]:
    """Runs of which so many captions are right, by way and seed; gradients halve with each step back."""
    records = []
    for way, of_seeds in rights.items():
        for seed, right in enumerate(of_seeds):
            identity = {"run": f"{way}-{seed}", "way": way, "seed": seed}
            records += [{**identity, **each} for each in of_run(way, seed, right, norm)]
    return records


def of_run(way: str, seed: int, right: float, norm: float | None) -> list[dict[str, Any]]:
    about = {"params": 1234, "cnn_params": 500, "cnn": "trained", "cell": "gru", "hidden_size": 5}
    sizes = {"train_scenes": 90, "train_steps": 10, "batch_size": 4}
    shares = {"exact_1": 1.0, "exact_2": right, "exact_3": right, "bleu": 100 * right, "signature": "tok:13a"}
    back = np.subtract.outer(np.arange(STEPS), np.arange(STEPS))
    states = np.where(back >= 0, 2.0 ** -back.clip(0), 0)
    seen = np.zeros((STEPS, STEPS + 1))
    if way == INITIAL_STATE:
        seen[:, 0] = 1
    else:
        seen[:, 1:] = states
    counts = np.zeros((25, 26), int)
    np.fill_diagonal(counts, 4)
    counts[0, :] = [1, 0, 3, *[0] * 23]
    flow = {"states": states.tolist(), "picture": [norm] * STEPS, "seen": seen.tolist()}
    examples = [
        {
            "kind": "example",
            "part": part,
            "scene": scenes.recorded(scene),
            "said": true if right > 0.8 else "a",
            "true": true,
            "looked": np.full((len(true.split()) + 1, 25), 0.04).tolist() if way == ATTENTION else None,
        }
        for part, found in SCENES.items()
        for scene in found
        for true in [" ".join(words_of(seen_in(scene))[:-1])]
    ]
    return [
        {"kind": "network", **about, **sizes},
        *({"kind": "evaluation", "step": step, "loss": norm, "loss_held_out": 2.0} for step in (0, 10)),
        *({"kind": "flow", "phase": phase, **flow} for phase in ("initialization", "trained") if way != NO_PICTURE),
        *(
            {
                "kind": "result",
                "part": part,
                "beams": beams,
                "scenes": 50,
                "exact": share - (beams == 1) / 100,
                **shares,
            }
            for part, share in ((SEEN, right), (HELD_OUT, right / 2))
            for beams in (1, 4)
        ),
        *(
            {"kind": "words", "group": group, "word": word, "right": right, "words": 9}
            for group in (SEEN, OTHERS, UNSEEN)
            for word in Thing._fields
        ),
        {"kind": "words", "group": SEEN, "word": "number", "right": 1.0, "words": 9},
        {"kind": "combinations", "held_out": 5, "counts": counts.tolist()},
        *(examples if seed == 0 else ()),
    ]


KNOWN = {INITIAL_STATE: [0.6, 0.7], ATTENTION: [0.95, 0.9], NO_PICTURE: [0.0, 0.0]}


def test_table_and_verdict_of_known_runs() -> None:
    records = known(KNOWN)
    rows = [[entry.strip() for entry in line.strip("|").split("|")] for line in findings.table(records).splitlines()]
    assert rows[3] == [
        *("attention", "1,234", "92.5 % (90.0 to 95.0)", "46.2 % (45.0 to 47.5)"),
        *("92.5 (90.0 to 95.0)", "92.5 (90.0 to 95.0)"),
    ]
    told = findings.verdict(records)
    assert told.startswith(
        "attention is best: it captions 92.5 % (90.0 to 95.0) of the scenes with seen combinations right, and 46.2 %"
    )
    assert (
        "That attention captions more scenes right than initial_state is confirmed: the difference is +27.5 points "
        "(90.0 to 95.0 % against 60.0 to 70.0 %)"
    ) in told
    assert "no_picture" not in told
    assert "attention size 92.5 % (90.0 to 95.0), colour 92.5 %" in told
    undecided = findings.verdict(known({INITIAL_STATE: [0.6, 0.93], ATTENTION: [0.95, 0.9]}))
    assert "more scenes right than initial_state is undecided: the difference is +16.0 points" in undecided
    assert "with 4 beams changes the share of captions right by +1.0 points" in findings.greedy(records)
    name = " ".join(COMBINATIONS[0])
    assert findings.failing(records) == (
        f"attention fails most often at a {name} (25 % of 8 are right, 6 are called a {' '.join(COMBINATIONS[2])})"
    )
    assert "1 object, seen combinations" in findings.by_number(records)


def test_what_is_said_of_gradients_is_what_the_records_have() -> None:
    records = known(KNOWN)
    last = STEPS - 2  # the third shape, so many steps after the first word
    told = f"attention {2.0**-last:.2g} before training and {2.0**-last:.2g} after training"
    assert f"at the state of the first word, {last} steps back" in findings.carried(records)
    assert told in findings.carried(records)
    assert findings.entering(records).endswith("initial_state 0 %, attention 94 %")  # 1 - 1/2^4
    figure = report.gradient_at_first_state(records)
    assert figure is not None
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), -np.log10(2) * np.arange(STEPS), atol=1e-6)
    of_picture = report.gradient_at_picture(records)
    assert of_picture is not None
    assert "attention 1.0" in of_picture.get_suptitle()


@pytest.mark.slow
def test_all_figures_are_drawn_and_the_map_has_the_shares_of_all_seeds(tmp_path: Path) -> None:
    records = known(KNOWN)
    assert len(laid_out(report.FIGURES, records, tmp_path)) == len(report.FIGURES)
    shares = findings.shares(records, ATTENTION)
    row, column = findings.places()[0]
    assert shares[row, column] == 0.25
    assert shares.sum() == 24.25
    assert "Where the gradient goes" in report.summary(records)


def test_a_run_that_diverged_is_told_as_far_as_it_can_be(tmp_path: Path) -> None:
    records = known(KNOWN, norm=None)
    assert "attention is best" in report.summary(records)
    of_numbers = (report.gradient_at_picture, report.loss_by_step, report.captions_right)
    laid_out(of_numbers, records, tmp_path)
    assert (tmp_path / "captions_right.png").exists()


def test_without_pictures_there_is_no_gradient_to_speak_of(tmp_path: Path) -> None:
    records = known({NO_PICTURE: [0.0, 0.1]})
    assert findings.carried(records) == findings.entering(records) == ""
    assert "Where the gradient goes" not in report.summary(records)
    assert report.gradient_at_picture(records) is None
    laid_out(report.FIGURES, records, tmp_path)
