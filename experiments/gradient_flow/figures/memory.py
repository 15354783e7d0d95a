"""What flows along the memory of an LSTM and its kin, beside what flows through the hidden state."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.common import frames
from experiments.common.workdir import Record
from experiments.gradient_flow.figures import curves as c
from experiments.gradient_flow.figures.curves import Curves


def hidden_and_memory(records: Sequence[Record]) -> Figure | None:
    """dL/dh_t beside dL/dc_t, before and after training."""
    by_field = {field: c.state_norms(records, field=field) for field in ("hidden", "cell")}
    if not by_field["cell"]:
        return None
    hidden, memory = (c.first_and_last(c.shallowest(c.typical(norms, "step"))) for norms in by_field.values())
    loss = next(iter(memory)).loss
    figure, panels = c.panels(len(memory), c.LAG[loss])
    ratios = []
    for axes, (curve, norms) in zip(panels, memory.items(), strict=True):
        lines = {r"$\partial L/\partial h_t$": hidden[curve], r"$\partial L/\partial c_t$": norms}
        c.draw_by_lag(axes, [(label, array[:, 0]) for label, array in lines.items()])
        ratios.append(10 ** float(np.nanmedian(frames.log10(norms[:, 0]) - frames.log10(hidden[curve][:, 0]))))
        when = f"{curve.name}, {c.phase(curve)}"
        axes.set_title(f"{when}\nfactor {ratios[-1]:.2g}", loc="left", fontsize=10)
        c.label_left(axes, r"$\log_{10}$ norm, layer 1")
    panels[0].legend(frameon=False, fontsize=9)
    c.title(
        figure,
        f"The norm of dL/dc is {c.span(ratios, '.2g')} times that of dL/dh (median over lags):\n"
        "h alone shows but a part of what flows back",
    )
    return figure


def carousel(records: Sequence[Record]) -> Figure | None:
    """The product of the forget gates beside the derivative of the last memory in all."""
    direct, total = (
        _of_gates(c.shallowest(c.typical(curves, "initialization", "step")) if curves else {})
        for curves in (c.read(records, "carousel", quantity) for quantity in ("direct", "total"))
    )
    if not direct:
        return None
    figure, panels = c.panels(len(direct), "lag (steps back from the last)")
    shares, several = [], len({curve.initialization for curve in direct}) > 1
    for axes, (curve, gates) in zip(panels, direct.items(), strict=True):
        lines = {"product of the forget gates": gates, r"$\partial c_T/\partial c_t$, all ways": total[curve]}
        c.draw_by_lag(axes, [(label, array[:, 0]) for label, array in lines.items()])
        along, all_ways = (c.half_lives({curve: array})[curve] for array in lines.values())
        shares.append(1.0 if np.isinf(along) else along / all_ways)
        name = curve.initialization if several else c.phase(curve)
        axes.set_title(
            f"{curve.network}, {name}\n{c.number(along)}, all ways {c.number(all_ways)} steps", loc="left", fontsize=10
        )
        c.label_left(axes, r"$\log_{10}$ root mean square of units")
    panels[0].legend(frameon=False, fontsize=8)
    c.title(
        figure,
        f"The forget gates alone give {c.span(shares, '.0%')} of the half-life of ∂c_T/∂c_t;\n"
        "the rest comes by ways that leave the carousel, through h",
    )
    return figure


def _of_gates(curves: Curves) -> Curves:
    """Before training, those that differ in their gates; if there is one such only, before and after."""
    kinds = (*c.USUAL, "forget_bias", "chrono")
    gates = {curve: array for curve, array in curves.items() if curve.initialization.partition(":")[0] in kinds}
    if len({curve.initialization for curve in gates}) > 1:
        return {curve: array for curve, array in gates.items() if curve.step == 0}
    return c.first_and_last(gates) if gates else {}
