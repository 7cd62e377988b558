"""Each run by itself: its facts, its steps, its classes, folded until asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from issbench.results.report.boxes import table_box
from issbench.results.report.markup import Html, details, facts, joined, tag
from issbench.results.runs import Run
from issbench.results.show import class_table, run_summary, step_table

MOST = 200
"""Runs that are shown in detail: a page of thousands would take a browser minutes."""
_SHOWN_ELSEWHERE = ("run", "folder")


def run_details(runs: Sequence[Run], folder: Path) -> Html:
    """The first runs; `folder` is where the report lies, to which links are relative."""
    shown = joined(*(_run(run, folder) for run in runs[:MOST]))
    if len(runs) <= MOST:
        return shown
    note = (
        f"The first {MOST} of {len(runs)} runs; {len(runs) - MOST} are left out here, though not above. "
        "`bench show RUN` prints one; `bench report` with --scenario or --setting shows fewer."
    )
    return joined(tag("p", note), shown)


def _run(run: Run, folder: Path) -> Html:
    link = relative_link(run.path, folder)
    files = tag("p", tag("a", "folder of the run", href=link), " · ", tag("a", "run.json", href=f"{link}run.json"))
    pairs = [pair for pair in run_summary(run) if pair[0] not in _SHOWN_ELSEWHERE]
    tables = [table_box(table) for table in (step_table(run), class_table(run))]
    return details(_summary(run), files, facts(pairs), *tables, class_="run", id=f"run-{run.name}")


def _summary(run: Run) -> str:
    score = run.last["metrics"]["groups"].get("all")
    state = "" if score is None else f" · mIoU {score:.1f}"
    if not run.complete:
        state = f" · {run.unfinished}"
    return run.name + state + " · imported" * run.imported


def relative_link(target: Path, folder: Path) -> str:
    """The folder `target` as a link from a page in `folder`."""
    return quote(Path(os.path.relpath(target, folder)).as_posix()) + "/"
