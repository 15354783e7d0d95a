"""Starting an experiment: flags, and errors that a person can act on."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags


class ExperimentError(Exception):
    """Something the person at the keyboard can mend: shown in a line, without a traceback."""


@contextlib.contextmanager
def explained(*kinds: type[Exception]) -> Iterator[None]:
    """Turns those kinds of exception, raised by checks of what a person gave, into an ``ExperimentError``."""
    try:
        yield
    except kinds as error:
        raise ExperimentError(str(error)) from error


def run(main: Callable[[], None]) -> None:
    """Parses the flags, calls ``main`` and exits: 1 after an ``ExperimentError``, 130 after Ctrl-C."""

    def guarded(arguments: list[str]) -> int:
        if arguments[1:]:
            return _fail(f"unexpected argument {arguments[1]!r}: everything is a flag, as in --workdir=runs/mine")
        try:
            main()
        except ExperimentError as error:
            return _fail(str(error))
        except OSError as error:
            return _fail(f"{error}; what was finished before is kept: mend this and run the same command again")
        except KeyboardInterrupt:
            print("\ninterrupted; run the same command again to continue where it stopped", file=sys.stderr)
            return 130
        return 0

    _use_compilation_cache()
    logging.set_verbosity(logging.ERROR)  # orbax tells of every step of a save
    app.run(guarded, flags_parser=_parse)


def define_config(default: Path) -> flags.FlagHolder[ConfigDict]:
    """The flag --config=FILE or FILE:VARIANT, and a flag --config.FIELD for each of the config's fields."""
    # Fields given without a --config are looked up in the default config here and now.
    with _unknown_fields_answered():
        return config_flags.DEFINE_config_file("config", str(default), "Configuration, FILE or FILE:VARIANT.")


def loaded(holder: flags.FlagHolder[ConfigDict]) -> ConfigDict:
    """The value of a config flag; an ``ExperimentError`` if its file could not be read."""
    config = holder.value
    try:
        config.to_dict()
    except Exception as error:  # whatever the file raised: ml_collections keeps it until somebody looks
        raise ExperimentError(f"the config could not be read: {_last_line(error)}") from error
    return config


def _parse(arguments: list[str]) -> list[str]:
    try:
        with _unknown_fields_answered():
            remaining: list[str] = flags.FLAGS(arguments)
            return remaining
    except flags.Error as error:
        message = _last_line(error)
        message = re.sub("invalid literal for int.*", "expected a whole number", message)
        message = re.sub("could not convert string to float.*", "expected a number", message)
    except (OSError, SyntaxError, TypeError, ValueError) as error:
        message = f"the config could not be read: {_last_line(error)}"
    sys.exit(_fail(f"{message}; all flags: --helpfull"))


@contextlib.contextmanager
def _unknown_fields_answered() -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError) as error:  # what ml_collections raises for an unknown field
        words = str(error).replace("\\'", "").replace("\\n", ": ").strip("'\"")
        sys.exit(_fail(f"unknown config field {words}; all flags: --helpfull"))


def _last_line(error: Exception) -> str:
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1]


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


def compiler_options() -> dict[str, str | bool]:
    """For ``jax.jit``: on a CPU LLVM at -O1, which compiles in less time than at XLA's -O3; networks run as fast."""
    return {"xla_backend_optimization_level": "1"} if jax.default_backend() == "cpu" else {}


def _use_compilation_cache() -> None:
    """Compiled programs are kept between runs, in JAX's own cache; JAX_COMPILATION_CACHE_DIR moves it."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rnnjax" / "compiled"
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
