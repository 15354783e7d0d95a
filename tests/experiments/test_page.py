"""The page of a run: everything in one file, and nothing that a text in it could do to it."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from experiments.common import page

SUMMARY = """# Who <wins>?

GRU, **0.5** of 3 seeds.

| cell | loss |
|------|------|
| a<b  | 1.5  |
| lstm | 10   |
"""


class Found(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " " if tag == "td" else ""

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def written(tmp_path: Path) -> tuple[str, Path]:
    """The page of a workdir with a figure, and the figure."""
    run = {
        "command": "python -m experiments.long_memory --variant=quick",
        "config": {"tasks": "<script>alert(1)</script>", "seeds": 2, "unheard": 1},
        "jax": "0.10",
    }
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot([0, 1])
    path = tmp_path / "loss_by_step.png"
    figure.savefig(path, dpi=100)
    plt.close(figure)
    records = [{"kind": "train", "run": "a"}] * 3 + [{"kind": "finished", "run": "a"}]
    return page.html(SUMMARY, [path], run, records), path


def test_it_shows_summary_figures_settings_command_and_kinds_of_records(written: tuple[str, Path]) -> None:
    found = Found()
    found.feed(written[0])
    text = " ".join(found.text.split())
    for words in (
        "Who <wins>? GRU, 0.5 of 3 seeds.",
        "cell loss a<b 1.5 lstm 10",
        "python -m experiments.long_memory --variant=quick",
        "seeds 2 independent initializations and data",  # as its config file says
        "unheard 1",
        "jax 0.10",
        "3 of kind train, 1 of kind finished",
    ):
        assert words in text, words
    ((_, image),) = [(tag, given) for tag, given in found.tags if tag == "img" and given.get("src")]
    data = str(image["src"])
    assert base64.b64decode(data.removeprefix("data:image/png;base64,")) == written[1].read_bytes()
    assert image["alt"] == "loss by step"
    assert (image["width"], image["height"]) == ("300", "200")


def test_it_needs_no_other_file_and_runs_no_text_of_the_config(written: tuple[str, Path]) -> None:
    found = Found()
    found.feed(written[0])
    assert [tag for tag, _ in found.tags].count("script") == 1  # its own
    assert "<script>alert(1)</script>" in found.text
    places = [given[name] for _, given in found.tags for name in ("src", "href") if given.get(name)]
    assert all(str(place).startswith("data:") for place in places)
    assert not re.search(r"@import|url\(|https?:", written[0])
