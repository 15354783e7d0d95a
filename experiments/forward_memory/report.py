"""Figures, table and verdict of the forward_memory experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record

DOZEN = 12  # steps: "typically forgotten in a dozen or so timesteps", says the lecture, or else outputs blow up
_GROWN, _SATURATED = 3.0, 0.1  # what counts as blown up, times the size at step 100, and as saturated, of the units
_RUN = ["cell", "activation", "initialization", "seed"]
_WORDS = {"default": "", "orthogonal:": "radius ", "forget_bias:": "forget bias "}
_WORDS |= {r"^elman identity$": "linear", r"^elman ": "", r"^gru\b": "GRU", r"^lstm\b": "LSTM", r" -$": ""}
_FIELDS = {  # of the records of a kind, and of what they are measured
    "norms": ("derivative", "forward", "backward", "exact"),
    "r_squared": ("recall", "measured", "exact"),
    "capacity": ("recall", "measured"),
}
_WIDE = {"color": "#e69f00", "linewidth": 5, "alpha": 0.4, "zorder": 0}
_SPREAD = "lines: medians, shade: range over seeds"


def read(records: Sequence[Record]) -> pd.DataFrame:
    """One row for each run, networks in order; NaN where nothing was measured, as the recall of overflowing states."""
    runs = frames.frame(records, "size")
    for field, (kind, *of) in _FIELDS.items():
        rows = frames.frame(records, kind).reindex(columns=[*_RUN, "of", field])
        by_what = rows.pivot(index=_RUN, columns="of", values=field).reindex(columns=of)
        runs = runs.join(by_what.add_suffix(f" {field}"), on=_RUN)
    runs["family"] = (runs["cell"] + " " + runs["activation"]).replace(_WORDS, regex=True)
    runs["setting"] = runs["initialization"].replace(_WORDS, regex=True)
    runs["value"] = pd.to_numeric(runs["setting"].str.split().str[-1]).fillna(0)
    runs["gated"] = runs["cell"] != "elman"
    return runs.sort_values(["gated", "cell", "activation", "value", "seed"], ignore_index=True)


def findings(runs: pd.DataFrame) -> pd.DataFrame:
    """One row for each network: geometric means over seeds of rates, the range of forgetting, medians of the rest.

    dh_T/dx_t ``fades`` if it vanishes in most seeds.
    """
    forward, backward = (frames.decays(runs[f"{of} norms"]) for of in ("forward", "backward"))
    numbers = runs[["activation", "family", "setting", "saturated"]].assign(
        forgotten=runs["measured r_squared"].map(forgotten_after, na_action="ignore").astype(float),
        capacity=runs["measured capacity"].astype(float),
        forward=np.log(forward["asymptotic_rate"]),  # what a step back multiplies dh_T/dx_t by
        backward=np.log(backward["asymptotic_rate"]),  # and what it multiplies dL/ds_t by
        vanishes=(forward["verdict"] == "vanishes").astype(float),
        growth=list(map(growth, runs["steps"], runs["sizes"])),
    )
    networks = numbers.groupby(["activation", "family", "setting"], sort=False)
    found = networks.median().assign(fades=networks["vanishes"].mean() > 0.5)
    for way in ("forward", "backward"):
        found[way] = np.exp(networks[way].mean())
        found[f"{way} range"] = networks[way].agg(lambda logs: frames.rates(np.exp(logs)))
    forgotten = networks["forgotten"]
    found = found.assign(least=forgotten.min(), forgotten=forgotten.max()).reset_index()
    found["forgotten range"] = forgotten.agg(frames.lags).to_numpy()
    found["name"] = (found["family"] + " " + found["setting"]).str.strip()
    fates = {"blow up": found["growth"] > _GROWN, "saturate": found["saturated"] > _SATURATED}
    found["fate"] = np.select(list(fates.values()), list(fates), "stay as they are")
    return found


def forgotten_after(r_squared: np.ndarray) -> float:
    """Steps until less than half of an input's variance can be read off the state (lags,); inf if that is never so."""
    below = r_squared < 0.5
    return float(np.argmax(below)) if below.any() else np.inf


def growth(steps: np.ndarray, sizes: np.ndarray) -> float:
    """The factor by which outputs grow from step 100 to the last; their size is NaN from where it overflows."""
    limits, sizes = np.finfo(sizes.dtype), np.nan_to_num(sizes, nan=np.inf)
    return float(sizes[-1] / sizes[np.argmax(steps >= min(100, steps[-1]))].clip(limits.tiny, limits.max))


def table(records: Sequence[Record]) -> str:
    """Every network, as a Markdown table."""
    found = findings(read(records))
    columns = {
        "network": found["family"],
        "setting": found["setting"],
        "half forgotten after (steps)": found["forgotten range"],
        "capacity": found["capacity"].map("{:.1f}".format).replace("nan", "-"),
        "dh_T/dx_t a step": found["forward range"],
        "dL/ds_t a step": found["backward range"],
        "outputs grow by": found["growth"].map("{:.3g}".format).replace("inf", "overflow"),
        "saturated": found["saturated"].map("{:.0%}".format),
    }
    return frames.table(pd.DataFrame(columns), {"network", "setting"})


def verdict(records: Sequence[Record]) -> str:
    """The lecture's claims judged: inputs are forgotten in a dozen steps, or else outputs saturate or blow up."""
    return " ".join(f"{sentence}." for sentence in _sentences(findings(read(records))).values() if sentence)


def _sentences(found: pd.DataFrame) -> dict[str, str]:
    """The sentences of the verdict, by what they are about; empty where there is nothing to say."""
    bounded = found.query("activation != 'identity' and fate != 'blow up'")
    ends = frames.lags([*bounded["least"], *bounded["forgotten"]]) if len(bounded) else ""
    soon = sum(bounded["forgotten"] <= DOZEN)
    shares = found["saturated"].map(" ({:.0%} of units)".format).where(found["fate"] == "saturate", "")
    lasting = (found["name"] + shares)[~found["fades"]].groupby(found["fate"], sort=False)
    fates = "; they ".join(f"{fate} in {', '.join(names)}" for fate, names in lasting)
    alike = found[found["setting"] == "radius 1"]
    factors = ", ".join(alike["forward"].map("{:.2f}".format) + " in " + alike["family"]) if len(alike) > 1 else ""
    gap = (found["forward"] - found["backward"]).abs().max()
    return {
        "recall": f"{soon} of {len(bounded)} nonlinear networks that do not blow up forget half of an input within "
        f"{DOZEN} steps (range over all of them: {ends})"
        if ends
        else "",
        "fates": f"Where dh_T/dx_t does not fade, outputs {fates}" if fates else "In all networks dh_T/dx_t fades",
        "factors": "Where all eigenvalues of the recurrent kernel have modulus 1, a step back multiplies dh_T/dx_t by "
        f"{factors}"
        if factors
        else "",
        "gap": f"The factors by which a step back multiplies dL/ds_t and dh_T/dx_t differ by at most {gap:.3f}",
    }


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    return page.filled(__file__, verdict=verdict(records), table=table(records))


def recall_by_lag(records: Sequence[Record]) -> Figure | None:
    """A panel for each kind of network: how much of an input a linear readout recovers, against lag."""
    runs = read(records).dropna(subset="measured r_squared")
    if runs.empty:
        return None
    last = max(np.flatnonzero(curve > 0.02).max(initial=DOZEN) for curve in runs["measured r_squared"])
    figure, panels = drawing.panels(runs["family"].nunique(), across=3, size=(3.5, 2.6))
    for axes, (family, kin) in zip(panels, runs.groupby("family", sort=False), strict=True):
        for look, (setting, rows) in zip(drawing.styles(), kin.groupby("setting", sort=False), strict=False):
            lags, theory = np.arange(len(rows["measured r_squared"].iloc[0])), rows["exact r_squared"].dropna()
            drawing.band(axes, lags, frames.stacked(rows["measured r_squared"]), look, setting or family)
            if len(theory):
                drawing.band(axes, lags, frames.stacked(theory), drawing.CIRCLES | {"markevery": 4}, "theory")
        axes.axvline(DOZEN, color=drawing.GREY, linewidth=3, alpha=0.4, zorder=0)
        axes.set(xlim=(-1, 1.05 * last), ylim=(-0.1, 1.05))
        axes.legend(frameon=False, fontsize=9)  # by setting: most curves end at 0
        ends = findings(kin)[["least", "forgotten"]]
        drawing.head(axes, f"{family}: half forgotten at lag {frames.lags(ends.to_numpy().ravel())}")
    x, y = f"lag (steps); {_SPREAD}; grey: a dozen steps", "R² of reading x at that lag from the state"
    return drawing.caption(figure, _sentences(findings(runs))["recall"], x, y)


def derivative_by_lag(records: Sequence[Record]) -> Figure:
    """A panel for each kind of network: dh_T/dx_t and dL/ds_t against lag, both relative to lag 0."""
    runs = read(records)
    figure, panels = drawing.panels(runs["family"].nunique(), across=3, size=(3.5, 2.6))
    for axes, (family, kin) in zip(panels, runs.groupby("family", sort=False), strict=True):
        for look, (setting, rows) in zip(drawing.styles(), kin.groupby("setting", sort=False), strict=False):
            name = f"{setting or family}: {findings(rows)['forward'].item():.2f} a step"
            drawing.by_lag(axes, rows["forward norms"], look, name, relative=True)
            drawing.by_lag(axes, rows["backward norms"], drawing.CIRCLES | {"markevery": 10}, relative=True)
            if rows["exact norms"].notna().any():
                drawing.by_lag(axes, rows["exact norms"], _WIDE, relative=True)
        axes.set_ylim(-10, 6)
        drawing.head(axes, family)
        drawing.legend(axes)
    x = rf"lag T - t (steps); {_SPREAD}; circles: $\|\partial L / \partial s_t\|$; wide: exact, for linear networks"
    y = r"$\log_{10}$ of $\|\partial h_T / \partial x_t\|$, relative to lag 0"
    return drawing.caption(figure, _sentences(findings(runs))["gap"], x, y)


def size_by_step(records: Sequence[Record]) -> Figure:
    """A panel for each kind of network: the size of its outputs against time."""
    runs = read(records)
    figure, panels = drawing.panels(runs["family"].nunique(), across=3, size=(3.5, 2.6))
    for axes, (family, kin) in zip(panels, runs.groupby("family", sort=False), strict=True):
        for look, (setting, rows) in zip(drawing.styles(), kin.groupby("setting", sort=False), strict=False):
            name = f"{setting or family}{'' if findings(rows)['fades'].item() else ' *'}"
            drawing.band(axes, rows["steps"].iloc[0], np.log10(frames.stacked(rows["sizes"])), look, name)
        axes.set(xscale="log", ylim=(-1.5, 5))
        drawing.head(axes, family)
        axes.legend(frameon=False, fontsize=9)
    x = rf"step t; {_SPREAD}; *: $\|\partial h_T / \partial x_t\|$ does not fade"
    y = r"$\log_{10}$ of the root mean square of $h_t$"
    return drawing.caption(figure, _sentences(findings(runs))["fates"], x, y)


FIGURES: drawing.Figures = (recall_by_lag, derivative_by_lag, size_by_step)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/forward_memory")
