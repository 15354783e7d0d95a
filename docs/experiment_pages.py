"""Writes the gallery: a page for every experiment, made from its config file, with a figure of one of its runs.

python -m docs.experiment_pages RUN ...    copies the figures of these finished runs, each a folder, into the gallery
"""

import ast
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from experiments.common import catalogue

PICTURES = Path(__file__).parent / "figures" / "experiments"
WIDEST = 1400  # pixels of a picture


class Picture(NamedTuple):
    """The figure that stands for an experiment: the name of its file, and a description for those who cannot see it."""

    figure: str
    shows: str


SHOWN = {
    "arithmetic": Picture("right_by_length", "Share of right answers against the length of the numbers, by network."),
    "captioning": Picture("captions", "Scenes of coloured shapes with the captions that three networks give them."),
    "classification": Picture("share_right", "Test accuracy by what is read of the states, with each seed."),
    "deep_mlp": Picture("at_initialization", "Gradient norm by layer for six activations and five initializations."),
    "feedback": Picture("own_prefix", "Divergence from the source against the length of a prefix, by regime."),
    "forecasting": Picture("skill", "Skill over smart persistence against the horizon, by model."),
    "forward_memory": Picture("recall_by_lag", "How well an input is recalled, against lag, by network."),
    "gradient_flow": Picture("norm_by_lag", "Gradient norm against lag for five networks at initialization."),
    "language": Picture("loss_by_step", "Loss on training and held-out text against training steps."),
    "long_memory": Picture("solved_by_lag", "Which cells solve which tasks, against lag."),
    "min_char": Picture("loss_by_iteration", "Smoothed loss against iterations."),
    "music": Picture("pieces", "Piano rolls of pieces that the networks composed."),
    "remedies": Picture("loss_by_step", "Loss against training steps, by remedy and length of the sequences."),
    "speech": Picture("labelled", "Spectrograms of an utterance, with its true phonemes and those found."),
    "tagging": Picture("accuracy_by_distance", "Share of right tags against the distance of the word that decides."),
    "tracking": Picture("error_by_delay", "Error above the least possible against delay, by network."),
    "translation": Picture(
        "right_by_length", "Share of right translations against the length of the source, by network."
    ),
    "word_vectors": Picture("map_of_words", "Map of the words that the network has projected."),
    "zoo": Picture("solved", "Which cells solve which tasks with every seed, in how many training steps."),
}


def write(folder: Path) -> None:
    """Writes a page for each experiment, and the gallery, which shows all of them."""
    folder.mkdir(exist_ok=True)
    found = catalogue.experiments()
    for experiment in found:
        _write_if_changed(folder / f"{experiment.name}.md", page(experiment))
    _write_if_changed(folder / "index.md", gallery(found))


def gallery(found: list[catalogue.Experiment]) -> str:
    """The page with the question, figure, command and run time of every experiment."""
    parts = [
        "# Gallery of experiments",
        "Each experiment asks a question. Click on a question to see what was found.",
    ]
    for experiment in found:
        time = f"`{experiment.command}` takes {experiment.run_time}"
        parts += [f"## [{experiment.question}]({experiment.name}.md)", _picture(experiment.name), time]
    names = "\n".join(experiment.name for experiment in found)
    parts.append(f"```{{toctree}}\n:hidden:\n\n{names}\n```")
    return "\n\n".join(parts) + "\n"


def page(experiment: catalogue.Experiment) -> str:
    """The page of an experiment, from its config file: question, commands, what to expect, variants, settings."""
    source = catalogue.config_path(experiment.name).read_text(encoding="utf-8")
    scope: dict[str, Any] = {}
    exec(compile(source, experiment.name, "exec"), scope)
    words = ast.get_docstring(ast.parse(source)) or ""
    _, _, rest = words.partition("\n\n")
    parts = [f"# {experiment.name}", f"**{experiment.question}**", _picture(experiment.name), _markdown(rest)]
    parts += ["## Variants", _variants(scope["VARIANTS"]), "## Settings", _settings(source, scope["get_config"])]
    return "\n\n".join(parts) + "\n"


def take(runs: list[Path]) -> None:
    """Copies the figure that stands for each experiment from these runs, in few colours so that it stays small."""
    PICTURES.mkdir(exist_ok=True)
    for run in runs:
        command = json.loads((run / "config.json").read_text(encoding="utf-8"))["command"]
        name = re.search(r"experiments\.(\w+)", command)[1]  # type: ignore[index]
        with Image.open(run / "figures" / f"{SHOWN[name].figure}.png") as figure:
            figure.thumbnail((WIDEST, 10 * WIDEST))
            reduced = figure.convert("RGB").quantize(64, dither=Image.Dither.NONE)
            reduced.save(PICTURES / f"{name}.png", optimize=True)


def _picture(name: str) -> str:
    shown = SHOWN[name]
    return f"![{shown.shows}](../figures/experiments/{name}.png)"


def _markdown(words: str) -> str:
    """A docstring as Markdown; it has code in double backticks, indented blocks, and items that begin with a star."""
    return "\n\n".join(map(_paragraph, re.split(r"\n\n+|\n(?=\* )", words)))


def _paragraph(text: str) -> str:
    return text if text.startswith("    ") else _plain(text)


def _variants(variants: list[Callable[..., None]]) -> str:
    told = [(variant.__name__, (variant.__doc__ or "").partition(". ")) for variant in variants]
    return "\n".join(f"* `--variant={name}` ({time}): {_plain(what)}" for name, (time, _, what) in told)


def _settings(source: str, get_config: Callable[[], dict[str, object]]) -> str:
    comments = catalogue.field_comments(source)
    fields = get_config().items()
    return "\n".join(f"* `--config.{name}={value}`: {_plain(comments.get(name, ''))}" for name, value in fields)


def _plain(text: str) -> str:
    """The text in one line, escaped so that only code and the star of an item are markup."""
    escaped = re.sub(r"([<_|$]|(?<!^)\*)", r"\\\1", " ".join(text.split()).replace("``", "`"))
    return re.sub(r"`[^`]*`", lambda code: code.group().replace("\\", ""), escaped)


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    take([Path(name) for name in sys.argv[1:]])
