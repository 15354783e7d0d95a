"""The workers of a benchmark as forks of the benchmark itself, which has imported all that they import."""

import inspect
import os
import runpy
import subprocess
import sys
import traceback
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

import jax

PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
"""The ends of pipes, as ``subprocess`` calls them."""

STANDARD = {"p2cread": 0, "c2pwrite": 1, "errwrite": 2}
"""Those that become the standard streams of a process."""


def fork_workers() -> None:
    """In this process, from now on; others that it starts, whose start is timed, are started as ever."""
    subprocess.Popen = Forked  # type: ignore[misc]


class Forked(subprocess.Popen[Any]):
    """``python -m MODULE WORD...`` in a fork of this process, which must not have used JAX's devices."""

    def _execute_child(self, *given: Any) -> None:
        start = super()._execute_child  # type: ignore[misc]
        named = inspect.signature(start).bind(*given).arguments
        python, *words = named["args"]
        if [python, *words[:1]] != [sys.executable, "-m"] or not is_worker(words[1]):
            return start(*given)  # type: ignore[no-any-return]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            become(words[1:], named)
        self._child_created = True
        self._close_pipe_fds(*(named[end] for end in PIPES))  # type: ignore[attr-defined]
        return None


def is_worker(module: str) -> bool:
    """Whether its start is not what is measured."""
    return module == "benchmarks.common.device" or module.endswith(".measure")


def become(words: list[str], named: Mapping[str, Any]) -> NoReturn:
    """Runs a module in this process, and exits."""
    status = 1
    try:
        for end, number in STANDARD.items():
            if named[end] != -1:
                os.dup2(named[end], number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # the other workers' pipes, which would otherwise stay open
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        if named["start_new_session"]:
            os.setsid()
        os.chdir(named["cwd"])
        if named["env"] is not None:
            os.environ.clear()
            os.environ.update(named["env"])
            heed_environment()
        sys.argv = words
        warnings.simplefilter("ignore", RuntimeWarning)  # that the module has been imported, too
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as exit:
        status = exit.code if isinstance(exit.code, int) else bool(exit.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def heed_environment() -> None:
    """Sets what JAX has read from the environment when it was imported."""
    jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS"))
    jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR"))
    jax.config.update("jax_enable_compilation_cache", os.environ.get("JAX_ENABLE_COMPILATION_CACHE") != "false")
