"""Examples from one long text: parallel streams and sliding windows."""

import numpy as np

from rnnjax.arguments import of_their_kinds
from rnnjax.checks import positive_integer


@of_their_kinds
def parallel_streams(tokens: np.ndarray, streams: int) -> np.ndarray:
    """A text (N,) cut into equal parts side by side, (N // streams, streams), time first; the remainder is cut off.

    In every column row t follows row t - 1. A network that reads rows t, ..., t + k - 1 and then the rows from t + k on
    can carry its state on, so that it reads each part as a whole.

    Raises:
        ValueError: if there are fewer than two tokens for each stream, one to read and one to predict.
        TypeError: if ``streams`` is not a whole number.
    """
    count = positive_integer("streams", streams)
    if tokens.ndim != 1:
        raise ValueError(f"tokens have shape {tokens.shape}: expected (N,), one text")
    steps = len(tokens) // count
    if steps < 2:
        raise ValueError(
            f"there are {len(tokens)} tokens for {count} streams: expected two or more for each; give a longer text or "
            "fewer streams"
        )
    return np.ascontiguousarray(tokens[: steps * count].reshape(count, steps).T)


@of_their_kinds
def stream_window(streams: np.ndarray, number: int, length: int) -> tuple[np.ndarray, bool]:
    """The rows (length + 1, B) of window ``number``, counted from 0, and whether it is the first of a pass.

    Windows overlap by one row, which is predicted last in one window and read first in the next. After the last whole
    window a new pass begins at the first row, which does not continue the text that was read before.

    Raises:
        ValueError: if the streams are shorter than a window.
    """
    windows = (len(streams) - 1) // positive_integer("length", length)
    if windows < 1:
        raise ValueError(
            f"streams of {len(streams)} tokens are too short for windows of {length} and a token to predict: give a "
            "longer text, fewer streams or shorter windows"
        )
    place = number % windows * length
    return streams[place : place + length + 1], place == 0


@of_their_kinds
def sliding_windows(tokens: np.ndarray, length: int, padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Every token with the tokens before it: inputs (N, length), padded at the left, and targets (N,).

    Raises:
        ValueError: for an empty text or a length below 1.
        TypeError: if the length is not a whole number.
    """
    width = positive_integer("length", length)
    if not len(tokens):
        raise ValueError("there are no tokens: expected some to predict")
    filled = np.concatenate([np.full(width, padding, tokens.dtype), tokens])
    return np.lib.stride_tricks.sliding_window_view(filled[:-1], width), tokens
