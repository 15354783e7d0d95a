"""The words on a page for what was recorded: where they come from, and that they are sentences of known kinds."""

import tomllib
from pathlib import Path

import pytest

from experiments.common import catalogue
from experiments.common.record_fields import Explained, explained

FILES = sorted(catalogue.ROOT.glob("*/records.toml"))


def test_every_experiment_has_words_for_its_records() -> None:
    assert {path.parent.name for path in FILES} == {"common", *(each.name for each in catalogue.experiments())}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_words_are_whole_and_nothing_is_said_twice(path: Path) -> None:
    common = tomllib.loads((catalogue.ROOT / "common" / "records.toml").read_text(encoding="utf-8"))
    for kind, fields in tomllib.loads(path.read_text(encoding="utf-8")).items():
        for field, words in fields.items():
            assert words[0].isupper() or words.startswith("ln"), (kind, field)
            assert words.endswith((".", "...")), (kind, field)
            if path.parent.name != "common":
                assert words != common.get(kind, {}).get(field), (kind, field)


def test_fields_of_all_kinds_are_told_once_and_the_words_of_an_experiment_go_before_those_of_all() -> None:
    records = [
        {"run": "a", "seed": 0, "kind": "train", "step": 1, "loss": 2.0},
        {"run": "a", "seed": 0, "kind": "train", "step": 2, "loss": 1.0},
        {"run": "a", "seed": 0, "kind": "state_gradient", "step": 2, "norms": [1.0], "mystery": 1},
    ]
    found = explained(records, "min_char")
    assert [each.field for each in found if each.kind == "any"] == ["run", "seed", "step"]
    words = {(each.kind, each.field): each for each in found}
    assert words["train", ""] == Explained("train", "", words["train", ""].words, 2)
    assert "window" in words["train", "loss"].words
    assert "dL/dh_t" in words["state_gradient", "norms"].words
    assert words["state_gradient", "mystery"].words == ""
    assert ("train", "step") not in words


def test_records_of_an_unknown_experiment_have_the_words_that_all_have() -> None:
    found = explained([{"run": "a", "kind": "network", "params": 3}], "")
    assert [(each.kind, each.field) for each in found] == [("any", "run"), ("network", ""), ("network", "params")]
    assert all(each.words for each in found)
