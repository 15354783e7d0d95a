"""What the benchmarks' command lines, and the folders with their results, have in common."""

import gc
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.common.device import Device, find
from benchmarks.common.machine import heading

FLAGS = flags.FLAGS

Settings = dict[str, Any]
"""Values of flags by name."""


def define_flags(name: str, quick: Settings, accelerator: Settings) -> None:
    """Defines the flags ``--output``, ``--overwrite`` and ``--quick``, which stands for the settings in ``quick``.

    The defaults of the other flags are made for a CPU; ``accelerator`` has those for a GPU or TPU.
    """
    flags.DEFINE_string("output", f"runs/benchmarks/{name}", "Folder for results.json, the table and the figure.")
    flags.DEFINE_bool("overwrite", False, "Replace the results already in that folder.")
    others = f" The other flags' defaults on a GPU or TPU: {dict(accelerator)}." if accelerator else ""
    flags.DEFINE_bool("quick", False, f"Makes a short run, with {dict(quick)} where a flag is not given.{others}")


def settle(name: str, quick: Settings, accelerator: Settings) -> Device:
    """Sets the flags that the user has not given to what ``--quick`` or the device asks for; returns the device."""
    gc.freeze()  # what has been imported stays, and Python need not look through it again and again
    device = find()
    quick = quick | {"output": f"runs/benchmarks/{name}_quick"} if FLAGS.quick else {}
    for flag, value in choose(device, quick, accelerator).items():
        if FLAGS[flag].using_default_value:
            FLAGS[flag].value = value
    return device


def choose(device: Device, quick: Settings, accelerator: Settings) -> Settings:
    """The settings that replace the flags' defaults, which are made for a CPU; those of ``quick`` come first."""
    return quick if device.on_cpu else accelerator | quick


def output_folder(argv: list[str]) -> Path:
    """The folder that the results go to.

    Raises:
        ValueError: if there are arguments that are not flags, or the folder has results already.
    """
    if argv[1:]:
        raise ValueError(f"received {' '.join(argv[1:])!r}: expected flags only, as in --output=FOLDER")
    output = Path(FLAGS.output)
    if (output / "results.json").exists() and not FLAGS.overwrite:
        raise ValueError(f"{output} has results already: pass --overwrite, or another folder as --output")
    return output


def chosen_settings(*names: str) -> dict[str, Any]:
    """The values of these flags, for the record."""
    return {name: FLAGS[name].value for name in names}


def save(output: Path, name: str, results: Mapping[str, Any], text: str, figure: Any) -> None:
    """Writes results.json, table.txt and the figure as PNG and SVG; prints the table, which says where it was measured.

    ``results`` has the ``machine`` among its entries.
    """
    results["machine"]["load_average_after"] = os.getloadavg()
    text = f"{heading(results['machine'])}\n{text}"
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (output / "table.txt").write_text(text)
    for suffix in ("png", "svg"):
        figure.savefig(output / f"{name}.{suffix}", dpi=120)
    print(text)
    print(f"Samples, table and figure are in {output}")
