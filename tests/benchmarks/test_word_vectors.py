"""benchmarks.word_vectors end to end on a tiny text."""

from pathlib import Path

import pytest

from benchmarks.word_vectors.measure import agreement
from tests.benchmarks.running import results_of


@pytest.mark.slow
def test_word_vectors_measures_both_and_says_how_far_they_agree(tmp_path: Path) -> None:
    pytest.importorskip("gensim", reason="gensim, a peer to compare with, is not installed: rnnjax[bench]")
    records = results_of("word_vectors", tmp_path)["records"]
    assert [(record["model"], record["way"]) for record in records] == [
        (model, way) for model in ("cbow", "skip_gram") for way in ("rnnjax", "gensim")
    ]
    for ours, theirs in (records[:2], records[2:]):
        assert ours["ratio"][1] <= ours["ratio"][0] <= ours["ratio"][2]
        assert theirs["ratio"][0] == pytest.approx(1)
        assert len(ours["agreement"]) == len(theirs["agreement"]) + 1  # gensim not with itself
        for record in (ours, theirs):
            assert min(record["speeds"]) > 0
            assert all(0 <= share <= 1 for share in record["agreement"] + record["same_kind"])


def test_agreement_is_the_share_of_words_that_both_have() -> None:
    assert agreement([[1, 2], [3, 4]], [[2, 1], [4, 5]]) == 0.75
