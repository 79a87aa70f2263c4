"""Several processes of one run: started and watched here, or by torchrun, whose environment says who is who."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import TypeVar

from qwen_audio.command import live_with_starter
from qwen_audio.errors import USER_ERRORS, DataError, fail

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Which process of how many this is."""

    rank: int
    ranks: int

    @staticmethod
    def of_environment() -> Place | None:
        """Return the place that torchrun or accelerate gave this process; None where neither started it."""
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return None
        return Place(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


class Workers:
    """The further processes of a run: ranks 1 and up. They end when their starter does, however that ends."""

    def __init__(self, ranks: int, work: Callable[[T, Place], None], job: T) -> None:
        """Prepare processes that call work(job, place); both are pickled.

        Args:
            ranks: processes in all, this one counted.
        """
        spawn = multiprocessing.get_context("spawn")  # a fork would share torch's threads and this run's locks
        self._processes: list[BaseProcess] = [
            spawn.Process(target=_serve, args=(work, job, Place(rank, ranks)), daemon=True, name=f"worker {rank + 1}")
            for rank in range(1, ranks)
        ]

    def start(self) -> None:
        """Start them."""
        for process in self._processes:
            process.start()

    def check(self) -> None:
        """Raise DataError where one has failed."""
        for process in self._processes:
            if process.exitcode:
                which = f"{process.name} of {len(self._processes) + 1}"
                raise DataError(f"{which} ended with code {process.exitcode}; what is done is kept, run again")

    def join(self) -> None:
        """Wait until all have done their share.

        Raises:
            DataError: one has failed.
        """
        for process in self._processes:
            process.join()
        self.check()

    def stop(self) -> None:
        """End those that still run."""
        for process in self._processes:
            if process.is_alive():
                process.terminate()
                process.join()


def share_cores(workers: int) -> None:
    """Share the machine's cores out among processes that compute on them, unless OMP_NUM_THREADS says it already.

    Sums are ordered by the number of threads: where other numbers of workers are to agree in the last bit, set it.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def _serve(work: Callable[[T, Place], None], job: T, place: Place) -> None:
    """Work in a process of its own; a user's mistake is one line on stderr and code 1."""
    live_with_starter()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which its starter ends it by
    os.environ["LOCAL_RANK"] = str(place.rank)  # as torchrun does: a GPU for each, where there are some
    try:
        work(job, place)
    except USER_ERRORS as error:
        sys.exit(fail(error))
