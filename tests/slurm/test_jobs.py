"""`--jobs`: runs beside each other on the CPU without being asked for, where that pays, to the same bits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from commands import bench, command
from rich.console import Console
from small_folder import RECIPE, small_folder

from issbench.bench import cores
from issbench.bench.commands.support import launching
from issbench.bench.engine import preflight
from issbench.bench.launching.submissions import load_submissions, settings_of
from issbench.results.runs import load_runs
from issbench.slurm import local, local_progress

WORDS = ["run", "--methods", "ft,lwf,mib", "--scenario", "folder_2-1", "--device", "cpu"]
WORDS += [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cores", lambda: 3)
    monkeypatch.setattr(local, "cores", lambda: 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("jobs") / "data")


def results(out: Path) -> dict[str, Any]:
    """All that two ways to run must agree in, to the bit: weights by their checksums, and counts."""
    weights = {path.parent.name: path.read_bytes() for path in out.glob("steps/*/weights.safetensors")}
    assert weights
    return weights | {run.path.parent.name: [step["metrics"] for step in run.steps] for run in load_runs(out)}


def test_several_at_once_give_the_bits_of_one_after_another(
    three_cores: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "_LEAST", 1)
    where = ["--data", data, "--out"]
    said = bench(*WORDS, *where, tmp_path / "many")
    (submission,) = load_submissions(tmp_path / "many")
    assert submission.launcher == "local" and submission.profile["max_parallel"] == 3
    assert settings_of(submission, tmp_path / "many").workers == 0  # every core has a job
    assert said.count("started ") == said.count("finished ") == 4 and "MiB" in said
    alone = bench(*WORDS, *where, tmp_path / "one", "--jobs", "1")
    assert "started " not in alone and not load_submissions(tmp_path / "one")
    assert results(tmp_path / "many") == results(tmp_path / "one")
    assert "all done" in bench(*WORDS, *where, tmp_path / "many")


def test_joint_training_waits_for_no_first_step(three_cores: None, data: Path, tmp_path: Path) -> None:
    """Its long step starts from nothing, so it trains beside the first step that it shares with the others."""
    words = [
        "run",
        "--methods",
        "ft,lwf,joint",
        *WORDS[3:],
        "--data",
        data,
        "--out",
        tmp_path / "out",
        "--jobs",
        "2",
    ]
    lines = [line for line in bench(*words).splitlines() if line.startswith("started")]
    assert sorted(lines[:2]) == [
        "started   joint folder_2-1 overlapped natural seed 0",
        "started   the first step of 2 runs, as ft folder_2-1 overlapped natural seed 0",
    ]
    (run,) = [run for run in load_runs(tmp_path / "out") if run.spec == "joint"]
    assert run.complete and [step["step"] for step in run.steps] == [0, 1]


def test_it_must_pay(three_cores: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*WORDS, "--data", data, "--out", tmp_path / "out", "--dry-run"]
    assert " at once" not in bench(*words)  # a few images
    monkeypatch.setattr(launching, "_LEAST", 1)
    assert "; 3 at once" in bench(*words)
    assert " at once" not in bench(*words, "--threads", "2")  # 3 cores have room for one such run
    assert " at once" not in bench(*words, "--jobs", "1")
    assert "; 2 at once" in bench(*words, "--jobs", "2")
    monkeypatch.setattr(preflight, "available", lambda: 1_200_000_000)
    assert "; 2 at once" in bench(*words)
    monkeypatch.setattr(preflight, "available", lambda: 900_000_000)
    assert " at once" not in bench(*words)


@pytest.mark.parametrize("number", ["0", "-1", "2.5", "many", ""])
def test_a_wrong_number_is_told(number: str, data: Path, tmp_path: Path) -> None:
    done = command(*WORDS, "--data", data, "--out", tmp_path / "out", f"--jobs={number}")
    assert done.returncode == 2 and "--jobs" in done.stderr


def test_what_is_shown(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line with each training and the time left; on a terminal bars, and lines above them."""
    from issbench.bench.engine.environment import choose_device
    from issbench.bench.engine.progress import Reporter
    from issbench.bench.engine.run import prepare
    from issbench.bench.experiment import Experiment
    from issbench.bench.position import Position, write_position

    experiment = Experiment("ft", "folder_2-1", data=str(data), recipe=dict(RECIPE))
    prepared = prepare([experiment], tmp_path, choose_device("cpu"), Reporter())
    (plan,) = prepared.plans
    monkeypatch.setattr(local_progress, "_EVERY", 0)
    monkeypatch.setattr(local_progress, "_LIVE", 0)
    said: list[str] = []
    plain = local_progress.LocalProgress([plan], prepared.store, said.append, Console(file=io.StringIO()))
    with plain.shown():
        plain.show({})
        (tmp_path / "runs" / plan.run_name).mkdir(parents=True, exist_ok=True)
        half = Position(0, 1, 2, 4, 1, 2, None, 0.0, rate=12.34, loss=0.5)
        write_position(tmp_path / "runs" / plan.run_name, half)
        plain.show({plan.run_name: "ft seed 0"})
        plain.end(plan.run_name)
        plain.show({})
    assert said[0] == "0 of 1 runs done"
    where = "ft seed 0: step 0/1 epoch 1/2, loss 0.500, 12.3 images/s"
    assert said[1].startswith("0 of 1 runs done, 0:00:0") and said[1].endswith(f" left; {where}")
    assert said[2].startswith("1 of 1 runs done")
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)
    live = local_progress.LocalProgress([plan], prepared.store, said.append, terminal)
    with live.shown():
        live.show({plan.run_name: "ft seed 0"})
        live.say("finished another")
        live.show({})
    assert "finished another" in screen.getvalue() and "epoch 1/2" in screen.getvalue() and len(said) == 3
