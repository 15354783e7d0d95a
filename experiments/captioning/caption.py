"""Captions pictures by a trained network: python -m experiments.captioning.caption PICTURE...

PICTURE             a file of any kind that Pillow reads, square, in colour, 40 by 40 pixels or larger; or several
--workdir=FOLDER    the folder of a run of experiments.captioning
--run=NAME          which network of the run to use
--beams=N           captions that beam search keeps; the likeliest are printed with their probabilities

The network knows one to three shapes in five colours on white, and gives every picture a caption. The command
python -m experiments.captioning.picture draws a picture for it.
"""

import sys
from collections.abc import Sequence

from absl import flags

from experiments.captioning.picture_file import read_picture
from experiments.captioning.trained import captions, load
from experiments.common import command, trained
from experiments.common.errors import ExperimentError

WORKDIR = flags.DEFINE_string("workdir", "runs/captioning", "Folder of a run of experiments.captioning.")
RUN = flags.DEFINE_string("run", "attention-seed0", "Which network of the run to use.")
BEAMS = flags.DEFINE_integer("beams", 4, "Captions that beam search keeps.")

SHOWN = 3
"""The most captions that are printed for a picture."""

MOST_BEAMS = 100


def main(pictures: Sequence[str]) -> None:
    """Prints the likeliest caption of each picture, and further captions below it."""
    if not pictures:
        raise ExperimentError(
            "no picture is given: give files, as in python -m experiments.captioning.caption scene.png"
        )
    if not 1 <= BEAMS.value <= MOST_BEAMS:
        raise ExperimentError(f"--beams is {BEAMS.value}: expected 1 to {MOST_BEAMS}")
    read = {path: read_picture(path) for path in pictures}
    known = load(trained.folder_of(WORKDIR.value, RUN.value, "captioning", "last"))
    for path, picture in read.items():
        if picture.converted:
            print(f"{path}: {', '.join(picture.converted)}", file=sys.stderr)
        first, *others = captions(known, picture.pixels, BEAMS.value)
        print(f"{path}: {' '.join(first.words)} ({100 * first.probability:.1f} %)", flush=True)
        for other in others[: SHOWN - 1]:
            print(f"    or {' '.join(other.words)} ({100 * other.probability:.1f} %)", flush=True)


if __name__ == "__main__":
    command.run_on_words(main)
