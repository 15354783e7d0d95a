"""Processes that work together, on one machine or several: each sends a text, and all of them receive all texts.

Process 0 listens at HOST:PORT and passes on what the others send. They share nothing else, neither a disk nor JAX's
distributed runtime, which would end every process with a dump when process 0 dies.
"""

import contextlib
import json
import multiprocessing.connection as connection
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar

from experiments.common.errors import ExperimentError

T = TypeVar("T")

_AGAIN = "what was finished is kept: start all processes again to go on"


class _Group(NamedTuple):
    """This process and its connections.

    Attributes:
        place: the number of this process, from 0.
        size: the number of processes.
        links: connections by the number of the other process: process 0 has one to each, the others have one to it.
    """

    place: int
    size: int
    links: Mapping[int, Connection]


_group = _Group(0, 1, {})


def place() -> int:
    """The number of this process, from 0."""
    return _group.place


def count() -> int:
    """How many processes there are."""
    return _group.size


def join(given: Mapping[str, Any]) -> None:
    """Connects this process with the others; if all of ``given`` are None it stays alone.

    Args:
        given: the flags ``coordinator_address``, ``num_processes`` and ``process_id``.

    Raises:
        ExperimentError: if a flag is missing or has an impossible value; if the processes were started with different
            ``num_processes`` or with the same ``process_id``; if they cannot connect.
    """
    global _group
    if all(value is None for value in given.values()):
        return
    absent = [f"--{name}" for name, value in given.items() if value is None]
    if absent:
        raise ExperimentError(f"{' and '.join(absent)} missing: several processes need --{', --'.join(given)}")
    address, count, place = given["coordinator_address"], given["num_processes"], given["process_id"]
    if not 0 <= place < count:
        raise ExperimentError(f"--process_id={place}: expected 0 to --num_processes - 1")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ExperimentError(f"--coordinator_address={address}: expected HOST:PORT of process 0, as in localhost:8476")
    try:
        print(f"process {place} waits at {address} until all {count} processes are there", file=sys.stderr)
        links = _reach(host, int(port), count, place) if place else _receive(int(port), count)
    except KeyboardInterrupt:
        print(f"\ninterrupted while waiting; {_AGAIN}", file=sys.stderr)
        raise SystemExit(130) from None
    except (OSError, EOFError) as error:
        reason = str(error) or "process 0 closed the connection"
        raise ExperimentError(f"the processes cannot connect at {address}: {reason}") from error
    _group = _Group(place, count, links)


def _receive(port: int, count: int) -> dict[int, Connection]:
    """Process 0: waits until each of the others has said its number."""
    links: dict[int, Connection] = {}
    with connection.Listener(("", port), family="AF_INET", backlog=count) as listener:
        while len(links) < count - 1:
            link = listener.accept()
            with contextlib.suppress(OSError, EOFError, ValueError, TypeError):  # a stranger, which is ignored
                if not link.poll(5):
                    continue
                number, of = json.loads(link.recv_bytes(1000))
                refusal = _refusal(number, of, count, set(links))
                link.send_bytes(refusal.encode())
                if not refusal:
                    links[number] = link
    return links


def _refusal(number: int, of: int, count: int, there: set[int]) -> str:
    if of != count:
        return f"process {number} has --num_processes={of}, process 0 has {count}: give all processes the same"
    if number in there:
        return f"--process_id={number} is given twice: give each process its own"
    return ""


def _reach(host: str, port: int, count: int, place: int) -> dict[int, Connection]:
    """Any other process: tries until process 0 listens."""
    while True:
        try:
            link = connection.Client((host, port), family="AF_INET")
        except (ConnectionRefusedError, TimeoutError):
            time.sleep(0.1)
        else:
            break
    link.send_bytes(json.dumps([place, count]).encode())
    refusal = link.recv_bytes().decode()
    if refusal:
        raise ExperimentError(refusal)
    return {0: link}


def gathered(text: str) -> list[str]:
    """Returns the texts of all processes, on every process; each waits here until all have called this.

    Raises:
        ExperimentError: if a process is gone.
    """
    links = _group.links
    if _group.place:
        with _heard(0):
            links[0].send_bytes(text.encode())
            return list(json.loads(links[0].recv_bytes()))
    texts = {0: text}
    places = {link: place for place, link in links.items()}
    while len(texts) < _group.size:
        for link in connection.wait(list(places)):
            assert isinstance(link, Connection)
            place = places.pop(link)
            with _heard(place):
                texts[place] = link.recv_bytes().decode()
    everything = json.dumps([texts[place] for place in sorted(texts)]).encode()
    for place, link in links.items():
        with _heard(place):
            link.send_bytes(everything)
    return [texts[place] for place in sorted(texts)]


@contextlib.contextmanager
def _heard(place: int) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError) as error:
        raise ExperimentError(f"process {place} is gone; {_AGAIN}") from error


def together(action: Callable[[], T]) -> T:
    """Does something in each process, and returns once all have done it; if one fails, all raise an error.

    Raises:
        Exception: what the action raises here.
        ExperimentError: if it failed elsewhere, or a process is gone.
    """
    failure: Exception | None = None
    try:
        result = action()
    except KeyboardInterrupt:
        if _group.size == 1:
            raise
        print(f"\ninterrupted; {_AGAIN}", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        failure = error
    if failure and _group.size > 1:
        print(f"process {_group.place} failed and waits for the others: {failure}", file=sys.stderr)
    failed = [place for place, text in enumerate(gathered(str(failure or ""))) if text]
    if failure:
        raise failure
    if failed:
        raise ExperimentError(f"process {failed[0]} failed: see its own message; what was finished before is kept")
    return result
