"""Whether a run is done: the one definition, for every command that asks. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from issbench.files import DamagedFile
from issbench.results.read_record import read_record
from issbench.results.record import FORMAT

Step = tuple[str, str]
"""The key of a step, and the name of one of its evaluations."""


def is_done(out: Path, run: str, steps: Sequence[Step], metrics: Sequence[str] = ()) -> bool:
    """Whether the run store `out` has the complete record of a run, made of just these steps with these
    evaluations, for which the opt-in `metrics` were asked, and the counts of its tests. One file is read, and one
    looked for per evaluation."""
    try:
        record = read_record(out / "runs" / run / "run.json", run)
    except (OSError, DamagedFile):
        return False
    if record["format"] != FORMAT or not record["complete"] or not {*metrics} <= {*record["experiment"]["metrics"]}:
        return False
    wanted: dict[str | None, set[str]] = {}
    for key, name in steps:
        wanted.setdefault(key, set()).add(name)
    tests = {step["key"]: (step["evaluations"] or {}).values() for step in record["steps"]}
    if [*tests] != [*wanted]:
        return False
    return all(
        wanted[key] <= {each["name"] for each in found} and all((out / each["images"]).is_file() for each in found)
        for key, found in tests.items()
    )
