"""A worker's program that measures nothing: it says in which process it is, or why it cannot."""

import os
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.common.device import Device, UnavailableError
from benchmarks.common.worker import Answer, serve


def work(name: str, device: Device) -> Answer:
    if name == "elsewhere":
        raise UnavailableError("runs elsewhere")
    if name == "missing":
        raise ModuleNotFoundError("No module named 'missing'")

    def answer(number: int) -> Mapping[str, Any]:
        if name == "asleep":
            time.sleep(600)
        print("a library's own words")  # must not be taken for an answer
        return {"name": name, "number": number, "process": os.getpid(), "device": device}

    return answer


if __name__ == "__main__":
    serve(work)
