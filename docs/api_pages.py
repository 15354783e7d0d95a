"""Writes the pages of the API: every public name of rnnjax, by the module that defines it."""

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import rnnjax
from docs import equations

PAGES = {
    "cells": ("Cells", ("rnnjax.cell", "rnnjax.cells")),
    "combinators": ("Cells made of cells", ("rnnjax.combinators",)),
    "sequence": ("Over a sequence", ("rnnjax.sequence",)),
    "measure": ("Gradients and dynamics", ("rnnjax.measure",)),
    "initializers": ("Initializers", ("rnnjax.initializers",)),
    "plot": ("Figures", ("rnnjax.plot",)),
    "tasks": ("Tasks", ("rnnjax.tasks",)),
    "data": ("Text, images and sequences", ("rnnjax.data",)),
    "adapters": ("flax and PyTorch", ("rnnjax.adapters",)),
}
"""The title of each page, and the packages or modules whose names are on it."""

HEADS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")


def public_names() -> dict[str, list[str]]:
    """The public names that each module defines, each as it is imported."""
    found: dict[str, list[str]] = {}
    homes = dict.fromkeys(rnnjax.__all__, "rnnjax")
    for package in ("rnnjax.initializers", "rnnjax.plot", "rnnjax.tasks", "rnnjax.data", *_adapters()):
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", None) or _own(module):
            homes.setdefault(f"{package}.{name}".removeprefix("rnnjax."), "rnnjax")
    for name, home in homes.items():
        defined = _resolved(f"{home}.{name}")
        source = getattr(defined, "__module__", None) or ""
        if callable(defined) and source.startswith("rnnjax"):
            found.setdefault(source, []).append(f"{home}.{name}")
    return found


def write(folder: Path) -> None:
    """Writes a page for each of PAGES, and one that lists them."""
    folder.mkdir(exist_ok=True)
    by_module = public_names()
    for page, (title, packages) in PAGES.items():
        parts = [f"# {title}"]
        for module in sorted(by_module):
            if any(module == package or module.startswith(f"{package}.") for package in packages):
                parts += [_heading(sys.modules[module]), *(_entry(name) for name in by_module[module])]
        _write_if_changed(folder / f"{page}.md", "\n\n".join(parts) + "\n")
    toctree = "\n".join(["```{toctree}", ":maxdepth: 1", "", *PAGES, "```"])
    words = "# API\n\nEvery public name, by the package that it is from."
    _write_if_changed(folder / "index.md", f"{words}\n\n{toctree}\n")


def show_equations(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Sets each block of a docstring that is indented further than the text before it as equations, or else as code."""
    shown: list[str] = []
    section = False
    number = 0
    while number < len(lines):
        line = lines[number]
        depth = _depth(line)
        if line.strip() and depth == 0:
            section = line.strip() in HEADS
        begins = line.strip() and depth >= 4 and not section and shown and not shown[-1].strip()
        length = _length_of_block(lines[number:]) if begins and _depth_before(lines, number) == 0 else 0
        if length:
            block = lines[number : number + length]
            table = equations.rendered("\n".join(block))
            shown += [".. raw:: html", "", f"    {table}", ""] if table else ["::", "", *block]
        else:
            shown.append(line if depth >= 4 and not section else _with_plain_bars(line))
        number += length or 1
    lines[:] = shown


def _length_of_block(lines: list[str]) -> int:
    """The number of lines of the block that begins here, including blank lines within and after it."""
    return next((number for number, line in enumerate(lines) if line.strip() and _depth(line) < 4), len(lines))


def _with_plain_bars(line: str) -> str:
    """Escapes the bars of |u| outside of code, where reStructuredText would take them for a substitution."""
    parts = line.split("``")
    return "``".join(part if place % 2 else part.replace("|", r"\|") for place, part in enumerate(parts))


def _depth_before(lines: list[str], number: int) -> int:
    before = next((line for line in reversed(lines[:number]) if line.strip()), "")
    return _depth(before)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _heading(module: ModuleType) -> str:
    first, _, _ = inspect.cleandoc(module.__doc__ or module.__name__).partition("\n\n")
    words = " ".join(first.split()).rstrip(".")
    return f"## {words}\n\n`{module.__name__}`"


def _entry(name: str) -> str:
    made = _resolved(name)
    kind = "autoclass" if inspect.isclass(made) else "autofunction"
    return f"```{{eval-rst}}\n.. {kind}:: {name}\n```"


def _resolved(name: str) -> Any:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def _own(module: ModuleType) -> list[str]:
    """The names without a leading underscore that a module without ``__all__`` defines."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith(module.__name__)
    ]


def _adapters() -> list[str]:
    return [f"rnnjax.adapters.{name}" for name in ("linen", "nnx", "torch")]


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
