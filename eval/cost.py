"""What a run cost: a line for each batch in cost.jsonl, added up in cost.json; the only files of a run that hold times."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.log import Appender, part_name, whole_lines

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class BatchCost:
    """What one batch took.

    Attributes:
        n: samples.
        audio_s: seconds of audio in them.
        tokens: of the answers; 0 where the model does not count them.
        answer_s: seconds that the model took.
        wait_s: seconds that it waited for the audio to be read.
        host_mib: the most memory that the process had so far.
        device_mib: the same of its accelerator; 0 where it has none.
        rank, ranks: whose batch it was, and how many worked side by side.
        again: rows that were asked again one by one, because the batch had failed.
    """

    n: int
    audio_s: float
    tokens: int
    answer_s: float
    wait_s: float
    host_mib: float
    device_mib: float
    rank: int = 0
    ranks: int = 1
    again: int = 0


class CostLog:
    """Appends the costs of one rank."""

    def __init__(self, folder: Path | str, rank: int = 0) -> None:
        self._lines = Appender(Path(folder) / part_name(rank, "cost"))

    def append(self, cost: BatchCost) -> None:
        """Append a batch."""
        self._lines.append([{name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(cost).items()}])

    def clear(self) -> None:
        """Throw away this rank's lines."""
        self._lines.clear()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def read_costs(folder: Path | str) -> list[BatchCost]:
    """Return the batches of all ranks."""
    return [BatchCost(**row) for path in sorted(Path(folder).glob("cost*.jsonl")) for _, row in whole_lines(path)]


def summary(costs: Sequence[BatchCost]) -> dict[str, Any]:
    """Add up batches.

    Returns:
        samples, audio_s, tokens, wall_s (ranks that work side by side share it), rtfx (seconds of audio a second),
        tokens_per_s, latency_p50_s and latency_p95_s of a batch, batch_size (mean), host_mib and device_mib (peaks), again.
    """
    if not costs:
        return {"samples": 0}
    n, audio_s, tokens = (sum(getattr(cost, name) for cost in costs) for name in ("n", "audio_s", "tokens"))
    wall_s = sum((cost.answer_s + cost.wait_s) / cost.ranks for cost in costs)
    p50, p95 = np.percentile([cost.answer_s for cost in costs], [50, 95])
    return {
        "samples": n,
        "audio_s": round(audio_s, 3),
        "tokens": tokens,
        "wall_s": round(wall_s, 3),
        "rtfx": _rate(audio_s, wall_s),
        "tokens_per_s": _rate(tokens, wall_s),
        "latency_p50_s": round(float(p50), 4),
        "latency_p95_s": round(float(p95), 4),
        "batches": len(costs),
        "batch_size": round(n / len(costs), 2),
        "host_mib": max(cost.host_mib for cost in costs),
        "device_mib": max(cost.device_mib for cost in costs),
        "ranks": max(cost.ranks for cost in costs),
        "again": sum(cost.again for cost in costs),
    }


def write_cost(folder: Path | str) -> Mapping[str, Any]:
    """Write cost.json of a run's folder and return what it says."""
    found = summary(read_costs(folder))
    (Path(folder) / "cost.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def host_peak_mib() -> float:
    """Return the most memory that this process had, MiB; macOS counts bytes, Linux kibibytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)


def _rate(amount: float, wall_s: float) -> float | None:
    return round(amount / wall_s, 3) if wall_s > 0 else None
