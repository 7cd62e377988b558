"""Runs with a given mIoU, in memory, for what reads records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_records import one_record

from issbench.results.runs import Run


def made_run(method: str, score: float | None = 50.0, seed: int = 0, **changed: Any) -> Run:
    """A run of voc_15-1, or as `changed` says, that has this mIoU after the last step and no counts of images."""
    groups = {"0-15": 60.0, "16-20": 30.0, "all": score}
    record = one_record(method, seed=seed, scores=[groups] * 2, **changed)
    imported = record["source"] is not None
    record["steps"][-1] |= {
        "key": None if imported else f"{method} {score}",
        "evaluations": None if imported else {},
    }
    name = f"{record['experiment']['method']}-{seed}-{abs(hash(str(changed))) % 10**8:08d}"
    return Run(Path("store/runs") / name, record)
