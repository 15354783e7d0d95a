"""Tables, sentences and verdict of the music experiment, from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.common import frames
from experiments.common.workdir import Record
from experiments.music.corpus import BAR
from experiments.music.counting import COUNTED
from experiments.music.outputs import JOINT
from rnnjax.measure.decay import first_lag_below

PUBLISHED = {"RNN": 8.91, "LSTM": 8.45, "GRU": 8.43, "GRU, tuned": 8.20, "TCN": 8.10, "best of all": 7.72}
"""Nats a frame on the published split with sigmoids, by Bai et al. (2018); "GRU, tuned" and the best are Neumann's."""

PUBLISHED_JOINT = {"RNN-NADE": 5.56}
"""Nats a frame with a joint output, by Boulanger-Lewandowski et al. (2012)."""

SPLIT = {"train_chorales": 229, "valid_chorales": 76, "test_chorales": 77, "test_frames": 4725}
"""The sizes by which the published split is recognized, whatever its file is called."""

PHASES = frames.PHASES

SHARE = 0.1
"""The share of a gradient that is looked for in the columns "a tenth"."""


def results(records: Sequence[Record]) -> pd.DataFrame:
    """How each run ended: counts of notes first, then networks by their loss in the test part, joint outputs last."""
    found = frames.frame(records, "result", dtype=np.float64)
    found = found.assign(joint=found["network"].str.endswith(f":{JOINT}"), counted=found["network"].isin(COUNTED))
    mean = -found.groupby("network")["test"].transform("mean")
    order = found.assign(mean=mean).sort_values(["joint", "counted", "mean"], ascending=[True, False, True])
    return order.drop(columns="mean")


def of_networks(records: Sequence[Record], kind: str, **options: Any) -> pd.DataFrame:
    """The records of a kind, with networks in the order of ``results``."""
    found = frames.frame(records, kind, **options)
    if found.empty:
        return found
    order = {network: place for place, network in enumerate(results(records)["network"].unique())}
    return found.sort_values("network", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def by_sigmoids(ends: pd.DataFrame) -> pd.DataFrame:
    """The results of networks with sigmoids."""
    return ends[~ends["joint"] & ~ends["counted"]]


def is_published(records: Sequence[Record]) -> bool:
    """Whether the data are the split for which figures are published."""
    first = results(records).iloc[0]
    return all(first[name] == count for name, count in SPLIT.items())


def flows(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run and phase, with the typical norms over chorales as ``norms``, and their decay."""
    found = of_networks(records, "flow")
    return found if found.empty else found.assign(norms=found["typical"]).join(frames.decays(found["typical"]))


def contexts(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run and number of frames read, with the loss, and how much more it is than with most frames."""
    found = of_networks(records, "context", dtype=np.float64)
    if found.empty:
        return found
    least = found.loc[found.groupby("run")["frames"].idxmax()].set_index("run")["loss"]
    return found.assign(more=found["loss"] - found["run"].map(least))


# Sentences


def setting(records: Sequence[Record]) -> str:
    """The data, and how much there is of them."""
    first, seeds = results(records).iloc[0], results(records)["seed"].nunique()
    counts = ", ".join(
        f"{first[f'{part}_chorales']} chorales of {first[f'{part}_frames']:,} frames to {purpose}"
        for part, purpose in (("train", "train on"), ("valid", "choose by"), ("test", "test on"))
    )
    known = f"{first['known_tunes']:.0f}" if first["known_tunes"] else "none"
    return (
        f"{first['source']}: {counts}; {known} of the test chorales have a tune that is also in training, in another "
        f"setting or key. A frame is a quarter note. That a bar has four of them is {first['bars']}. "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}.{teaching(records)}"
    )


def teaching(records: Sequence[Record]) -> str:
    """Who has taught the networks, if anyone has."""
    ends = results(records)
    if "teacher" not in ends or ends["teacher"].isna().all():
        return ""
    first = ends.dropna(subset="teacher").iloc[0]
    return (
        f" The networks were taught what really sounds and, with a weight of {first['teacher_share']:g}, how probable "
        f"each key is by the network in {first['teacher']}, which has read the chorales in all keys."
    )


def table(records: Sequence[Record]) -> str:
    """How each network ended, mean and range over seeds, as a Markdown table."""
    rows = []
    for network, seeds in results(records).groupby("network", sort=False):
        trained = network not in COUNTED
        rows.append(
            {
                "network": network,
                "output": "joint" if seeds["joint"].iloc[0] else "sigmoids" if trained else "counted",
                "params": f"{seeds['params'].iloc[0]:,.0f}" if trained else "-",
                "test, nats a frame": nats(seeds["test"]),
                "test, in all keys": nats(seeds["test_in_keys"]) if "test_in_keys" in seeds else "-",
                "validation": nats(seeds["valid"]),
                "training": nats(seeds["train"]),
                "best after steps": frames.span(seeds["step"], ",.0f") if trained else "-",
            }
        )
    return frames.table(rows, {"network", "output"})


def nats(values: pd.Series, digits: int = 2) -> str:
    """Mean and range over seeds."""
    if values.isna().any():
        return "-"
    ends = frames.span(values, f".{digits}f")
    return f"{values.mean():.{digits}f} ({ends})" if " to " in ends else ends


def best(records: Sequence[Record]) -> str:
    """The network with the least validation loss, of those with sigmoids if there are any."""
    ends = by_sigmoids(results(records))
    ends = results(records) if ends.empty else ends
    return str(ends.groupby("network", sort=False)["valid"].mean().fillna(np.inf).idxmin())


def verdict(records: Sequence[Record]) -> str:
    """Which network predicts best, beside published figures and counts, and how far back it hears."""
    ends, name = results(records), best(records)
    told = [best_in_test(records)]
    in_keys = ends[ends["network"] == name].get("test_in_keys", pd.Series([np.nan]))
    if in_keys.notna().all():
        told.append(f"If its logits are averaged over readings in all keys of its training, it loses {nats(in_keys)}")
    counted = ends[ends["counted"]]
    if len(counted):
        beside = " and ".join(f"{row['test']:.2f} ({row['network']})" for _, row in counted.iterrows())
        told.append(f"Counting notes loses {beside}")
    if is_published(records):
        others = ", ".join(f"{loss:.2f} ({other})" for other, loss in PUBLISHED.items())
        told.append(f"Published losses on the same split are {others}")
    for network, seeds in ends[ends["joint"]].groupby("network", sort=False):
        beside = ", ".join(f"{loss:.2f} ({other})" for other, loss in PUBLISHED_JOINT.items())
        also = f", and published is {beside}" if is_published(records) else ""
        told.append(f"With a joint output, whose loss is another measure, {network} loses {nats(seeds['test'])}{also}")
    told.append(reaches(records))
    told += costs(records)
    return ". ".join(each for each in told if each) + "."


def best_in_test(records: Sequence[Record]) -> str:
    """The network with the least validation loss, and its loss in the test part."""
    ends, name = results(records), best(records)
    among = "" if by_sigmoids(ends).empty else "Of the networks with sigmoids, "
    return (
        f"{among}{name} has the least validation loss; it loses {nats(ends[ends['network'] == name]['test'])} nats a "
        "frame in the test part"
    )


def lag_in_words(lags: Sequence[float], farthest: int) -> str:
    """Lags from the least to the greatest, in beats and bars: "3 to 5 beats, 0.75 to 1.25 bars"."""
    if np.isnan(list(lags)).any():
        return "-"
    told = []
    for unit, length in (("beat", 1), ("bar", BAR)):
        ends = [
            f"beyond {farthest / length:.3g}" if np.isinf(lag) else f"{lag / length:.3g}"
            for lag in (min(lags), max(lags))
        ]
        spread = ends[0] if ends[0] == ends[1] else " to ".join(ends)
        told.append(f"{spread} {unit if spread == '1' else f'{unit}s'}")
    return ", ".join(told)


def reaches(records: Sequence[Record]) -> str:
    """The lag at which a tenth of each network's gradient is left, after training and before."""
    found = flows(records)
    if found.empty:
        return ""
    told, farthest = [], len(found["norms"].iloc[0]) - 1
    for network, seeds in found.groupby("network", sort=False):
        lags = {phase: list(of_phase["tenth_lag"]) for phase, of_phase in seeds.groupby("phase", sort=False)}
        after, before = (lag_in_words(lags[phase], farthest) for phase in ("trained", "initialization"))
        told.append(f"{network} {after} (before training {before})")
    return f"After training, a tenth of a frame's gradient is left at these lags: {'; '.join(told)}"


def spread_table(records: Sequence[Record]) -> str:
    """The lags at which a half and a tenth of the gradient are left, as a Markdown table."""
    rows = []
    for (network, phase), seeds in flows(records).groupby(["network", "phase"], sort=False):
        row = {"network": network, "when": PHASES[phase]}
        for share, told in ((0.5, "a half"), (SHARE, "a tenth")):
            lags = [first_lag_below(norms, share) for norms in _of_chorales(seeds)]
            values = np.array([np.inf if lag is None else lag for lag in lags], float)
            row[f"{told}, typical (beats)"] = frames.lags(seeds["half_lag" if share == 0.5 else "tenth_lag"])
            ends = np.quantile(values, (0.1, 0.5, 0.9), method="nearest")
            row[f"{told}, of single chorales (10, 50, 90 %)"] = ", ".join(
                "never" if np.isinf(end) else f"{end:.0f}" for end in ends
            )
        rows.append(row)
    return frames.table(rows, {"network", "when"})


def _of_chorales(seeds: pd.DataFrame) -> list[np.ndarray]:
    """The norms (T,) of each chorale and seed."""
    return [norms for of_seed in seeds["chorales"] for norms in np.asarray(of_seed, np.float32).T]


def costs(records: Sequence[Record]) -> list[str]:
    """What it costs the best network to read fewer frames."""
    found = contexts(records)
    name = best(records)
    found = found[found["network"] == name] if len(found) else found
    if found.empty:
        return []
    most = int(found["frames"].max())
    told = [
        f"{frames.span(seeds['more'], 'z.2f')} for n = {int(heard)}"
        for heard, seeds in found[found["frames"] < most].groupby("frames")
    ]
    about = f"If {name} starts from its initial state n beats before a frame instead of {most}, it loses more nats"
    return [f"{about} a frame: {', '.join(told)}"] if told else []
