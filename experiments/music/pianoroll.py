"""Frames as a picture, with time to the right and notes upwards."""

from matplotlib.axes import Axes

from experiments.common.drawing import GREY
from experiments.music.corpus import BAR, Frames

OCTAVES = {36: "C2", 48: "C3", 60: "C4", 72: "C5", 84: "C6", 96: "C7"}

_BARS_BETWEEN_TICKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def draw_roll(axes: Axes, frames: Frames, primer: int = 0) -> None:
    """Draws a stroke for each note as long as it sounds, grey in the frames of the primer, and lines between bars."""
    for note in sorted({note for frame in frames for note in frame}):
        spans = [place for place, frame in enumerate(frames) if note in frame]
        for colour, part in ((GREY, lambda place: place < primer), ("black", lambda place: place >= primer)):
            axes.broken_barh(_joined([place for place in spans if part(place)]), (note - 0.4, 0.8), color=colour)
    every = next(each for each in _BARS_BETWEEN_TICKS if len(frames) / BAR / each <= 20)
    places = range(0, len(frames) + 1, BAR * every)
    for place in places:
        axes.axvline(place, color=GREY, linewidth=0.4, zorder=0)
    axes.set_xticks(list(places), [str(1 + place // BAR) for place in places])
    axes.set_xlim(0, len(frames))
    axes.spines[["top", "right"]].set_visible(False)
    notes = [note for frame in frames for note in frame] or [60]
    axes.set_ylim(min(notes) - 2, max(notes) + 2)
    shown = {note: name for note, name in OCTAVES.items() if min(notes) - 2 <= note <= max(notes) + 2}
    axes.set_yticks(list(shown), list(shown.values()))
    for note in shown:
        axes.axhline(note - 0.5, color=GREY, linewidth=0.4, zorder=0)


def _joined(places: list[int]) -> list[tuple[int, int]]:
    """The beginning and the length of each stretch of successive places."""
    spans: list[tuple[int, int]] = []
    for place in places:
        if spans and sum(spans[-1]) == place:
            spans[-1] = spans[-1][0], spans[-1][1] + 1
        else:
            spans.append((place, 1))
    return spans
