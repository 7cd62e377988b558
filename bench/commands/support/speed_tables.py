"""Tables of what `bench speed` measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from issbench.bench.speed.measured import Measured, Row
from issbench.results.table import MISSING, Table, text_table

_TOP = 12  # operations of --profile


@dataclass(frozen=True)
class _Part:
    """How a part is shown."""

    what: str
    base: str
    ours: str
    note: str
    show: Callable[[Row, float], str]
    """Seconds of base or of ours, as they stand in its column."""
    faster: bool = False
    """Whether the ratio says how many times as fast ours is (base / ours), and not how much longer it takes."""
    more: Mapping[str, Callable[[Row], str]] = field(default_factory=dict)
    """Further columns."""


def _milliseconds(row: Row, seconds: float) -> str:
    return f"{1000 * seconds / row.facts.get('iterations', 1):.1f}"


def _seconds(row: Row, seconds: float) -> str:
    return f"{seconds:.2f}"


def _images(row: Row, seconds: float) -> str:
    return f"{row.images / seconds:.2f}"


def _mebibytes(name: str) -> Callable[[Row], str]:
    return lambda row: MISSING if row.facts[name] is None else f"{row.facts[name] / 2**20:.0f}"


_PARTS = {
    "step": _Part(
        "method", "floor ms", "step ms",
        "floor: the method's own student trained with cross-entropy alone, and the teacher's forward pass where "
        "the method has a teacher; step: an iteration of the method. MiB: peak memory of the tensors during an "
        "iteration, weights and optimiser state included.",
        _milliseconds,
        more={
            "img/s": lambda row: _images(row, median(row.ours)),
            "floor MiB": _mebibytes("floor_bytes"),
            "step MiB": _mebibytes("step_bytes"),
        },
    ),
    "engine": _Part(
        "method", "floor ms", "engine ms",
        "engine: an iteration of the later step of bench run on made photographs, with reading, augmentation and "
        "logging; floor: as of the part step, on tensors in memory.",
        _milliseconds,
        more={"img/s": lambda row: _images(row, median(row.ours))},
    ),
    "loader": _Part(
        "images", "plain img/s", "ours img/s",
        "One process of one thread. plain: PIL decodes, torchvision cuts, resizes, mirrors and normalises image by "
        "image; files: ours from the same files; kept: from decoded images that were kept. times: how many times "
        "as fast ours is.",
        _images,
        faster=True,
    ),
    "suite": _Part(
        "at once", "one by one s", "ours s",
        "A sweep of four short runs that share their first step, in processes of one thread. times: how many times "
        "as fast it is as with one run after another.",
        _seconds,
        faster=True,
        more={"runs/h": lambda row: f"{3600 * row.facts['runs'] / median(row.ours):.0f}"},
    ),
    "start": _Part(
        "command", "import s", "ours s",
        "import: python -c 'import torch, timm'. first iteration: from the start of bench run until training "
        "begins; finished command: a bench run of twelve runs that are all done, table included.",
        _seconds,
    ),
}  # fmt: skip


def table_of(measured: Measured) -> Table:
    """The rows of a part, medians over the rounds."""
    part = _PARTS[measured.part]
    columns = [part.what, part.base, part.ours, "times" if part.faster else "ratio", "25 %", "75 %", *part.more]
    cells = []
    for row in measured.rows:
        ratio, low, high = _ratios(row, part)
        times = [part.show(row, median(seconds)) for seconds in (row.base, row.ours)]
        ratios = [f"{value:.3f}" for value in (ratio, low, high)]
        cells.append([row.name, *times, *ratios, *(column(row) for column in part.more.values())])
    rounds = ", ".join(f"{row.name} {len(row.ours)}" for row in measured.rows)
    notes = [
        f"{part.note} Medians over the rounds, of the ratio within each round, with its quartiles. "
        f"Rounds: {rounds}."
    ]
    return text_table(measured.title, columns, cells, notes)


def line_of(part: str, row: Row) -> str:
    """A row as soon as it is measured."""
    how = _PARTS[part]
    ratio, low, high = _ratios(row, how)
    return f"{row.name}: {'times' if how.faster else 'ratio'} {ratio:.3f} ({low:.3f} to {high:.3f})"


def _ratios(row: Row, part: _Part) -> tuple[float, float, float]:
    """The median of the ratios and their quartiles, as the part shows them."""
    low, high = row.quartiles
    return (1 / row.ratio, 1 / high, 1 / low) if part.faster else (row.ratio, low, high)


def comparison_of(before: Measured, now: Measured) -> Table:
    """Two measurements of a part beside each other: the rows that both have."""
    part = _PARTS[now.part]
    word = "times" if part.faster else "ratio"
    earlier = {row.name: row for row in before.rows}
    cells = []
    for row in now.rows:
        if row.name in earlier:
            old = earlier[row.name]
            values = [_ratios(each, part)[0] for each in (old, row)]
            times = [part.show(each, median(each.ours)) for each in (old, row)]
            cells.append([row.name, *times, *(f"{value:.3f}" for value in values), f"{values[1] / values[0]:.3f}"])
    columns = [part.what, f"{part.ours} before", "now", f"{word} before", "now", "now / before"]
    facts = [("measured", before.when, now.when), ("size", before.title, now.title)]
    facts += [(name, value, now.machine.get(name, "")) for name, value in before.machine.items()]
    notes = [f"Not alike: {name} {one}; now {other}." for name, one, other in facts[1:] if one != other]
    return text_table(f"{before.when} and {now.when}", columns, cells, notes)


def operations_of(row: Row) -> Table:
    """The operations that take longest beyond the floor."""
    found: Sequence[tuple[str, float, float]] = row.facts["operations"]
    times = [*found[:_TOP], ("all operations", sum(each[1] for each in found), sum(each[2] for each in found))]
    cells = [
        [name, *(f"{1000 * value:.2f}" for value in (step - floor, floor, step))] for name, floor, step in times
    ]
    where = "GPU" if row.facts["device"] == "cuda" else "CPU"
    note = (
        f"Self time on the {where} under torch.profiler, forward, backward and update together: only what a call "
        "does itself, not what it calls."
    )
    title = f"{row.name}: time beyond the floor by operation"
    return text_table(title, ["operation", "beyond ms", "floor ms", "step ms"], cells, [note])
