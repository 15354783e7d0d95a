"""Lists the experiments and their settings, which are read from their config files without running them.

The docstring of a config.py begins with the question and has a paragraph that begins with "Run time: ". Each field is
set on a line of its own in ``get_config``; a comment on that line, or on the lines directly above it, explains the
field. ``VARIANTS`` are functions that change a config; the docstring of each says what it does.
"""

import ast
import io
import os
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
WIDTH = 120


class Experiment(NamedTuple):
    """An experiment, as the docstring of its config file describes it."""

    name: str
    question: str
    run_time: str

    @property
    def command(self) -> str:
        return f"python -m experiments.{self.name}"


def experiments() -> list[Experiment]:
    """All experiments, in the order of their names."""
    return [_described(path) for path in sorted(ROOT.glob("*/config.py"))]


def listing() -> str:
    """Every experiment with its question, command and run time."""
    entries = [
        f"{experiment.command}\n    {experiment.question}\n{_wrapped(f'Run time: {experiment.run_time}', 4)}"
        for experiment in experiments()
    ]
    return "\n\n".join(
        ["The experiments; --help after any of these commands prints its settings and variants.", *entries]
    )


def show(page: str) -> None:
    """Prints a page; ends without an error if it goes to a pipe whose reader stops reading."""
    try:
        print(page, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def config_path(name: str) -> Path:
    """The config file of an experiment."""
    return ROOT / name / "config.py"


def help_page(path: Path, defaults: dict[str, Any], variants: Iterable[Callable[..., None]], flags: str) -> str:
    """The page of ``--help``: question, run time, every field with its default and comment, variants and flags.

    Args:
        path: the config file.
        defaults: the fields of the config, with their values when no flag is given.
        variants: the variants of the config file.
        flags: the description of the flags, with a line for each.
    """
    described, comments = _described(path), field_comments(path.read_text(encoding="utf-8"))
    order = [*[name for name in comments if name in defaults], *[name for name in defaults if name not in comments]]
    fields = [(name, repr(defaults[name]), comments.get(name, "")) for name in order]
    wide = max(len(name) + len(value) for name, value, _ in fields if len(name) + len(value) < 44) + 5
    settings = [_entry(f"  {name} = {value}", comment, wide) for name, value, comment in fields]
    told = [(each.__name__, (each.__doc__ or "").strip().partition("\n")[0]) for each in variants]
    chosen = [_entry(f"  {name}", text, 2 + max(len(name) for name, _ in told) + 2) for name, text in told]
    parts = [
        described.question,
        f"{described.command} [--variant=NAME] [--config.FIELD=VALUE ...] [--workdir=FOLDER]",
        _wrapped(f"Run time: {described.run_time}", 0),
        "Settings with their defaults; --config.FIELD=VALUE changes one of them:\n" + "\n".join(settings),
        *(["Variants, which change settings; --variant=NAME chooses one:\n" + "\n".join(chosen)] if chosen else []),
        f"Flags:\n{flags}",
        f"The top of {_short(path)} says what to expect from a run.",
    ]
    return "\n\n".join(parts)


def field_comments(source: str) -> dict[str, str]:
    """The comment of each field of a config: the lines directly above the line that sets it, then that line's own."""
    comments: dict[str, str] = {}
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    lines = source.splitlines()
    beside = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    for statement in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assign)):
        target = statement.targets[0]
        if not (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)):
            continue
        first, last = statement.lineno, statement.end_lineno or statement.lineno
        above: list[str] = []
        while lines[first - 2 - len(above)].lstrip().startswith("#"):
            above.insert(0, beside[first - 1 - len(above)])
        within = [beside[number] for number in range(first, last + 1) if number in beside]
        comments.setdefault(target.attr, " ".join([*above, *within]))
    return comments


def _described(path: Path) -> Experiment:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    run_time = next((p.removeprefix("Run time: ") for p in paragraphs if p.startswith("Run time: ")), "not stated.")
    return Experiment(path.parent.name, paragraphs[0], run_time)


def _entry(left: str, text: str, wide: int) -> str:
    """A name and its description, in two columns."""
    if len(left) >= wide + 2:
        return f"{left}\n{_wrapped(text, wide + 4)}"
    return textwrap.fill(text, WIDTH, initial_indent=f"{left:{wide + 4}}", subsequent_indent=" " * (wide + 4)) or left


def _wrapped(text: str, indent: int) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT.parent)) if path.is_relative_to(ROOT.parent) else str(path)
