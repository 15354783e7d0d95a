"""Labels the phonemes in a WAV file by a trained network: python -m experiments.speech.label FILE.wav.

--workdir=runs/speech    the folder of a run of experiments.speech
--run=NAME               which network of the run to use, a folder in its checkpoints; by default the first by name
--csv=FILE               writes a line for each phoneme to a file, instead of printing a table
--figure=FILE.png        draws the spectrogram with the phonemes below it

Any sample rate from 8 to 192 kHz is resampled and channels are averaged, which is reported on standard error. The
networks have heard nothing but espeak-ng. For other voices expect no more than a rough resemblance.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from absl import flags

from experiments.common import command, frames, trained
from experiments.common.errors import ExperimentError, explained
from experiments.speech import features, wav
from experiments.speech.trained import Stretch, load, probabilities, stretches

WORKDIR = flags.DEFINE_string("workdir", "runs/speech", "Folder of a run of experiments.speech.")
RUN = flags.DEFINE_string("run", "", "Which network of the run to use; by default the first by name.")
CSV = flags.DEFINE_string("csv", None, "A file to write, with a line for each phoneme.")
FIGURE = flags.DEFINE_string("figure", None, "A PNG file to draw.")


def main(files: Sequence[str]) -> None:
    """Prints a line for each phoneme."""
    if len(files) != 1:
        given = f"{len(files)} files are given" if files else "no file is given"
        raise ExperimentError(f"{given}: give one, as in python -m experiments.speech.label FILE.wav")
    file = files[0]
    if FIGURE.value and not FIGURE.value.endswith(".png"):
        raise ExperimentError(f"--figure={FIGURE.value} is not the name of a PNG file: give one that ends in .png")
    known = load(trained.folder_of(WORKDIR.value, RUN.value, "speech", "last"))
    sound = wav.read(file)
    print(*sound.told, f"labelled by {known.name}", sep="\n", file=sys.stderr)
    with explained(ValueError):
        found = probabilities(known, sound.audio)
    heard = list(stretches(known, found))
    if FIGURE.value:
        draw(sound.audio, heard, file, Path(FIGURE.value))
    rows = pd.DataFrame(heard)
    if CSV.value:
        rows.round(3).to_csv(CSV.value, index=False)
        return
    told = [
        {
            "from (s)": f"{each.start:.2f}",
            "to": f"{each.end:.2f}",
            "heard": each.phoneme,
            "probability": f"{each.probability:.0%}",
        }
        for each in heard
    ]
    print(frames.table(told, {"heard"}))


def draw(audio: np.ndarray, heard: Sequence[Stretch], name: str, path: Path) -> None:
    """Draws the spectrogram of the file and the phonemes that were heard."""
    from experiments.speech import spectrogram

    figure = spectrogram.of_file(features.log_mel(audio), heard, name)
    figure.savefig(path, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    command.run_on_words(main)
