"""benchmarks.profile end to end on tiny sizes, and on what a profiler and a compiler say of a GPU."""

import gzip
import json
import statistics
from pathlib import Path

import pytest

from benchmarks.common.device import UnavailableError
from benchmarks.profile import measure, report
from tests.benchmarks.running import results_of


@pytest.mark.slow
def test_profile_divides_a_gradients_time(tmp_path: Path) -> None:
    (record,) = results_of("profile", tmp_path, "--shapes=40x2x3x4")["records"]
    assert sum(record["parts"].values()) == pytest.approx(statistics.median(record["profiled"]))
    assert min(record["parts"].values()) > 0
    assert record["fresh_megabytes"] >= 0


def test_operations_are_known_by_their_name_in_the_program_wherever_the_profiler_gives_it(tmp_path: Path) -> None:
    kernel = {"ph": "X", "name": "sm90_gemm", "ts": 2e6, "dur": 1e6, "args": {"hlo_op": "cublas-gemm.1"}}
    again = kernel | {"name": "cublas-gemm.1"}  # the same on another line of the trace
    plain = {"ph": "X", "name": "fusion.3", "ts": 1e6, "dur": 1e6}
    trace = {"traceEvents": [kernel, again, plain, {"ph": "M", "name": "thread_name"}]}
    (tmp_path / "host.trace.json.gz").write_bytes(gzip.compress(json.dumps(trace).encode()))
    assert measure.read_events(tmp_path) == [("fusion.3", 1, 1), ("cublas-gemm.1", 2, 1)]


def test_a_librarys_products_are_products() -> None:
    text = """
%body (p: f32[2]) -> f32[2] {
  %cublas-gemm.1 = (f32[2]) custom-call(%p), custom_call_target="__cublas$gemm"
  %fusion.3 = f32[2] fusion(%cublas-gemm.1), kind=kLoop, calls=%add
}

ENTRY %main (p: f32[2]) -> f32[2] {
  %while.5 = f32[2] while(%p), condition=%less, body=%body
}
"""
    (loop,) = measure.find_loops(text)
    assert loop.products == {"cublas-gemm.1"}
    assert loop.operations == {"cublas-gemm.1", "fusion.3"}


def test_what_cannot_be_divided_is_said() -> None:
    loop = measure.Loop({"fusion.3"}, set())
    with pytest.raises(UnavailableError, match="names no operation of a loop"):
        measure.spans([("other", 0.0, 1.0)], loop, 1)
    with pytest.raises(UnavailableError, match="the program has 1 loops"):
        measure.divide([(1.0, 0.5)], 2.0)
    record = {"cell": "lstm", "shape": [2, 3, 4, 5], "seconds": [1.0], "profiled": [1.0], "skipped": "a reason"}
    assert "Skipped: lstm  2x3x4x5: a reason.\n" in report.write([record])
    assert report.find([record]) == "What the profiler tells does not divide a gradient's time here."
