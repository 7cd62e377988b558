"""Ends the jobs of runs, but never a first step that other runs still wait for."""

from __future__ import annotations

from pathlib import Path

from issbench.bench.launching.launcher import Cancelled, by_launcher, recovered_submissions
from issbench.bench.launching.submissions import latest


def cancel(out: Path, name: str) -> Cancelled:
    """End the jobs of a submission, or of a run, that wait or run. Runs resubmitted later belong to the later
    submission and are not cancelled here. NoAnswer where it cannot be known what waits or runs."""
    entries = list(latest(recovered_submissions(out)).values())
    chosen = [entry for entry in entries if name in (entry[0].name, entry[1].run)]
    others = [entry for entry in entries if entry not in chosen]
    jobs: list[str] = []
    kept: dict[str, int] = {}
    for launcher, mine in by_launcher(chosen):
        found = launcher.cancel(out, mine, [entry for entry in others if entry[0].launcher == launcher.name])
        jobs += found.jobs
        kept |= found.kept
    return Cancelled(tuple(jobs), kept)
