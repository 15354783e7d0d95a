"""Tables of records: every value stands in its own row and column."""

import itertools

import hypothesis
import hypothesis.strategies as st
import pandas as pd

from experiments.common import frames


@hypothesis.given(st.data())
def test_what_is_unstacked_stands_where_it_belongs_whatever_was_left_out_before(data: st.DataObject) -> None:
    cells = list(itertools.product("cadb", "zyx", (2, 1)))
    order = data.draw(st.permutations(cells))
    whole = pd.Series(range(len(order)), pd.MultiIndex.from_tuples(order, names=["letter", "last", "number"]))
    kept = data.draw(st.sets(st.sampled_from("abcd"), min_size=1))
    values = whole[whole.index.isin(kept, level="letter")]
    for levels in (("number",), ("letter",), ("last", "number")):
        found = frames.unstacked(values, *levels)
        for letter, last, number in cells:
            if letter in kept:
                place = {"letter": letter, "last": last, "number": number}
                column = place[levels[0]] if len(levels) == 1 else tuple(place[level] for level in levels)
                row = tuple(place[name] for name in place if name not in levels)
                assert found[column].loc[row if len(row) > 1 else row[0]] == whole[letter, last, number]
        assert list(found.index) == list(values.index.droplevel(list(levels)).unique())
