"""The page of a run: everything is in one file, and no text in it can break it or run as a script."""

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
        "cores": 2,
        "devices": ["TFRT_CPU_0"],
        "seconds": 83.4,
    }
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot([0, 1])
    path = tmp_path / "loss_by_step.png"
    figure.savefig(path, dpi=100)
    plt.close(figure)
    records = [{"kind": "result", "run": "a", "seed": seed, "error": 0.5} for seed in (2, 0)]
    records += [{"kind": "finished", "run": "a", "seed": 0}]
    return page.of_run(SUMMARY, [path], run, records), path


def test_it_shows_summary_figures_settings_command_circumstances_and_records(
    written: tuple[str, Path],
) -> None:
    found = Found()
    found.feed(written[0])
    text = " ".join(found.text.split())
    for words in (
        "Who <wins>? GRU, 0.5 of 3 seeds.",
        "cell loss a<b 1.5 lstm 10",
        "python -m experiments.long_memory --variant=quick",
        "seeds 2 independent initializations and data",  # as its config file says
        "unheard 1",
        "run time 1 min 23 s",
        "seeds 0, 2",
        "versions jax 0.10",
        "machine 2 cores, TFRT_CPU_0",
        "any run Name of the run that wrote the record.",
        "result 2 records How the run ended.",
        "result error Share of the test sequences",
        "finished 1 record The run is complete",
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


@pytest.mark.slow
def test_charts_stand_in_the_page_with_what_draws_them_and_no_name_in_them_ends_their_script() -> None:
    name = "</script><script>alert(1)</script><!--"
    records = [
        {"kind": "train", "run": run, "cell": run, "step": step, "loss": 1.0 / step}
        for run in (name, "b")
        for step in (1, 2)
    ]
    records += [{"kind": "finished", "run": run, "cell": run} for run in (name, "b")]
    run = {"command": "", "config": {}}
    written = page.of_run(SUMMARY, [], run, records)
    found = Found()
    found.feed(written)
    assert [tag for tag, _ in found.tags].count("script") == 4  # data, library, its call, the page's own
    assert "alert(1)" in written
    assert "vegaEmbed" in written
    assert page.of_run(SUMMARY, [], run, records) == written


@pytest.mark.parametrize(
    ("seconds", "words"), [(8.25, "8.2 s"), (59.99, "60.0 s"), (83.4, "1 min 23 s"), (7265.0, "2 h 1 min")]
)
def test_run_times_are_told_in_units_of_their_size(seconds: float, words: str) -> None:
    assert page._duration(seconds) == words
