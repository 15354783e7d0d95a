"""Draws a scene for experiments.captioning.caption: python -m experiments.captioning.picture --of=CAPTION --to=FILE.

    python -m experiments.captioning.picture --of="a small red circle left of a large blue square" --to=scene.png

--seed=N changes where the objects stand and the shades of their colours.
"""

from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from experiments.captioning.grammar import ABOVE, parsed
from experiments.captioning.scenes import COLOURS, MOST, SHAPES, SIZES, arranged, rendered
from experiments.common import command
from experiments.common.errors import ExperimentError

OF = flags.DEFINE_string("of", None, "The caption.")
TO = flags.DEFINE_string("to", "scene.png", "The file to write; its ending decides the format.")
SEED = flags.DEFINE_integer("seed", 0, "Decides where the objects stand, and the shades.", lower_bound=0)


def main() -> None:
    """Writes the file."""
    found = parsed((OF.value or "").lower().replace(".", " .").split())
    if found is None or len(found.things) > MOST:
        raise ExperimentError(
            f"--of={OF.value!r} is not a caption: expected one to {MOST} times 'a SIZE COLOUR SHAPE', joined by 'left "
            f"of' or 'above'; sizes {', '.join(SIZES)}; colours {', '.join(COLOURS)}; shapes {', '.join(SHAPES)}"
        )
    scene = arranged(np.random.default_rng(SEED.value), found.things, [each == ABOVE for each in found.relations])
    try:
        Image.fromarray(rendered(scene)).save(Path(TO.value))
    except (OSError, ValueError) as error:
        raise ExperimentError(
            f"--to={TO.value} cannot be written ({error}): give another file, such as scene.png"
        ) from error
    print(TO.value)


if __name__ == "__main__":
    command.run(main)
