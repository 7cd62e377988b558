"""`bench retry` of runs that `bench run` carried out itself: named, they go on in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import bench
from small_folder import RECIPE, small_folder

from issbench.bench.engine.training import StepTrainer
from issbench.errors import RunError


def test_a_run_that_failed_goes_on_where_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    place = ["--data", small_folder(tmp_path / "data"), "--workers", "0", *words]
    run, train = StepTrainer.run, ["run", "--scenario", "folder_2-1", *place, "--out", tmp_path / "store"]

    def fail(self: StepTrainer, every: float) -> None:
        if self.step.index == failing:
            raise RunError("no more")
        run(self, every)

    monkeypatch.setattr(StepTrainer, "run", fail)
    failing = 1
    bench(*train, "--methods", "ft", code=1)
    (name,) = [path.name for path in (tmp_path / "store" / "runs").iterdir()]
    store = ["--out", tmp_path / "store"]
    assert f"bench retry {name}" in bench("retry", *store)
    failing = -1
    assert "mIoU" in bench("retry", name, *store) and "1 done" in bench("status", *store)
    assert "no run to submit again" in bench("retry", *store)


def test_a_run_without_a_record_needs_its_command(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "runs" / "shapes_4-1-overlapped-ft-seed0-0123abcd"
    folder.mkdir(parents=True)
    (folder / "outcome.json").write_text('{"state": "failed", "reason": "no more", "time": 1.0}')
    (tmp_path / "store" / "store.json").write_text('{"format": 2}')
    assert "give its command again" in bench("retry", folder.name, "--out", tmp_path / "store", code=2)
