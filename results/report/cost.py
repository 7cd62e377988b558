"""What the runs cost: hours of training and of testing, hours on a GPU, peak memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from issbench.results.record import Training
from issbench.results.runs import Run
from issbench.results.table import MISSING, Cell, Head, Table

_TITLE = "Hours, devices and memory by method"
_HEADS = ("method", "runs", "steps trained", "training hours", "hours per run", "GPU hours", "test hours")


@dataclass(frozen=True)
class Cost:
    """Of steps, each of which is counted once, however many runs share it. Hours."""

    steps: int
    training: float
    gpu: float
    testing: float
    peak_bytes: int | None
    devices: tuple[str, ...]


def cost(runs: Iterable[Run]) -> Cost:
    """What the finished steps of runs cost together. Imported steps have no key and are not known."""
    steps: dict[str, Training] = {}
    testing: dict[tuple[str, str], float] = {}
    for run in runs:
        for step in run.steps:
            if step["training"] and step["key"]:
                steps.setdefault(step["key"], step["training"])
                # The same step is tested once for each protocol.
                testing.setdefault((step["key"], run.record["protocol"]), step["test_seconds"] or 0.0)
    peaks = [t["peak_memory_bytes"] for t in steps.values() if t["peak_memory_bytes"] is not None]
    return Cost(
        len(steps),
        sum(t["seconds"] for t in steps.values()) / 3600,
        sum(t["seconds"] * t["processes"] for t in steps.values() if on_gpu(t["device"])) / 3600,
        sum(testing.values()) / 3600,
        max(peaks, default=None),
        tuple(dict.fromkeys(t["device"] for t in steps.values())),
    )


def on_gpu(device: str) -> bool:
    """Whether a device of a record (`cuda`, `cuda:1`, `mps`, `cpu`) is a GPU."""
    return device.partition(":")[0] != "cpu"


def cost_table(runs: Sequence[Run]) -> Table:
    """A row for each method and, last, all together."""
    methods: dict[str, list[Run]] = {}
    for run in runs:
        methods.setdefault(run.label, []).append(run)
    cells = [_row(name, members) for name, members in methods.items()]
    together = cost(runs)
    several = len(methods) > 1
    if several:
        cells.append(_row("all together", runs))
    summed = sum(cost(members).training for members in methods.values())
    notes = [
        "Finished steps alone. A step that several runs share was trained once and is counted once: within a "
        f"method in its row, among all in the last. All together {together.training:.2f} h; the rows add up to "
        f"{summed:.2f} h. “Hours per run” is what a run would take that shares nothing.",
        "Records hold time, not power: energy is about GPU hours × the mean power of the GPU.",
        *_unknown(runs),
    ]
    heads: list[Head] = [(name,) for name in (*_HEADS, "peak memory (GiB)", "devices")]
    return Table(_TITLE, heads, cells, notes, sums=int(several))


def _row(name: str, runs: Sequence[Run]) -> list[Cell]:
    found = cost(runs)
    known = [run for run in runs if not run.imported]
    if not found.steps:
        return [Cell(text=name), Cell(text=str(len(runs))), *[Cell()] * 6, Cell(text="unknown")]
    alone = sum(step["training"]["seconds"] for run in known for step in run.steps if step["training"]) / 3600
    hours = [found.training, alone / len(known), found.gpu, found.testing]
    memory = MISSING if found.peak_bytes is None else f"{found.peak_bytes / 2**30:.2f}"
    return [
        Cell(text=name),
        Cell(text=str(len(runs))),
        Cell(text=str(found.steps)),
        *(Cell(text=f"{hour:.3f}" if hour else "0") for hour in hours),
        Cell(text=memory),
        Cell(text=", ".join(found.devices)),
    ]


def _unknown(runs: Sequence[Run]) -> list[str]:
    imported = sum(run.imported for run in runs)
    return [f"{imported} imported runs: time, memory and device are unknown."] * bool(imported)
