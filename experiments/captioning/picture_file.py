"""Reads picture files of any kind that Pillow knows, as SIDE by SIDE pixels in colour, which is what networks read.

What can sensibly be converted is converted, and each conversion is reported: larger squares are scaled down,
transparent parts become white like the background of the scenes, palettes and CMYK become red, green and blue, and of
several frames the first one is taken. Pictures that are smaller, not square, or without colours are refused, because
their content would have to be guessed.
"""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from experiments.captioning.scenes import BACKGROUND, SIDE
from experiments.common.errors import ExperimentError

LARGEST = 8192
"""The largest width or height in pixels; a larger picture is refused before it is decoded."""

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_EXPECTED = f"expected a square picture in colour, {SIDE} by {SIDE} pixels or larger"


class Picture(NamedTuple):
    pixels: np.ndarray  # (SIDE, SIDE, 3), uint8
    converted: tuple[str, ...]  # what was changed


def read_picture(path: str) -> Picture:
    """The picture in a file.

    Raises:
        ExperimentError: if there is no such file, or it is not a picture that can be converted.
    """
    if not Path(path).is_file():
        wrong = "is a folder" if Path(path).is_dir() else "does not exist"
        raise ExperimentError(f"{path} {wrong}: give a picture file, such as scene.png")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes that are refused here, and of odd metadata
            with Image.open(path) as image:
                _require_fitting(path, image)
                return _converted(path, image)
    except UnidentifiedImageError as error:
        raise ExperimentError(
            f"{path} is not a picture that Pillow can read: give a PNG, JPEG, GIF, BMP or the like"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ExperimentError(f"{path} cannot be read ({error}): give an undamaged picture file") from error


def _require_fitting(path: str, image: Image.Image) -> None:
    """Raises ``ExperimentError`` if the file's header shows that it does not fit, before its pixels are decoded."""
    width, height = image.size
    told = f"{path} has {width} by {height} pixels"
    if width != height:
        raise ExperimentError(f"{told}: {_EXPECTED}; crop it, or pad it with white")
    if not SIDE <= width <= LARGEST:
        raise ExperimentError(f"{told}: {_EXPECTED}, up to {LARGEST}")
    if image.mode in _GREY:
        raise ExperimentError(f"{path} has no colours (mode {image.mode} of Pillow): {_EXPECTED}")


def _converted(path: str, image: Image.Image) -> Picture:
    told = list[str]()
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        told.append(f"only the first of {frames} frames is used")
    upright = ImageOps.exif_transpose(image)
    if upright.size and image.getexif().get(0x0112, 1) != 1:
        told.append("turned according to its orientation")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        upright = Image.alpha_composite(ground, layer)
        told.append("made white where it is transparent")
    if upright.mode not in ("RGB", "RGBA"):
        told.append(f"converted from mode {upright.mode} to RGB")
    colours = upright.convert("RGB")
    if colours.width != SIDE:
        told.append(f"scaled from {colours.width} by {colours.height} pixels to {SIDE} by {SIDE}")
        colours = colours.resize((SIDE, SIDE), Image.Resampling.BOX)
    return Picture(np.asarray(colours), tuple(told))
