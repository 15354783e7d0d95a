"""Starting an experiment: flags, help, and what is said about errors."""

import argparse
import contextlib
import gc
import importlib.util
import math
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from experiments.common import catalogue
from experiments.common.errors import AlreadyFinishedError, ExperimentError

LARGEST = {"seeds": 10_000, "depth": 10_000, "depths": 10_000, "layers": 10_000, "hidden_size": 1_000_000}
"""The largest number that these fields accept; all others accept 10^9. A number above that is a slip."""


def run_experiment(name: str, main: Callable[[ConfigDict], None]) -> None:
    """The command of an experiment: ``main`` with the config that the flags give, or the page of ``--help``.

    --config=FILE or --config=FILE:VARIANT gives another config file, and --config.FIELD=VALUE sets one of its fields,
    as in ml-collections. --variant=NAME chooses a variant.
    """
    given = _given(sys.argv, catalogue.config_path(name))
    if given.help:
        sys.exit(_show_help(given.file))
    # This call already looks up the fields, in the given config file or the default one.
    with _unknown_fields_answered():
        holder = config_flags.DEFINE_config_file(
            "config",
            str(catalogue.config_path(name)),
            "A config file, FILE or FILE:VARIANT; without it, that of the experiment.",
            sys_argv=given.arguments,
        )
    run(lambda: main(_loaded(holder, catalogue.config_path(name))), given.arguments)


def run(main: Callable[[], None], arguments: Sequence[str] | None = None) -> None:
    """Parses the flags, calls ``main`` and exits: 1 after an ``ExperimentError``, 130 after Ctrl-C or SIGTERM."""

    def without_words(words: Sequence[str]) -> None:
        if words:
            raise ExperimentError(f"unexpected argument {words[0]!r}: everything is a flag, as in --workdir=runs/mine")
        main()

    run_on_words(without_words, arguments)


def run_on_words(main: Callable[[Sequence[str]], None], arguments: Sequence[str] | None = None) -> None:
    """As ``run``, for a command that takes words beside its flags; ``main`` is called with these words."""

    def guarded(arguments: list[str]) -> int:
        for stop in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stop, _interrupt)
        gc.freeze()  # what has been imported stays: to look through it again and again took a quarter of a small run
        sys.unraisablehook = _tell_unless_interrupted
        try:
            main(arguments[1:])
            for stop in (signal.SIGINT, signal.SIGTERM):  # all is done: no signal is to change the exit status now
                signal.signal(stop, signal.SIG_IGN)
        except AlreadyFinishedError as finished:
            print(finished)
        except ExperimentError as error:
            return _fail(str(error))
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return _fail(f"not enough memory ({_last_line(error)}): choose smaller sizes; what was finished is kept")
        except (KeyboardInterrupt, InterruptedError):
            given = "overwrite" in flags.FLAGS and flags.FLAGS.overwrite
            again = ", without --overwrite," if given else ""
            print(f"\ninterrupted; run the same command again{again} to continue where it stopped", file=sys.stderr)
            return 130
        except OSError as error:
            return _fail(f"{error}; what was finished before is kept: mend this and run the same command again")
        return 0

    _use_compilation_cache()
    _list_all_flags()
    logging.set_verbosity(logging.FATAL)  # orbax logs every step of a save, and an error before it raises it
    app.run(guarded, list(sys.argv if arguments is None else arguments), flags_parser=_parse)


def _list_all_flags() -> None:
    """Has --help list the flags of every module of experiments; absl lists those of the module that is run."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        for flag in defined if module.startswith("experiments.") else ():
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


# Interruptions

interrupted = threading.Event()
"""Set by Ctrl-C and SIGTERM. Their exception is lost where Python cannot raise it, as in garbage collection; what works
for long therefore checks this event, too."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    interrupted.set()
    raise KeyboardInterrupt


def _tell_unless_interrupted(lost: Any) -> None:
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


# Which config file, and help


class _Given(NamedTuple):
    file: Path
    help: bool
    arguments: list[str]  # with --variant=NAME in the form of ml-collections, --config=FILE:VARIANT


def _given(arguments: Sequence[str], default: Path) -> _Given:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--variant")
    parser.add_argument("--config")
    parser.add_argument("--help", "-h", "-help", "--helpfull", "--helpshort", action="store_true")
    try:
        found, rest = parser.parse_known_args(list(arguments[1:]))
    except argparse.ArgumentError as error:
        sys.exit(_fail(f"{error}; --help prints all flags"))
    file, _, variant = (found.config or str(default)).partition(":")
    if variant and found.variant:
        sys.exit(_fail(f"--config={found.config} and --variant={found.variant} both name a variant: give one of them"))
    chosen = f"{file}:{variant or found.variant}" if variant or found.variant else file
    told = [f"--config={chosen}"] if found.config or found.variant else []
    return _Given(Path(file), found.help, [arguments[0], *told, *rest])


def _show_help(file: Path) -> int:
    try:
        module = _executed(file)
        defaults = module.get_config().to_dict()
        page = catalogue.help_page(file, defaults, getattr(module, "VARIANTS", ()), _flags_told())
    except Exception as error:  # whatever a person's own file raises
        return _fail(f"the config could not be read: {_last_line(error)}")
    catalogue.show(page)
    return 0


def _executed(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("config", file)
    if not spec or not spec.loader:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _flags_told() -> str:
    own = [
        flag
        for module, of_module in flags.FLAGS.flags_by_module_dict().items()
        if module.startswith("experiments.")
        for flag in of_module
    ]
    lines = ["  --config=FILE                Your own config file, FILE or FILE:VARIANT; --help prints its fields."]
    for flag in own:
        told = f"--{flag.name}" if flag.flag_type() == "bool" else f"--{flag.name}=VALUE"
        lines.append(f"  {told:27}  {flag.help}")
    return "\n".join(lines)


def _loaded(holder: flags.FlagHolder[ConfigDict], default: Path) -> ConfigDict:
    """The value of a config flag.

    Raises:
        ExperimentError: if its file cannot be read, or if a field is missing, of another type than in the default
            config, or a number that no experiment can mean.
    """
    config = holder.value
    try:
        config.to_dict()
    except Exception as error:  # whatever the file raised: ml_collections keeps it until the config is used
        raise ExperimentError(f"the config could not be read: {_last_line(error)}") from error
    for field, value in _executed(default).get_config().items():
        if field not in config:
            raise ExperimentError(f"the config has no field {field}: expected all fields of {default}")
        kinds = (int, float) if type(value) is float else (type(value),)
        if value is not None and type(config[field]) not in kinds:
            raise ExperimentError(
                f"--config.{field} is {config[field]!r} ({type(config[field]).__name__}): expected "
                f"{type(value).__name__}, as {value!r} in {default}"
            )
        _require_bounded(field, config[field])
    return config


def _require_bounded(field: str, value: Any) -> None:
    """Raises ``ExperimentError`` if a field is, or lists, a number that is too large, not finite or in other digits."""
    words = value.split(",") if isinstance(value, str) else [value]
    most = LARGEST.get(field, 10**9)
    for number in words:
        digits = str(number).strip().lstrip("+-")
        if digits.isdigit() and (not digits.isascii() or int(digits) > most):
            raise ExperimentError(f"--config.{field} is {value!r}: expected numbers up to {most:,}, in digits 0 to 9")
        if isinstance(number, float) and not math.isfinite(number):
            raise ExperimentError(f"--config.{field} is {number}: expected a finite number")


# Flags


def _parse(arguments: list[str]) -> list[str]:
    try:
        with _unknown_fields_answered():
            remaining: list[str] = flags.FLAGS(arguments)
            return remaining
    except flags.Error as error:
        message = _last_line(error)
        message = re.sub("invalid literal for int.*", "expected a whole number", message)
        message = re.sub("could not convert string to float.*", "expected a number", message)
        message = re.sub(r"\('Non-boolean argument.*\)", "expected true or false", message)
    except (OSError, SyntaxError, TypeError, ValueError) as error:
        message = f"the config could not be read: {_last_line(error)}"
    sys.exit(_fail(f"{message}; --help prints all flags"))


@contextlib.contextmanager
def _unknown_fields_answered() -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError) as error:  # what ml_collections raises for an unknown field
        words = str(error).replace("\\'", "").replace("\\n", ": ").strip("'\"")
        sys.exit(_fail(f"unknown config field {words}; --help prints all fields"))


def _last_line(error: Exception) -> str:
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1]


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


def _use_compilation_cache() -> None:
    """Keeps compiled programs between runs in JAX's own cache, which JAX_COMPILATION_CACHE_DIR moves."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rnnjax" / "compiled"
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
