"""What a measurement of speed consists of, and its file. Needs no torch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from issbench.errors import UsageError
from issbench.wellformed import misfit

FORMAT = 1
"""Raised when the meaning of a file changes."""

Timed = Callable[[], float]
"""Does something, and returns the seconds that count."""


@dataclass(frozen=True)
class Row:
    """Seconds of something, and of what it is measured against, by round. Machines drift, so only times of the same
    round are compared."""

    name: str
    base: tuple[float, ...]
    ours: tuple[float, ...]
    images: int = 0
    """Images in these seconds, where they are of images."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else was found, as plain values."""

    @property
    def ratio(self) -> float:
        """Median over the rounds of ours / base."""
        return median(self.ratios)

    @property
    def ratios(self) -> list[float]:
        """Ours / base of each round."""
        return [ours / base for ours, base in zip(self.ours, self.base, strict=True)]

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the ratios."""
        if len(self.ours) < 2:
            return self.ratio, self.ratio
        low, _, high = quantiles(self.ratios, n=4, method="inclusive")
        return low, high


@dataclass(frozen=True)
class Measured:
    """A part of the suite that was measured."""

    part: str
    title: str
    """All that the times depend on."""
    command: tuple[str, ...]
    machine: Mapping[str, str]
    """Processor, cores, versions."""
    when: str
    rows: tuple[Row, ...]


def save(path: Path, measured: Measured) -> None:
    """Write a measurement as JSON."""
    from issbench.outputs import write_output

    text = json.dumps({"format": FORMAT, **asdict(measured)}, indent=1, ensure_ascii=False)
    write_output(path, f"{text}\n".encode(), option="--json")


def load(path: Path) -> Measured:
    """Read a measurement. UsageError for a file that is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--compare {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT or misfit(found, Measured, str(path)):
        raise UsageError(f"--compare {path} is not what `bench speed --json` writes")
    rows = tuple(Row(**{**row, "base": tuple(row["base"]), "ours": tuple(row["ours"])}) for row in found["rows"])
    if not all(row.ours and len(row.ours) == len(row.base) and min(row.base) > 0 for row in rows):
        raise UsageError(f"--compare {path}: it has rows without times")
    return Measured(**{**found, "rows": rows, "command": tuple(found["command"])})


def alternate(base: Timed, ours: Timed, rounds: int | None, seconds: float) -> Iterator[tuple[float, float]]:
    """Seconds of both in each round; the one that comes first changes. `rounds` of them, or as long as there are
    seconds left, but at least three."""
    end, done = time.perf_counter() + seconds, 0
    while done < (rounds or 3) or (rounds is None and time.perf_counter() < end):
        if done % 2:
            second, first = ours(), base()
        else:
            first, second = base(), ours()
        yield first, second
        done += 1


def row_of(
    name: str, base: Timed, ours: Timed, rounds: int | None, seconds: float, images: int = 0, **facts: Any
) -> Row:
    """Both measured alternately, after each was done once."""
    base(), ours()
    pairs = list(alternate(base, ours, rounds, seconds))
    return Row(name, tuple(a for a, _ in pairs), tuple(b for _, b in pairs), images, facts)


def timed(do: Callable[[], object]) -> Timed:
    """How long something takes as a whole."""

    def measure() -> float:
        before = time.perf_counter()
        do()
        return time.perf_counter() - before

    return measure
