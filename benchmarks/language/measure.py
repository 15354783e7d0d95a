"""Trains the GPT, then the recurrent network for as long, each in a process of its own, timed from its start."""

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.common.device import ROOT, Device, environment
from benchmarks.language.task import CONTEXT, Record, Task
from experiments.language import main as language
from experiments.language.config import get_config

GPT, OWN = "torch", "rnnjax"

Curve = list[dict[str, float]]
"""``seconds`` from the start of the process, ``steps``, and nats a character, ``kept`` and ``fresh``."""


class Text(NamedTuple):
    """A text as tokens; the last tenth is held out."""

    train: np.ndarray
    held_out: np.ndarray
    different: int
    source: str


class Settings(NamedTuple):
    variant: str
    iterations: int
    evaluations: int
    torch_threads: int


def read(corpus: str, max_characters: int, variant: str) -> Text:
    """The text as ``experiments.language`` reads it.

    Raises:
        ValueError: if it cannot be read or is too short.
    """
    config = get_config(variant)
    config.corpus, config.max_characters = corpus, max_characters
    try:
        data = language.read(config)
    except OSError as error:
        raise ValueError(f"--corpus={corpus} cannot be read ({error}): give a UTF-8 text file") from error
    held_out = np.concatenate([data.choose, data.report])
    if len(held_out) <= CONTEXT:
        raise ValueError(
            f"--corpus has {len(held_out)} held-out characters: expected over {CONTEXT}; give a longer text"
        )
    return Text(data.train, held_out, len(data.vocabulary.entries), data.source)


def overlapping_windows(tokens: np.ndarray) -> np.ndarray:
    """Windows (N, CONTEXT + 1), each of which begins half a context after the one before."""
    starts = np.arange(0, len(tokens) - CONTEXT, CONTEXT // 2)
    return tokens[starts[:, None] + np.arange(CONTEXT + 1)]


def measure(text: Text, settings: Settings, seeds: int, device: Device) -> list[Record]:
    """A record of each network and seed."""
    records = []
    with tqdm(total=2 * seeds, disable=None) as bar:
        for seed in range(seeds):
            gpt = train(GPT, text, settings, seed, device)
            bar.update()
            own = train(OWN, text, settings, seed, device, gpt["seconds"])
            bar.update()
            records += [gpt, own]
    return records


def train(way: str, text: Text, settings: Settings, seed: int, device: Device, seconds: float = math.inf) -> Record:
    """Trains one network in a process of its own, the recurrent one for so many seconds at most."""
    with tempfile.TemporaryDirectory() as folder:
        windows = overlapping_windows(text.held_out)
        tokens = (text.train, text.held_out, windows, text.different)
        started = time.time()
        Task(*tokens, *settings, seed, device.backend, started, started + seconds).save(Path(folder))
        words = [sys.executable, "-m", f"benchmarks.language.in_{way}", folder]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment(device))
        found: Record = json.loads((Path(folder) / "record.json").read_text())
    curve: Curve = [{"seconds": point.pop("when") - started, **point} for point in found["curve"]]
    last = curve[-1]
    return {
        "way": way,
        "seed": seed,
        "params": found["params"],
        "starting_seconds": found["begun"] - started,
        "characters": last["steps"] * found["characters_a_step"],
        **last,
        "curve": curve,
    }
