"""What the benchmarks' command lines, and the folders with their results, have in common."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import flags

FLAGS = flags.FLAGS


def define_flags(name: str, quick: Mapping[str, Any]) -> None:
    """The flags ``--output``, ``--overwrite`` and ``--quick``, which stands for the settings in ``quick``."""
    flags.DEFINE_string("output", f"runs/benchmarks/{name}", "Folder for results.json, table.txt and the figure.")
    flags.DEFINE_bool("overwrite", False, "Replace the results already in that folder.")
    flags.DEFINE_bool("quick", False, f"Seconds instead of minutes: {dict(quick)}, where not set otherwise.")


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """Ends the program with one line where a ``ValueError`` says what is wrong with its flags."""
    try:
        yield
    except ValueError as error:
        sys.exit(f"benchmarks.{name}: {error}")


def apply_quick(name: str, quick: Mapping[str, Any]) -> None:
    """With ``--quick``, gives the flags in ``quick`` these values where the user has set none."""
    if FLAGS.quick:
        for flag, value in {**quick, "output": f"runs/benchmarks/{name}_quick"}.items():
            if FLAGS[flag].using_default_value:
                FLAGS[flag].value = value


def output_folder(argv: list[str]) -> Path:
    """Where the results go.

    Raises:
        ValueError: for arguments that are no flags, or results that are there already.
    """
    if argv[1:]:
        raise ValueError(f"received {' '.join(argv[1:])!r}: expected flags only, as in --output=FOLDER")
    output = Path(FLAGS.output)
    if (output / "results.json").exists() and not FLAGS.overwrite:
        raise ValueError(f"{output} has results already: pass --overwrite, or another folder as --output")
    return output


def save(output: Path, name: str, results: Mapping[str, Any], text: str, figure: Any) -> None:
    """Writes results.json, table.txt and the figure as PNG and SVG; prints the table."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (output / "table.txt").write_text(text)
    for suffix in ("png", "svg"):
        figure.savefig(output / f"{name}.{suffix}", dpi=120)
    print(text)
    print(f"Samples, table and figure are in {output}")
