"""The pages of the API: every public name of rnnjax, by the module that it is from."""

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import rnnjax

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
"""Title, and the packages or modules whose names are on it."""

HEADS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")


def public_names() -> dict[str, list[str]]:
    """By module, the names that it defines and the library makes public, each as it is imported."""
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
    """A page for each of PAGES, and one that lists them."""
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
    """A block that stands further in than the text before it, equations or code, becomes a literal one."""
    shown: list[str] = []
    section = False
    for number, line in enumerate(lines):
        depth = len(line) - len(line.lstrip())
        if line.strip() in HEADS and depth == 0:
            section = True
        elif line.strip() and depth == 0:
            section = False
        begins = line.strip() and depth >= 4 and not section and not lines[number - 1].strip()
        if begins and shown and _depth_before(lines, number) == 0:
            shown += ["::", ""]
        shown.append(line if depth >= 4 and not section else _with_plain_bars(line))
    lines[:] = shown


def _with_plain_bars(line: str) -> str:
    """|u| is a size, and not a substitution, outside of code."""
    parts = line.split("``")
    return "``".join(part if place % 2 else part.replace("|", r"\|") for place, part in enumerate(parts))


def _depth_before(lines: list[str], number: int) -> int:
    before = next((line for line in reversed(lines[:number]) if line.strip()), "")
    return len(before) - len(before.lstrip())


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
    """What a module without ``__all__`` defines and does not hide."""
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
