"""What a run tells while it trains, and what it leaves for `bench status`."""

import io
import logging
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import bench
from rich.console import Console
from small_folder import RECIPE, small_folder

from issbench import Experiment, run
from issbench.bench.engine import progress
from issbench.bench.engine.progress import Reporter
from issbench.bench.outcome import write_outcome
from issbench.bench.position import Position, read_position, write_position


def started(folder: Path, **training) -> Reporter:
    """A reporter of a run that has come to step 3 of 0–5."""
    experiment = SimpleNamespace(method="ft", scenario="s", setting="overlapped", order="A", seed=0, images="1")
    reporter = Reporter()
    folder.mkdir(exist_ok=True)
    recipe = SimpleNamespace(batch=8)
    steps = [SimpleNamespace(index=index, key=f"{index}", recipe=recipe, images_seen=800) for index in range(6)]
    plan = SimpleNamespace(experiment=experiment, steps=steps)
    with reporter.running([plan, plan], ["3", "4"]):
        reporter.start_run(plan, folder)
    reporter.start_training(3, **training)
    return reporter


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """The time, which stands still until it is set."""
    clock = SimpleNamespace(now=1000.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now, strftime=progress.time.strftime)
    monkeypatch.setattr(progress, "time", fake)
    return clock


def test_the_file_follows_the_training_and_is_gone_at_its_end(tmp_path):
    seen = []

    class Watching(Reporter):
        def advance(self, iteration: int) -> None:
            super().advance(iteration)
            seen.append(read_position(next((tmp_path / "runs").iterdir())))

    experiment = Experiment("ft", "folder_2-1", data=small_folder(tmp_path / "data"), recipe=RECIPE)
    run(experiment, out=tmp_path, workers=0, reporter=Watching())
    assert {(position.step, position.last_step, position.epochs) for position in seen} == {(0, 1, 1), (1, 1, 1)}
    left = {path.name for path in next((tmp_path / "runs").iterdir()).iterdir()}
    assert left == {"run.json", "plan.json", "outcome.json", "log.txt"}


def test_position_epoch_and_time_left(tmp_path, clock):
    reporter = started(tmp_path, epochs=4, iterations=100, start=20)
    first = read_position(tmp_path)
    assert (first.step, first.last_step, first.iteration, first.epoch, first.left) == (3, 5, 20, 1, None)
    clock.now += 30
    reporter.advance(50)
    position = read_position(tmp_path)
    assert (position.iteration, position.iterations, position.epoch, position.epochs) == (50, 100, 3, 4)
    assert (position.left, position.updated) == (50.0, 1030.0)  # one iteration a second since it was resumed


def test_the_file_is_written_seldom(tmp_path, clock):
    reporter = started(tmp_path, epochs=1, iterations=1000, start=0)
    written = set()
    for iteration in range(1, 101):
        clock.now += 1
        reporter.advance(iteration)
        written.add(read_position(tmp_path).iteration)
    assert len(written) <= 11


def test_a_file_system_that_refuses_does_not_end_the_run(tmp_path, clock):
    folder = tmp_path / "run"
    reporter = started(folder, epochs=1, iterations=10, start=0)
    (folder / "progress.json").unlink()
    (folder / "progress.json").mkdir()
    clock.now += 60
    reporter.advance(5)
    assert read_position(folder) is None


def test_a_file_of_another_version_is_none(tmp_path):
    (tmp_path / "progress.json").write_text('{"step": 1}')
    assert read_position(tmp_path) is None
    (tmp_path / "progress.json").write_text("{")
    assert read_position(tmp_path) is None


def test_images_a_second_loss_and_time_left_of_all_runs(tmp_path, clock):
    reporter = started(tmp_path, epochs=4, iterations=100, start=0)
    clock.now += 25
    reporter.advance(25)
    position = read_position(tmp_path)
    assert (position.rate, position.loss, position.left_of_all) == (8.0, None, (2 * 800 - 200) / 8)
    reporter.end_epoch(1, {"a": 0.5, "b": 0.25}, 25, 25.0)
    log = (tmp_path / "log.txt").read_text()
    assert f"run 1/2, s overlapped, order A, seed 0; log: {tmp_path / 'log.txt'}" in log
    assert "run 1/2, step 3/5 epoch 1/4  loss a 0.5000 + b 0.2500  25 s, 8.0 images/s" in log
    assert "0:01:15 to the end of the step, 0:02:55 for all runs" in log
    clock.now += 25
    reporter.advance(50)
    assert read_position(tmp_path).loss == 0.75


def test_what_fails_is_not_waited_for(tmp_path, clock):
    reporter = started(tmp_path, epochs=1, iterations=100, start=0)
    clock.now += 10
    reporter.advance(10)
    reporter.fail_run(ValueError("x"))
    assert reporter._to_train == {}


def test_python_is_quiet_unless_asked(tmp_path, capsys, caplog, monkeypatch):
    experiment = Experiment("ft", "folder_2-1", data=small_folder(tmp_path / "data"), recipe=RECIPE)
    caplog.set_level(logging.INFO, "issbench")
    run(experiment, out=tmp_path / "store", workers=0)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    assert any("epoch 1/1" in line for line in caplog.messages)
    shown = io.StringIO()
    monkeypatch.setattr("issbench.bench.engine.run.Console", lambda: Console(file=shown))
    caplog.clear()
    run(experiment, out=tmp_path / "other", workers=0, progress=True)
    assert "epoch 1/1" in shown.getvalue() and "images/s" in shown.getvalue() and not caplog.messages


def test_status_tells_what_the_log_tells(tmp_path):
    folder = tmp_path / "store" / "runs" / "shapes_4-1-overlapped-ft-seed0-0123abcd"
    folder.mkdir(parents=True)
    write_outcome(folder / "outcome.json", "running")
    position = Position(1, 4, 30, 90, 2, 5, 60.0, time.time(), rate=12.34, loss=0.5, left_of_all=3600.0)
    write_position(folder, position)
    said = " ".join(bench("status", "--out", tmp_path / "store").split())  # a long line is folded
    assert "step 1 of 0–4, epoch 2/5, iteration 30/90, 0:01:00 to the end of the step" in said
    assert "1:00:00 to the end of all runs, 12.3 images/s, loss 0.5000" in said
