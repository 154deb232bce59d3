"""What a run found, as values that go into a table and a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench.process import Sample, Used

SCHEMA = 1
_POINTS = 120


@dataclass(frozen=True)
class Cost:
    """What one process cost."""

    cpu_seconds: float
    cpu_ms_per_device: float
    peak_mib: float
    written_bytes_per_device: int
    memory: tuple[tuple[float, float], ...]
    """seconds and MiB over the run, thinned out"""

    @classmethod
    def of(cls, used: Used, devices: int, *, since: Used | None = None) -> Cost:
        """Return what was used, or what was used after `since`."""
        cpu = used.cpu - (since.cpu if since else 0)
        written = used.written - (since.written if since else 0)
        begun = since.seconds if since else 0
        samples = [sample for sample in used.samples if sample.at >= begun]
        return cls(
            round(cpu, 2),
            round(cpu / devices * 1000, 3),
            round(used.peak / 1024, 1),
            round(written / devices),
            tuple((round(sample.at - begun, 1), round(sample.rss / 1024, 1)) for sample in thinned(samples)),
        )


@dataclass(frozen=True)
class Result:
    """One mode at one size."""

    mode: str
    devices: int
    seconds: float
    processes: Mapping[str, Cost]
    per_minute: float | None = None
    shortcuts: str = ""
    """as the simulator says them at its start"""
    bare: Mapping[str, Any] | None = None
    """the bare exchange of the same shape, and the ratio to it"""
    conversation: Mapping[str, Any] | None = None
    """connections and requests of one device, as they go over the wire"""
    ledger: Mapping[str, Any] | None = None
    accounts: Mapping[str, int] | None = None
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """what was not as it must be: the benchmark then exits with 1"""
    details: Mapping[str, Any] = field(default_factory=dict)


def to_json(results: list[Result], machine: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole record."""
    runs = [asdict(result) for result in results]
    return {"schemaVersion": SCHEMA, "machine": dict(machine), "options": dict(options), "runs": runs}


def thinned(samples: list[Sample]) -> list[Sample]:
    step = max(1, len(samples) // _POINTS)
    return samples[::step]
