"""Imports within rnnjax point one way: from what measures and adapts down to the cell contract."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import rnnjax

ROOT = Path(rnnjax.__file__).parents[1]
ORDER = ("ground", "engine", "cells", "combinators", "sequence", "measure")
"""Each imports from itself and from those before it."""
BESIDE = {"data": {"ground"}, "tasks": {"ground", "data"}, "adapters": {"ground", *ORDER}, "plot": {"ground", *ORDER}}
"""What stands beside, and what it may import from besides itself."""


def imports_of(path: Path) -> Iterator[str]:
    """The modules of rnnjax that a file names in its imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            whole = node.module or ""
            for alias in node.names:
                inner = ROOT.joinpath(*whole.split("."), alias.name)
                yield f"{whole}.{alias.name}" if inner.is_dir() or inner.with_suffix(".py").exists() else whole
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def modules() -> dict[str, set[str]]:
    """Every module of the package, and the modules of the same package that it imports."""
    found = {}
    for path in (ROOT / "rnnjax").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = {module for module in imports_of(path) if module.split(".")[0] == "rnnjax"}
    return found


def package_of(module: str) -> str:
    """``ground`` for the modules directly in rnnjax."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or (ROOT / "rnnjax" / parts[1] / "__init__.py").exists() else "ground"


def test_imports_point_one_way_from_measure_down_to_the_ground() -> None:
    allowed = {name: set(ORDER[: place + 1]) for place, name in enumerate(ORDER)} | BESIDE
    seen = {package_of(module) for module in modules() if module != "rnnjax"}
    assert seen == {*ORDER, *BESIDE}
    upward = [
        f"{module} imports {imported}"
        for module, imports in modules().items()
        for imported in imports
        if module != "rnnjax" and package_of(imported) not in allowed[package_of(module)] | {package_of(module)}
    ]
    assert upward == []


def test_no_module_is_imported_in_a_circle() -> None:
    graphlib.TopologicalSorter(modules()).prepare()


def test_nothing_in_the_library_knows_of_experiments_benchmarks_or_tests() -> None:
    strangers = {"experiments", "benchmarks", "tests"}
    known = {name for path in (ROOT / "rnnjax").rglob("*.py") for name in imports_of(path)}
    assert not {name for name in known if name.split(".")[0] in strangers}
