"""What flows along the memory of an LSTM and its kin, beside what flows through the hidden state."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing
from experiments.common.frames import changes, log10, span, stacked, unstacked
from experiments.common.workdir import Record
from experiments.gradient_flow import curves as c

_BY_FIELD = {"hidden": r"$\partial L/\partial h_t$", "cell": r"$\partial L/\partial c_t$"}
_BY_WAY = {"direct": "product of the forget gates", "total": r"$\partial c_T/\partial c_t$, over all paths"}


def hidden_and_memory(records: Sequence[Record]) -> Figure | None:
    """dL/dh_t beside dL/dc_t, before and after training."""
    by_field = {field: c.state_norms(records, field=field) for field in _BY_FIELD}
    memory = by_field["cell"]
    if memory.empty:
        return None
    memory = c.first_and_last(c.shallowest(c.typical(memory, "step")))
    hidden = by_field["hidden"].merge(memory[[*c.AXES, "seed"]])
    both = pd.concat([hidden, memory])
    both["panel"] = both["name"] + ", " + both["weights"]
    logs = both.groupby(["panel", "field"], sort=False)["norms"].agg(lambda norms: log10(stacked(norms))).unstack()
    ratios = (logs["cell"] - logs["hidden"]).map(lambda over: 10 ** np.nanmedian(over))
    found = (
        f"The gradient of c is {span(ratios, '.2g')} times as large as that of h (median over lags): "
        "h alone shows only a part of what flows back"
    )
    told = ratios.map("the memory's is {:.2g} times as large".format)
    fields = {"panel": "panel", "line": "field", "quantity": r"$\log_{10}$ norm of the gradient, layer 1"}
    return c.panels_by_lag(both, found, **fields, told=told, name=_BY_FIELD.__getitem__)[0]


def carousel(records: Sequence[Record]) -> Figure | None:
    """The product of the forget gates beside the derivative of the last memory over all paths."""
    curves = [c.curves(records, "carousel", way).assign(way=way) for way in _BY_WAY]
    if curves[0].empty:
        return None
    both = pd.concat([_of_gates(c.shallowest(c.typical(of_way, "initialization", "step"))) for of_way in curves])
    if both.empty:
        return None
    several = both["initialization"].nunique() > 1
    both["panel"] = both["network"] + ", " + both["initialization" if several else "weights"]
    both["left"] = changes(both["norms"])
    left = unstacked(both.groupby(["panel", "way"], sort=False)["left"].median())
    ends = left.map(drawing.power_of_ten)
    told = ends["direct"] + " left by the gates, " + ends["total"] + " over all paths"
    ahead = left.index[left["total"] - left["direct"] >= 1]  # none where both have underflowed
    found = (
        f"Over {both['sequence_length'].max() - 1} steps the gates and h together leave more than ten times as much of "
        f"the last memory's derivative as the forget gates alone in {len(ahead)} of {len(left)} networks "
        f"({'; '.join(ahead) or 'none'}){': there the rest flows through h' if len(ahead) else ''}"
    )
    quantity = "$\\log_{10}$ of $\\partial c_T/\\partial c_t$,\nroot mean square over units"
    ways = {"panel": "panel", "line": "way", "quantity": quantity, "lag": "lag (steps back from the last step)"}
    return c.panels_by_lag(both, found, **ways, told=told, name=_BY_WAY.__getitem__)[0]


def _of_gates(found: pd.DataFrame) -> pd.DataFrame:
    """Networks that differ in their gates, before training; if there is only one, before and after training."""
    kinds = found["initialization"].str.partition(":")[0]
    gates = found[kinds.isin([*c.USUAL, "forget_bias", "chrono"])]
    return gates[gates["step"] == 0] if gates["initialization"].nunique() > 1 else c.first_and_last(gates)
