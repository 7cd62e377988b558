"""A training iteration of each method against its floor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from issbench.bench.engine.speed import Workload, measure, resolve
from issbench.bench.speed.measured import Row


def measure_steps(
    specs: list[str], workload: Workload, rounds: int | None, seconds: float, with_operations: bool
) -> Iterator[Row]:
    """A row for each method; `seconds` is the time for all."""
    for spec in specs:
        found = measure(spec, *resolve(spec), workload, rounds, with_operations, seconds / len(specs))
        floor, step = found.memory
        facts: dict[str, Any] = {"floor_bytes": floor, "step_bytes": step}
        if with_operations:
            facts["operations"] = [list(each) for each in found.operations]
            facts["device"] = workload.device.type
        yield Row(spec, found.floor, found.step, found.batch, facts)
