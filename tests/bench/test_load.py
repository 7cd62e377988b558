"""Two commands work in a store of a thousand runs while others read it.

ISSBENCH_RUNS=1000 pytest -n 0 -m long tests/bench/test_load.py
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from commands import bench
from forked import Command, Server, server
from many_records import make_store
from reliability import keep
from small_folder import RECIPE, small_folder

from issbench.bench.store_format import make_store as make_format
from issbench.files import read_sealed

RUNS = int(os.environ.get("ISSBENCH_RUNS", "1000"))
SEEDS = ",".join(map(str, range(20)))
SETTINGS = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
NOTES = """
from issbench.bench.engine.training import StepTrainer
train = StepTrainer.run
def noting(trainer, *given):
    with open({path!r}, "a") as file:
        file.write(trainer.step.key + "\\n")
    train(trainer, *given)
StepTrainer.run = noting
"""
"""Writes down the key of each step that is trained."""


def start(server: Server, root: Path, out: Path, notes: Path) -> Command:
    """Twenty seeds of two methods: forty runs of two steps."""
    words = [
        "run",
        "--methods",
        "gsc,ft",
        "--scenario",
        "folder_2-1",
        "--data",
        root,
        "--out",
        out,
        "--seeds",
        SEEDS,
    ]
    return server.start(*words, "--workers", 0, "--device", "cpu", *SETTINGS, before=NOTES.format(path=str(notes)))


def computed(out: Path) -> dict[str, Any]:
    """What the runs on the folder computed, without times."""
    records: dict[str, Any] = {path.parent.name: read_sealed(path) for path in out.glob("runs/*folder*/run.json")}
    return {
        name: [(step["key"], step["counts"], step["training"]["history"]) for step in record["steps"]]
        for name, record in records.items()
    }


@pytest.mark.long
def test_two_commands_and_readers_in_a_large_store(tmp_path: Path) -> None:
    began, alone, shared, notes = time.monotonic(), tmp_path / "alone", tmp_path / "shared", tmp_path / "notes"
    data = small_folder(tmp_path / "data")
    make_format(shared)
    make_store(shared, RUNS)
    with server(tmp_path / "logs") as forked:
        quiet = start(forked, data, alone, tmp_path / "other")
        assert quiet.wait() == [0], quiet.text
        both = [start(forked, data, shared, notes) for _ in range(2)]
        reads = 0
        while any(each.runs for each in both):
            rows = bench("table", "long", "--format", "csv", "--out", shared)
            assert rows.count("voc_") >= RUNS, "a finished run is missing in a table"
            bench("status", "--out", shared)
            reads += 2
        assert [each.wait() for each in both] == [[0], [0]], both[0].text + both[1].text
    trained = Counter(notes.read_text().split())
    assert len(trained) == 60 and set(trained.values()) == {1}, "a step was trained twice"
    assert len(computed(alone)) == 40 and computed(shared) == computed(alone)
    print(f"{reads} commands read the store meanwhile")
    command = "pytest -m long tests/bench/test_load.py"
    keep(
        f"two commands train {len(computed(shared))} runs in a store of {RUNS:,}",
        40,
        0,
        command,
        time.monotonic() - began,
    )
    keep("commands that read this store meanwhile", reads, 0, command, time.monotonic() - began)
