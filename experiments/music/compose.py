"""Composes a piece by a trained network: python -m experiments.music.compose --workdir=FOLDER.

--primer=begun.mid --output=piece.mid --bars=32 --temperature=0.9 --seed=1

Frames are quarter notes and bars have four of them, whatever the file of the primer says. Without a primer the piece
begins after silence. The command writes a MIDI file, which begins with the primer, and a picture of its piano roll.

At a low temperature sigmoids leave out notes, because few keys are likelier to sound than not; a joint output does not.
"""

import math
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from absl import flags

from experiments.common import command, drawing
from experiments.common.errors import ExperimentError, explained
from experiments.music import midi, model
from experiments.music.corpus import BAR, Frames
from experiments.music.data import batch_of, frames_of
from experiments.music.pianoroll import draw_roll
from experiments.music.trained import Trained, chosen, load

MOST_BARS = 10_000

WORKDIR = flags.DEFINE_string("workdir", "runs/music", "Folder of a run of experiments.music.")
RUN = flags.DEFINE_string("run", "", "Which network, such as gru-joint-seed0; by default the first with joint output.")
PRIMER = flags.DEFINE_string("primer", "", "A MIDI file that the piece continues.")
OUTPUT = flags.DEFINE_string("output", "piece.mid", "The MIDI file to write; a picture with the same name is added.")
BARS = flags.DEFINE_integer("bars", 32, "Bars to compose, of four quarters each.")
TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Below 1 likely notes gain, above 1 unlikely ones.")
SEED = flags.DEFINE_integer("seed", 0, "Another seed gives another piece.", lower_bound=0, upper_bound=2**63 - 1)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replaces the output files if they exist.")


def main() -> None:
    """Writes the piece, and prints where it is."""
    output = Path(OUTPUT.value)
    picture = output.with_suffix(".png")
    _require_possible(output, picture)
    with explained(ValueError, OSError, ImportError):
        primer = midi.read(PRIMER.value) if PRIMER.value else ()
    known = load(chosen(WORKDIR.value, RUN.value))
    piece = (*primer, *composed(known, primer, BARS.value * BAR, TEMPERATURE.value, SEED.value))
    output.parent.mkdir(parents=True, exist_ok=True)
    with explained(ImportError):
        midi.write(piece, output)
    _draw(piece, len(primer), known.name, picture)
    read = f" after {len(primer)} quarters of {PRIMER.value}" if primer else ""
    print(f"{known.name} composed {BARS.value} bars of {BAR} quarters{read}: {output}, {picture}")


def _require_possible(output: Path, picture: Path) -> None:
    """Raises ``ExperimentError`` for flags with wrong values."""
    if output.suffix.lower() not in (".mid", ".midi"):
        raise ExperimentError(f"--output={output} is not the name of a MIDI file: expected one that ends in .mid")
    there = [str(path) for path in (output, picture) if path.exists()]
    if there and not OVERWRITE.value:
        exist = "exist" if len(there) > 1 else "exists"
        raise ExperimentError(f"{' and '.join(there)} {exist} already: give another --output, or --overwrite")
    if not 1 <= BARS.value <= MOST_BARS:
        raise ExperimentError(f"--bars={BARS.value}: expected 1 to {MOST_BARS:,}")
    if not (TEMPERATURE.value > 0 and math.isfinite(TEMPERATURE.value)):
        raise ExperimentError(f"--temperature={TEMPERATURE.value}: expected a positive number")


def composed(known: Trained, primer: Frames, frames: int, temperature: float, seed: int) -> Frames:
    """Composed frames after a primer, or after silence."""
    compose = jax.jit(lambda primers, key: model.compose(*known[:2], primers, key, frames, temperature))
    return frames_of(np.asarray(compose(batch_of([primer]), jax.random.key(seed)))[:, 0])


def _draw(piece: Frames, primer: int, name: str, path: Path) -> None:
    figure, (axes,) = drawing.grid(1, 1, size=(max(8.0, min(len(piece) * 0.07, 40.0)), 3.2))
    draw_roll(axes, piece, primer)
    after = f", after a primer of {primer} quarters (grey)" if primer else ""
    drawing.caption(figure, f"{name}: {(len(piece) - primer) // BAR} bars{after}", "bar, of four quarters", "note")
    figure.savefig(path, dpi=150, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    command.run(main)
