"""Pictures of speech: bands of frequency over time, and the phonemes below them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing
from experiments.speech import features
from experiments.speech.phonemes import CLASSES, SILENCE, runs
from experiments.speech.trained import Stretch

_SHADES = ("#ffffff", "#dddddd")
_LETTER = 0.055  # inches
_TICKS = (250, 500, 1000, 2000, 4000)  # Hz


def panel(axes: Axes, decibels: np.ndarray) -> None:
    """Draws bands (T, F) over time, dark where they are loud."""
    seconds = len(decibels) * features.HOP / features.RATE
    extent = (0.0, seconds, -0.5, decibels.shape[1] - 0.5)
    axes.imshow(decibels.T, cmap="Greys", aspect="auto", origin="lower", vmin=-50, vmax=0, extent=extent)
    centres = features.band_edges()[1:-1]
    places = np.interp(_TICKS, centres, np.arange(len(centres)))
    axes.set_yticks(places, [f"{tick:,}" for tick in _TICKS], fontsize=8)
    axes.set_ylabel("frequency (Hz)", fontsize=9)


def strip(
    axes: Axes, stretches: Sequence[tuple[float, float, str]], name: str, inches: float, wrong: Sequence[bool] = ()
) -> None:
    """Draws a row of phonemes from their start to their end, with their names where there is room.

    Args:
        axes: where to draw.
        stretches: start and end of each phoneme in seconds, and its name.
        name: the label of the row.
        inches: the width of a second.
        wrong: whether each frame (T,) is labelled wrongly, which is marked in black below the phonemes.
    """
    for number, (start, end, phoneme) in enumerate(stretches):
        if phoneme != SILENCE:
            axes.axvspan(start, end, color=_SHADES[number % 2], linewidth=0)
        if (end - start) * inches >= _LETTER * len(phoneme):
            axes.text((start + end) / 2, 0.5, phoneme, ha="center", va="center", fontsize=7)
        axes.axvline(start, color=drawing.GREY, linewidth=0.4)
    for first, end, is_wrong in runs(np.asarray(wrong, int)) if len(wrong) else ():
        if is_wrong:
            start, stop = (place * features.HOP / features.RATE for place in (first, end))
            axes.axvspan(start, stop, ymax=0.16, color="black", linewidth=0)
    axes.set_ylim(0, 1)
    axes.set_yticks([0.5], [name], fontsize=8)
    axes.tick_params(length=0)


def in_seconds(labels: np.ndarray) -> list[tuple[float, float, str]]:
    """Labels (T,) of frames as stretches with start and end in seconds."""
    second = features.HOP / features.RATE
    return [(first * second, end * second, CLASSES[label]) for first, end, label in runs(labels)]


def of_file(decibels: np.ndarray, heard: Sequence[Stretch], name: str) -> Figure:
    """The bands (T, F) of a file, and the phonemes that were heard in it."""
    seconds = len(decibels) * features.HOP / features.RATE
    width = float(np.clip(4 * seconds, 7, 60))
    figure, (above, below) = drawing.grid(2, 1, size=(width, 1.8), share=(True, False))
    if grid := above.get_gridspec():
        grid.set_height_ratios([2.6, 0.5])
    panel(above, decibels)
    strip(below, [(each.start, each.end, each.phoneme) for each in heard], "heard", width / seconds)
    return drawing.caption(figure, name, "time (s)")
