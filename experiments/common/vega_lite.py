"""Specifications of charts for Vega-Lite: lines with shaded ranges, lists, a slider, and values under the pointer.

A specification is a dict (https://vega.github.io/vega-lite/docs), from which the library draws a chart in a browser.
Text and black lines take the colour of the page's text, light or dark.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.common.workdir import Record
from rnnjax.plot.looks import COLOURS

INK = "currentColor"

DASHES = ([1, 0], [6, 3], [8, 3, 2, 3], [2, 2], [8, 2, 2, 2, 2, 2], [1, 2], [10, 3])  # as rnnjax.plot has them

_CONFIG = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "tickColor": INK,
        "domainColor": INK,
        "gridColor": INK,
        "gridOpacity": 0.12,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 12,
    },
    "legend": {
        "labelColor": INK,
        "labelFontSize": 12,
        "symbolOpacity": 1,
        "symbolSize": 400,
        "symbolStrokeWidth": 2,
        "symbolType": "stroke",
    },
    "title": {"color": INK, "fontSize": 13, "fontWeight": "normal", "anchor": "start"},
}


class Scale(NamedTuple):
    """An axis."""

    title: str
    labels: str  # a Vega expression for the label of a tick


@functools.cache
def library() -> str:
    """The JavaScript that draws charts in a browser: vega, vega-lite and vega-embed in one piece."""
    import vl_convert  # here, since it is large and needed only to write a page

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def choice(field: str, options: Sequence[str | None], chosen: str | None) -> Record:
    """A list from which the reader chooses a value of a field; None stands for every value."""
    labels = ["every" if option is None else option for option in options]
    bind = {"input": "select", "options": list(options), "labels": labels, "name": f"{field.replace('_', ' ')} "}
    return {"name": f"chosen_{field}", "value": chosen, "bind": bind}


def check(name: str, value: bool) -> Record:
    """A box to be checked."""
    return {"name": name, "value": value, "bind": {"input": "checkbox", "name": f"{name} "}}


def slider(name: str, moments: Sequence[str]) -> list[Record]:
    """A slider over moments of training: ``place`` is the number of the moment shown, ``moment`` its name."""
    bind = {"input": "range", "min": 0, "max": len(moments) - 1, "step": 1, "name": f"{name} "}
    words = {"name": "moment", "expr": f"{json.dumps(list(moments))}[place]"}
    return [{"name": "place", "value": 0, **({"bind": bind} if len(moments) > 1 else {})}, words]


def chosen(field: str) -> Record:
    """A filter that keeps the value chosen from the list of a field."""
    return {"filter": f"chosen_{field} == null || datum.{field} == chosen_{field}"}


def lines(
    curves: Sequence[Record],
    params: Sequence[Record],
    *,
    title: str,
    x: Scale,
    y: Scale,
    parts: Sequence[str],
    filters: Sequence[Record] = (),
    now: str = "true",
    heights: Mapping[str, str],
    told: Mapping[str, str],
) -> Record:
    """A chart of lines with shaded ranges.

    Args:
        curves: each has its parts, the lists ``x``, ``low``, ``middle`` and ``high``, and the ``least`` and ``most`` of
            the last three.
        params: the lists, boxes and sliders from which the reader chooses.
        title: a Vega expression for the title.
        x: the horizontal axis.
        y: the vertical axis.
        parts: the fields that tell lines apart; the reader chooses one value of each, or all.
        filters: further filters of the curves.
        now: an expression that is true of the curves to be drawn; the axes have room for all curves.
        heights: expressions for the heights of ``low``, ``middle``, ``high``, ``least`` and ``most``, by these names.
        told: expressions for what is shown under the pointer, by their headings.
    """
    placed = [{"calculate": heights[name], "as": f"y_{name}"} for name in ("low", "middle", "high")]
    words = [{"calculate": expression, "as": f"told_{place}"} for place, expression in enumerate(told.values())]
    shown = [f"{json.dumps(name)}: (datum.datum || datum).told_{place}" for place, name in enumerate(told)]
    drawn = {
        "transform": [{"filter": now}, {"flatten": ["x", "low", "middle", "high"]}, *placed, *words],
        "encoding": {"x": _axis("x", x)},
        "layer": [_shade(y), _line(y), _points(y, f"{{{', '.join(shown)}}}")],
    }
    return {
        "width": "container",
        "height": 320,
        "title": {"text": {"expr": title}},
        "data": {"values": list(curves)},
        "params": list(params),
        "transform": [*filters, *map(chosen, parts), {"calculate": _name(parts), "as": "line"}],
        "layer": [_room(heights, y), drawn],
        "config": _CONFIG,
    }


def _name(parts: Sequence[str]) -> str:
    """An expression for the name of a line: the values of its parts, without those for which one value is chosen."""
    words = [f"(chosen_{part} == null && datum.{part} != '-' ? ', ' + datum.{part} : '')" for part in parts]
    return f"substring({' + '.join(words)}, 2) || 'all that is chosen'" if parts else "'all'"


def _axis(field: str, scale: Scale) -> Record:
    axis = {"title": scale.title, "labelExpr": scale.labels, "labelOverlap": True}
    if field == "x":
        axis |= {"tickCount": {"expr": "max(3, width / 90)"}, "tickMinStep": 1}
    return {"field": field, "type": "quantitative", "axis": axis, "scale": {"zero": False, "nice": False}}


def _by_line(looks: Sequence[object], legend: Record | None) -> Record:
    return {"field": "line", "type": "nominal", "sort": None, "scale": {"range": list(looks)}, "legend": legend}


_COLOURS = [INK, *COLOURS[1:]]  # instead of black, which does not show on a dark page


def _room(heights: Mapping[str, str], y: Scale) -> Record:
    """An invisible layer, by which the axis stays the same at all positions of a slider."""
    ends = [{"calculate": heights[name], "as": f"y_{name}"} for name in ("least", "most")]
    encoding = {"y": _axis("y_least", y), "y2": {"field": "y_most"}}
    return {"transform": ends, "mark": {"type": "rule", "opacity": 0, "tooltip": None}, "encoding": encoding}


def _shade(y: Scale) -> Record:
    ends = {"y": _axis("y_low", y), "y2": {"field": "y_high"}}
    return {"mark": "area", "encoding": {**ends, "fill": _by_line(_COLOURS, None), "opacity": _faded(0.15, 0.02)}}


def _line(y: Scale) -> Record:
    """The lines; a click on the legend fades all but one, and with the shift key all but several."""
    params = [{"name": "picked", "select": {"type": "point", "fields": ["line"]}, "bind": "legend"}]
    columns = {"expr": "width < 500 ? 1 : width < 750 ? 2 : 3"}
    legend = {"title": None, "orient": "bottom", "columns": columns, "labelLimit": {"expr": "min(width - 30, 300)"}}
    looks = {"color": _by_line(_COLOURS, legend), "strokeDash": _by_line(DASHES, legend)}
    encoding = {"y": _axis("y_middle", y), **looks, "opacity": _faded(1.0, 0.1)}
    return {"params": params, "mark": {"type": "line", "strokeWidth": 1.8}, "encoding": encoding}


def _points(y: Scale, told: str) -> Record:
    """The point nearest to the pointer, wherever that is, and its tooltip.

    Vega-Lite 6 looks for the fields of a tooltip on the cell around a point, not on the point: hence an expression.
    """
    near = {"type": "point", "nearest": True, "fields": ["line", "x"], "on": "pointermove", "clear": "pointerout"}
    opacity = {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}
    looks = {"fill": _by_line(_COLOURS, None), "opacity": opacity}
    return {
        "params": [{"name": "near", "select": near}],
        "mark": {"type": "point", "size": 60, "strokeWidth": 0, "tooltip": {"expr": told}},
        "encoding": {"y": _axis("y_middle", y), **looks},
    }


def _faded(shown: float, other: float) -> Record:
    return {"condition": {"param": "picked", "value": shown}, "value": other}
