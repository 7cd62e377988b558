"""What a run leaves for `bench status` while it trains."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from small_folder import RECIPE, small_folder

from issbench import Experiment, run
from issbench.bench.engine import progress
from issbench.bench.engine.progress import Reporter
from issbench.bench.position import read_position


def started(folder: Path, **training) -> Reporter:
    """A reporter of a run that has come to step 3 of 0–5."""
    experiment = SimpleNamespace(method="ft", scenario="s", setting="overlapped", order="A", seed=0, images="1")
    reporter = Reporter()
    folder.mkdir(exist_ok=True)
    reporter.start_run(SimpleNamespace(experiment=experiment, steps=[SimpleNamespace(index=5)]), folder)
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
