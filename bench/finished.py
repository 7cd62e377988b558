"""Whether a run is done: the one definition, for every command that asks. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from issbench.files import DamagedFile, read_sealed

Step = tuple[str, str]
"""The key of a step, and the name of its evaluation."""


def is_done(out: Path, run: str, steps: Sequence[Step], metrics: Sequence[str] = ()) -> bool:
    """Whether the run store `out` has the complete record of a run, made of just these steps and evaluations, with
    the opt-in `metrics`, and the counts of its tests. One file is read, and one looked for per evaluation."""
    try:
        record = read_sealed(out / "runs" / run / "run.json", run)
    except (OSError, DamagedFile):
        return False
    found = [(step["key"], evaluation) for step in record["steps"] for evaluation in [step["evaluations"]]]
    if not record["complete"] or [key for key, _ in found] != [key for key, _ in steps]:
        return False
    for (_, evaluations), (_, name) in zip(found, steps, strict=True):
        if name not in [each["name"] for each in evaluations.values()]:
            return False
        if not all((out / each["images"]).is_file() for each in evaluations.values()):
            return False
    return all(metric in step["metrics"] for step in record["steps"] for metric in metrics)
