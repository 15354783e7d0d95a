"""How long does a whole gradient-flow study take, from process start, here and in PyTorch, and where does time go?

    python -m benchmarks.study
    python -m benchmarks.study --quick
    python -m benchmarks.study --cells=lstm,gru --depths=1,8 --seeds=100 --devices=1,4

The study measures ||dL/dh_t|| at every step and layer, for a loss at the last step, of six cells at three depths with
twenty seeds at initialization. Two scripts do the same: ``benchmarks.study.in_rnnjax``, with an empty and with a filled
cache of compiled programs, and ``benchmarks.study.in_torch``. Each command is a process of its own, and is timed from
outside. The commands take turns, and each records what its threads did and when.
"""

from absl import app, flags

from benchmarks.common import arguments, command, machine
from benchmarks.common.device import Device
from benchmarks.common.pytorch import why_no_torch
from benchmarks.study import report, script
from benchmarks.study.measure import Effort, measure
from benchmarks.study.script import CELLS, Settings
from rnnjax.names import lookup

QUICK = {"steps": 10, "batch": 2, "hidden": 4, "depths": ["1"], "seeds": 2, "rounds": 1, "repeats": 2}
ACCELERATOR = {"batch": 64, "hidden": 256, "devices": ["1"]}

script.define_flags()
flags.DEFINE_list("devices", ["1", "2"], "Numbers of devices among which rnnjax divides the seeds.")
flags.DEFINE_integer(
    "torch_threads", 1, "PyTorch's threads; 0 takes its default. One is best for most products here.", lower_bound=0
)
flags.DEFINE_integer("rounds", 3, "How many times each command is run.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "How many times compiled programs are run again, to compare devices.", lower_bound=1)
command.define_flags("study", QUICK, ACCELERATOR)
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("study"):
        device = command.settle("study", QUICK, ACCELERATOR)
        for cell in FLAGS.cells:
            lookup("cell", cell, dict.fromkeys(CELLS))
        settings = script.settings()
        devices = device_counts(FLAGS.devices, settings, device)
        output = command.output_folder(argv)

    missing = why_no_torch(device)
    before = machine.describe(device, ["torch"])
    effort = Effort(FLAGS.rounds, FLAGS.repeats, FLAGS.torch_threads)
    records, again = measure(settings, devices, device, effort, with_torch=not missing)
    finding = "\n".join([*report.find(records, max(again)), *report.find_devices(again), *missing])
    chosen = settings._asdict() | effort._asdict()
    results = {"finding": finding, "machine": before, "settings": chosen, "records": records, "again": again}
    command.save(output, "study", results, f"{report.table(records)}\n\n{finding}\n", report.draw(records, finding))


def device_counts(texts: list[str], settings: Settings, device: Device) -> list[int]:
    """The numbers of devices among which the seeds are divided.

    Raises:
        ValueError: if one is not a whole number above 0, is more than JAX finds, or does not divide the seeds.
    """
    counts = arguments.whole_numbers("devices", texts)
    if uneven := [count for count in counts if settings.seeds % count]:
        raise ValueError(f"--devices has {uneven[0]}, among which {settings.seeds} seeds cannot be divided evenly")
    if not device.on_cpu and counts[-1] > device.available:
        raise ValueError(f"--devices has {counts[-1]}, JAX found {device}")
    return counts


if __name__ == "__main__":
    app.run(main)
