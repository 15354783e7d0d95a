"""Streams and windows of one text: every token where it belongs."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from rnnjax.data import parallel_streams, sliding_windows, stream_window


@hypothesis.given(tokens=st.integers(4, 200), streams=st.integers(1, 8), length=st.integers(1, 20))
def test_windows_of_streams_are_read_one_after_the_other_without_a_gap(tokens, streams, length):
    hypothesis.assume((tokens // streams - 1) // length >= 1)
    text = np.arange(tokens)
    parts = parallel_streams(text, streams)
    windows = (tokens // streams - 1) // length
    read = [stream_window(parts, number, length) for number in range(2 * windows)]
    assert [first for _, first in read] == [number % windows == 0 for number in range(2 * windows)]
    for (before, _), (after, first) in itertools.pairwise(read):
        assert before.shape == (length + 1, streams)
        if not first:
            np.testing.assert_array_equal(after[0], before[-1])
    whole = np.concatenate([window[:-1] for window, _ in read[:windows]])
    for stream in range(streams):
        start = stream * (tokens // streams)
        np.testing.assert_array_equal(whole[:, stream], text[start : start + windows * length])


def test_sliding_windows_have_the_tokens_before_each_and_padding_before_the_first():
    inputs, targets = sliding_windows(np.array([5, 6, 7, 8]), 3, padding=0)
    assert inputs.tolist() == [[0, 0, 0], [0, 0, 5], [0, 5, 6], [5, 6, 7]]
    assert targets.tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: parallel_streams(np.arange(7), 4), "7 tokens for 4 streams: expected two or more for each"),
        (lambda: parallel_streams(np.arange(7), 0), "streams is 0"),
        (lambda: stream_window(np.zeros((5, 2)), 0, 5), "streams of 5 tokens are too short for windows of 5"),
        (lambda: sliding_windows(np.arange(0), 2, 0), "there are no tokens"),
        (lambda: sliding_windows(np.arange(3), 0, 0), "length is 0"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
