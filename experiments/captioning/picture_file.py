"""Picture files of any kind that Pillow reads, as what a network is given: SIDE by SIDE pixels in colour.

What can sensibly be converted is, and each conversion is told: larger squares are scaled down, transparent parts are
laid on the scenes' white, palettes and the colours of printers become red, green and blue, of several frames the first
counts. Refused is what would have to be guessed: pictures that are smaller, not square, or without colours.
"""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from experiments.captioning.scenes import BACKGROUND, SIDE
from experiments.common.command import ExperimentError

LARGEST = 8192
"""Pixels in width or height: what is larger is refused before it is decoded."""

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_EXPECTED = f"expected a square picture in colour, {SIDE} by {SIDE} pixels or larger"


class Picture(NamedTuple):
    pixels: np.ndarray  # (SIDE, SIDE, 3), uint8
    converted: tuple[str, ...]  # what was done to the file's own


def read_picture(path: str) -> Picture:
    """A picture file.

    Raises:
        ExperimentError: if there is none, it is no picture, or none that can be converted.
    """
    if not Path(path).is_file():
        wrong = "is a folder" if Path(path).is_dir() else "does not exist"
        raise ExperimentError(f"{path} {wrong}: give a picture file, as scene.png")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about sizes that are refused here, and odd metadata
            with Image.open(path) as image:
                _require_fitting(path, image)
                return _converted(path, image)
    except UnidentifiedImageError as error:
        raise ExperimentError(f"{path} is no picture that Pillow can read: give a PNG, JPEG, GIF, BMP, ...") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ExperimentError(f"{path} cannot be read ({error}): give a whole picture file") from error


def _require_fitting(path: str, image: Image.Image) -> None:
    """Raises ``ExperimentError`` by what the head of the file says, before its pixels are decoded."""
    width, height = image.size
    told = f"{path} has {width} by {height} pixels"
    if width != height:
        raise ExperimentError(f"{told}: {_EXPECTED}; cut it, or fill it up with white")
    if not SIDE <= width <= LARGEST:
        raise ExperimentError(f"{told}: {_EXPECTED}, up to {LARGEST}")
    if image.mode in _GREY:
        raise ExperimentError(f"{path} has no colours (mode {image.mode} of Pillow): {_EXPECTED}")


def _converted(path: str, image: Image.Image) -> Picture:
    told = list[str]()
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        told.append(f"only the first of {frames} frames is seen")
    upright = ImageOps.exif_transpose(image)
    if upright.size and image.getexif().get(0x0112, 1) != 1:
        told.append("turned as its orientation says")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        upright = Image.alpha_composite(ground, layer)
        told.append("laid on white where it is transparent")
    if upright.mode not in ("RGB", "RGBA"):
        told.append(f"converted from mode {upright.mode} to RGB")
    colours = upright.convert("RGB")
    if colours.width != SIDE:
        told.append(f"scaled from {colours.width} by {colours.height} pixels to {SIDE} by {SIDE}")
        colours = colours.resize((SIDE, SIDE), Image.Resampling.BOX)
    return Picture(np.asarray(colours), tuple(told))
