"""Threads and memory of the CPU: one thread unless the user says otherwise, so that machines of one kind agree; and
what an iteration frees serves the next one."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import bench
from small_folder import RECIPE, small_folder

from issbench.bench.engine.environment import arithmetic
from issbench.results.runs import load_runs

CPU = torch.device("cpu")


@pytest.fixture
def three_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch as it is on a machine of three cores whose user has set nothing."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("asked", "variable", "expected"), [(None, None, 1), (None, "3", 3), (2, None, 2), (2, "3", 2)]
)
def test_the_number(
    asked: int | None, variable: str | None, expected: int, three_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    with arithmetic(CPU, asked):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 3  # the user's own code goes on as before


def test_it_is_recorded_and_the_table_says_where_it_differs(three_cores: None, tmp_path: Path) -> None:
    settings = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    out, data = tmp_path / "store", small_folder(tmp_path / "data")
    words = ["run", "--methods", "ft", "--scenario", "folder_2-1", "--data", data, "--out", out, "--workers", "0"]
    bench(*words, *settings)
    said = bench(*words, *settings, "--seed", "1", "--threads", "2")
    recorded = [[environment["threads"] for environment in run.environments] for run in load_runs(out)]
    assert recorded == [[1, 1], [2, 2]]
    assert "Not made alike" not in said
    assert "Not made alike: 1 and 2 threads." in bench("table", "--out", out)


def test_speed_names_it(three_cores: None) -> None:
    words = ["speed", "--methods", "ft", "--backbone", "tiny", "--crop", "32", "--batch", "2", "--rounds", "1"]
    assert ", 1 threads," in bench(*words)


FREED_AND_TAKEN = """
import resource, sys, threading
import torch
from issbench.bench.engine.environment import arithmetic

threading.Thread(target=threading.Event().wait, daemon=True).start()  # beside it the C library goes other ways
with arithmetic(torch.device("cpu")):
    if sys.argv[1] == "refused":
        try:
            torch.ones(2**45)
        except RuntimeError:
            pass
    for _ in range(10):  # the heap grows until it has room
        torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)  # 64 MiB
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library can be told to keep memory")
@pytest.mark.parametrize("earlier", ["nothing", "refused"])
def test_memory_that_was_freed_is_used_again(earlier: str) -> None:
    """In a process of its own, as a run is; also after one that found too little memory."""
    command = [sys.executable, "-c", FREED_AND_TAKEN, earlier]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2**26
