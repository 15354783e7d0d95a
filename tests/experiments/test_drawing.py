"""The common forms of figures: bands, panels, maps, legends, titles; and numbers in words."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.frames import frame, log10, span


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_a_band_is_the_median_between_the_least_and_the_greatest_where_all_are_finite() -> None:
    _, (axes,) = drawing.panels(1)
    curves = np.array([[1.0, 2.0, np.nan], [3.0, 5.0, 1.0], [2.0, 9.0, 1.0]])
    drawing.band(axes, np.arange(3), curves, {"color": "black"}, "name")
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [2.0, 5.0, np.nan])
    (shade,) = axes.collections
    corners = shade.get_paths()[0].vertices
    assert {tuple(corner) for corner in np.asarray(corners)} == {(0, 1), (0, 3), (1, 2), (1, 9)}


@pytest.mark.parametrize(("factor", "word"), [(1e-3, "underflows"), (1e3, "overflows")])
def test_a_curve_that_ends_before_its_time_is_marked_there(factor: float, word: str) -> None:
    _, (axes,) = drawing.panels(1)
    with np.errstate(over="ignore", under="ignore"):
        norms = (np.float32(factor) ** np.arange(30, dtype=np.float32))[::-1]
    drawing.by_lag(axes, [norms], {"color": "black"}, "name")
    line, cross = axes.lines
    assert [text.get_text() for text in axes.texts] == [word]
    ended = int(np.flatnonzero(~np.isnan(line.get_ydata()))[-1])
    assert cross.get_xdata()[0] == ended < 20
    assert not np.isnan(log10(norms)[::-1][ended])


def test_panels_and_lines_come_in_the_order_of_the_frame_with_the_same_looks_everywhere() -> None:
    rows = [(panel, line, seed) for panel in ("b", "a") for line in ("y", "x")[panel == "a" :] for seed in range(2)]
    found = pd.DataFrame(rows, columns=["panel", "line", "seed"])
    found["norms"] = [np.full(4, 10.0**seed) for seed in found["seed"]]
    words = {"panel": "panel", "line": "line", "quantity": "norm"}
    _, by_panel = drawing.panels_by_lag(found, "", **words, name="line {}".format)
    assert list(by_panel) == ["b", "a"]
    first, second = by_panel["b"].lines
    assert [first.get_label(), second.get_label()] == ["line y", "line x"]
    assert by_panel["a"].lines[0].get_color() == second.get_color() != first.get_color()
    np.testing.assert_allclose(first.get_ydata(), np.full(4, 0.5))


def test_norms_are_relative_with_a_line_at_a_tenth_unless_it_is_said_what_they_are() -> None:
    found = pd.DataFrame({"panel": ["a"], "line": ["x"], "norms": [100 * 0.1 ** np.arange(4.0)[::-1]]})
    parts = {"panel": "panel", "line": "line"}
    axes = drawing.panels_by_lag(found, "", **parts, told={"a": "what was found"})[1]["a"]
    relative, tenth = axes.lines
    np.testing.assert_allclose(relative.get_ydata(), [0, -1, -2, -3], atol=1e-12)
    assert set(tenth.get_ydata()) == {-1}
    assert axes.get_title(loc="left") == "a\nwhat was found"
    (line,) = drawing.panels_by_lag(found, "", **parts, quantity="norm")[1]["a"].lines
    np.testing.assert_allclose(line.get_ydata(), [2, 1, 0, -1], atol=1e-12)


def test_the_legend_is_beside_the_panels_if_the_first_of_them_has_not_all_lines() -> None:
    found = pd.DataFrame({"panel": ["a", "b", "b"], "line": ["x", "x", "y"], "norms": [np.ones(3)] * 3})
    figure, _ = drawing.panels_by_lag(found, "", panel="panel", line="line")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["x", "y"]
    figure, by_panel = drawing.panels_by_lag(found[1:], "", panel="panel", line="line")
    assert not figure.legends
    assert by_panel["b"].get_legend() is not None


def test_where_a_short_curve_ends_among_longer_ones_the_word_stands_inside_the_panel() -> None:
    norms = [10.0 ** -np.arange(length, dtype=np.float32)[::-1] for length in (50, 1000)]
    found = pd.DataFrame({"panel": "a", "line": ["short", "long"], "norms": norms})
    figure, by_panel = drawing.panels_by_lag(found, "", panel="panel", line="line")
    figure.canvas.draw()
    (word,) = by_panel["a"].texts
    assert word.get_text() == "underflows"
    assert word.get_window_extent().x0 > by_panel["a"].bbox.x0


def test_a_map_has_each_value_at_its_index_and_column_and_none_cut_off() -> None:
    figure, panels = drawing.panels(2)
    near, far = (pd.DataFrame([[0.0, -1.0, -2.0], [-4.0, low, -3.0]], [1, 2], [0, 10, 20]) for low in (-5.0, np.nan))
    drawing.maps(figure, panels, {"near": near, "far": far}, "label")
    meshes = [axes.collections[0] for axes in panels]
    x, y = np.moveaxis(np.asarray(meshes[0].get_coordinates()), -1, 0)
    np.testing.assert_allclose(x[0], [-5, 5, 15, 25])
    np.testing.assert_allclose(y[:, 0], [0.5, 1.5, 2.5])
    assert {(mesh.norm.vmin, mesh.norm.vmax) for mesh in meshes} == {(-5, 0)}
    np.testing.assert_allclose(meshes[0].norm([0.0, -1.25, -5.0]), [1, 0.5, 0])  # the root of the distance


def test_a_map_of_norms_that_all_overflow_is_drawn_empty() -> None:
    figure, panels = drawing.panels(1)
    drawing.maps(figure, panels, {"all": pd.DataFrame([[np.nan, np.nan]], [1], [0, 10])}, "label")
    figure.canvas.draw()
    assert np.ma.count(panels[0].collections[0].get_array()) == 0


def test_a_legend_has_its_lines_in_the_order_in_which_they_end() -> None:
    _, (axes,) = drawing.panels(1)
    for name, ys in (("low", [5.0, 0.0]), ("high", [0.0, 4.0]), ("short", [9.0, np.nan])):
        axes.plot([0, 1], ys, label=name)
    drawing.legend(axes)
    found = axes.get_legend()
    assert found is not None
    assert [text.get_text() for text in found.get_texts()] == ["high", "low", "short"]


@pytest.mark.parametrize(("count", "across"), [(1, 5), (5, 5), (7, 5)])
def test_titles_and_labels_stay_within_the_width_of_the_figure(count: int, across: int) -> None:
    figure, panels = drawing.panels(count, across=across)
    words = "a long title that says what was found, with its spread, and under which conditions it was found, " * 2
    drawing.caption(figure, words, words)
    for axes in panels:
        drawing.head(axes, words)
    figure.canvas.draw()
    width = figure.bbox.width
    assert figure._suptitle.get_window_extent().x1 <= width  # type: ignore[attr-defined]
    assert figure._supxlabel.get_window_extent().x1 <= width  # type: ignore[attr-defined]
    rights = [axes._left_title.get_window_extent().x1 for axes in panels]  # type: ignore[attr-defined]
    assert max(rights) <= width
    row = panels[: min(count, 4)]
    for left, right in itertools.pairwise(row):
        assert left._left_title.get_window_extent().x1 <= right._left_title.get_window_extent().x0  # type: ignore[attr-defined]


def test_a_formula_is_not_broken_between_lines_and_a_y_label_is_no_longer_than_the_figure() -> None:
    formula = r"$\|\partial L / \partial s_t\|$"
    for words in range(6, 16):
        figure, _ = drawing.panels(1)
        text = "word " * words + formula + " of it, and again " + formula
        drawing.caption(figure, "", text, text)
        figure.canvas.draw()
        for label in (figure._supxlabel, figure._supylabel):  # type: ignore[attr-defined]
            assert label.get_text().replace("\n", " ") == text
            assert all(line.count("$") % 2 == 0 for line in label.get_text().splitlines())
        assert figure._supylabel.get_window_extent().height <= figure.bbox.height  # type: ignore[attr-defined]


def test_a_number_is_not_parted_from_its_sign_of_percent() -> None:
    figure, _ = drawing.panels(1)
    for words in range(30):
        text = "word " * words + "then 99.9 % (99.7 to 100.0) of 3 words"
        drawing.caption(figure, "", text)
        label = figure._supxlabel.get_text()  # type: ignore[attr-defined]
        assert label.replace("\n", " ") == text
        assert "99.9 %" in label


def test_frames_have_lists_as_arrays_and_null_as_nan() -> None:
    records = [
        {"kind": "a", "x": 1.0, "curve": [1.0, None], "of": "batch"},
        {"kind": "a", "x": None, "curve": [1e60, 2.0], "of": "batch"},
        {"kind": "a", "x": 3.0, "curve": [0.0, 0.0], "of": "example"},
        {"kind": "b"},
    ]
    found = frame(records, "a", of="batch")
    assert found["x"].isna().tolist() == [False, True]
    np.testing.assert_array_equal(found["curve"][0], np.array([1, np.nan], np.float32))
    assert found["curve"][1].tolist() == [np.inf, 2]
    assert frame(records, "c").empty
    assert span([0.5, 0.126, 0.3], ".2f") == "0.13 to 0.50"
    assert span([0.126, 0.13], ".2f") == "0.13"


def test_medians_and_ranges_of_groups_are_words_in_the_order_of_the_rows() -> None:
    values = pd.Series([3.0, 1.0, 5.0, np.nan, 2.0, 2.0])
    words = pd.Series(["before it", "before it", "before it", "never", "after it", "after it"])
    assert frames.medians(values, words, "{:.0f}".format) == "3 (1 to 5) before it, 2 after it"


def test_a_smoothed_loss_is_the_mean_over_a_fiftieth_of_the_steps() -> None:
    losses = pd.DataFrame({"run": "a", "step": range(1, 101), "loss": np.arange(100.0)})
    means, width = frames.smoothed(losses, ["run"])
    assert width == 2
    assert means["step"].tolist() == list(range(2, 101, 2))
    np.testing.assert_allclose(means["loss"], np.arange(0.5, 100, 2))


def test_lags_of_seeds_are_a_range_in_words() -> None:
    assert frames.lags([3, 5]) == "3 to 5"
    assert frames.lags([3, np.inf]) == "3 to never"
    assert frames.lags([3, np.nan, 5]) == "-"  # one was not measured


def test_the_reach_of_a_curve_is_the_lag_of_a_tenth_or_its_length() -> None:
    curves = pd.Series([0.5 ** np.arange(10.0)[::-1], np.ones(7)])
    assert frames.decays(curves)["reach"].tolist() == [4, 7]


def test_of_a_run_that_diverged_what_can_be_drawn_is_drawn_and_the_rest_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def good(records: object) -> Figure:
        return drawing.panels(1)[0]

    def bad(records: object) -> Figure:
        raise ValueError("nothing is left")

    diverged = [{"kind": "train", "loss": [1.0, None]}]
    assert [path.name for path in drawing.draw([bad, good], diverged, tmp_path)] == ["good.png"]
    assert capsys.readouterr().err == "bad is not drawn: some numbers are not finite (nothing is left)\n"
    with pytest.raises(ValueError, match="nothing is left"):
        drawing.draw([bad], [{"kind": "train", "loss": [1.0]}], tmp_path)
