"""Settings of all tests: no promotion of dtypes or ranks, warnings as errors (pyproject.toml), 64 bits on request."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator

import hypothesis
import jax
import pytest

from rnnjax import Cell
from tests import one_context
from tests.cases import CELL_CASES, FEW, TYPICAL

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests, and the experiments and benchmarks that they start, compile far more than they run. They take half of the time
# without XLA's newer code generator, which jaxlib 0.11.2 and later always use. Programs as small as these are not
# worth dividing among LLVM's threads, and LLVM need not optimize them. XLA_FLAGS= in the environment undoes all this.
# A jaxlib that does not know one of them ends the process (see pytest_configure).
COMPILE_SOON = (
    *(["--xla_cpu_use_fusion_emitters=false"] if jax.__version_info__ < (0, 11) else []),
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
)
os.environ.setdefault("XLA_FLAGS", " ".join(COMPILE_SOON))
# Threads of PyTorch and of SciPy's LAPACK wait for each other in busy loops, and take up to hundreds of times as long
# where others want the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
jax.config.update("jax_include_full_tracebacks_in_locations", False)  # where in Python each operation is from
jax.config.update("jax_traceback_in_locations_limit", 0)  # the same; both take time
jax.config.update("jax_num_cpu_devices", 2)  # the second is for tests/sequence/test_sharding.py

renew_context = one_context.share()

# What JAX keeps of its programs is never garbage: to look through it again and again took a twentieth of the time.
gc.set_threshold(100_000, 20, 20)

hypothesis.settings.register_profile(
    "rnnjax",
    deadline=None,  # the first example compiles
    max_examples=20,
    derandomize="CI" in os.environ,
    # The fixture x64 may stay in force from one example to the next.
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("rnnjax")


def pytest_configure(config: pytest.Config) -> None:
    """A program is compiled once for all processes, and stays in pytest's cache for the next time."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        if hasattr(config, "cache"):
            folder = str(config.cache.mkdir("compiled"))
        else:
            folder = tempfile.mkdtemp(prefix="rnnjax-compiled-")
            config.add_cleanup(lambda: shutil.rmtree(os.environ.pop("JAX_COMPILATION_CACHE_DIR"), ignore_errors=True))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])  # here, as in those started
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    if not hasattr(config, "workerinput"):
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            jax.devices()  # what a jaxlib says of a flag that it does not know is seen


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow is what needs a whole run of an experiment, and a claim about many cells but for a few."""
    cells: dict[str, set[str]] = {}
    for item in items:
        cells.setdefault(item.nodeid.split("[")[0], set()).update(_cells(item))
    for item in items:
        of_many = len(cells[item.nodeid.split("[")[0]]) >= len(TYPICAL)
        if {"finished", "swept"} & set(getattr(item, "fixturenames", ())) or (of_many and _cells(item) - set(FEW)):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What has been imported and collected stays."""
    gc.freeze()


def _cells(item: pytest.Item) -> set[str]:
    """The names of cells among a test's parameters."""
    values = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    return {value for value in values if isinstance(value, str) and value in CELL_CASES}


@pytest.fixture(autouse=True, scope="module")
def no_program_stays() -> Iterator[None]:
    """What one file has compiled no other needs; kept, it took gigabytes and a tenth of the time."""
    yield
    jax.clear_caches()
    renew_context()


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 in JAX for this test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=list(CELL_CASES))
def cell(request: pytest.FixtureRequest) -> Cell:
    """Every cell there is, one after the other."""
    return CELL_CASES[request.param]()


@pytest.fixture(params=TYPICAL)
def typical_cell(request: pytest.FixtureRequest) -> Cell:
    """One of each kind, for what depends on the cell's kind alone."""
    return CELL_CASES[request.param]()
