"""Where the logs of runs and of their jobs lie. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from issbench.text import printable

_END = 64 * 1024
"""Bytes at the end of a file in which its last lines are looked for."""


def run_log(out: Path, run: str) -> Path:
    """What the engine printed of a run, through all its jobs."""
    return out / "runs" / run / "log.txt"


def job_logs(folder: Path, job: str) -> list[Path]:
    """What the processes of a job printed, errors included, the first process first; without those that printed
    nothing."""
    found = [path for kind in ("out", "err") for path in folder.glob(f"{job}_*_log.{kind}") if path.stat().st_size]
    return sorted(found, key=lambda path: (path.suffix == ".err", int(path.stem.split("_")[-2])))


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a file that are not empty, as they may be shown; none if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _END))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [printable(line) for line in text.splitlines() if line.strip()][-count:]
