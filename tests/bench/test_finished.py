"""A command whose runs are all done prints its table at once, and what was changed since is never overlooked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from listed_folder import listed_folder, write_image
from plug_in import lay_out
from small_folder import RECIPE

from issbench.bench.finished import is_done
from issbench.bench.outcome import read_outcome
from issbench.files import read_sealed, write_sealed

METHOD = """
    from issbench.methods.method import Method
    import mine_helper

    class Mine(Method):
        name = "mine"
        title = "Mine"

        def terms(self, batch, targets):
            return {"mine": mine_helper.WEIGHT * batch.student.features.square().mean()}  # COMMENT
"""
WATCH = """
import sys
from issbench.bench.commands.app import main
sys.argv = ["bench", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"torch", "torchvision", "timm", "pandas", "matplotlib", "scipy"} & {*sys.modules}
    print("imported:", *sorted(heavy))
"""


TRAINED = "epoch 1/1"


class Place:
    """A user's folder with data, a store, and an installed method of the user's own."""

    def __init__(self, root: Path):
        self.data, self.out, self.site = root / "data", root / "out", root / "site"

    def bench(self, *words: object, methods: str = "ft,mine") -> tuple[str, bool]:
        """What a new process prints, and whether it imported torch."""
        settings = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
        command = ["run", "--methods", methods, "--scenario", "folder_1-2", "--data", self.data, "--out", self.out]
        command += ["--workers", 0, "--device", "cpu", *settings, *words]
        done = subprocess.run(
            [sys.executable, "-c", WATCH, *map(str, command)],
            capture_output=True, text=True, check=False, cwd=self.site.parent,
            env=os.environ | {"PYTHONPATH": f"{self.site}{os.pathsep}{_path_of_package()}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        text, _, imported = done.stdout.rpartition("imported:")
        return text, "torch" in imported

    def keys(self, method: str) -> list[str]:
        (path,) = (self.out / "runs").glob(f"*-{method}-*/run.json")
        return [step["key"] for step in read_sealed(path)["steps"]]


def _path_of_package() -> str:
    import issbench

    return str(Path(issbench.__file__).resolve().parents[1])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("place"))
    listed_folder(place.data)
    lay_out(place.site, "mine", "Mine", METHOD)
    (place.site / "mine_helper.py").write_text("WEIGHT = 0.5\nUNUSED = 1\n")
    text, torch = place.bench()
    assert TRAINED in text and torch
    return place


@pytest.fixture
def place(finished: Place, tmp_path: Path) -> Place:
    """A copy of the store; the rest is shared, and must be put back where it is changed."""
    found = Place(finished.data.parent)
    found.out = Path(shutil.copytree(finished.out, tmp_path / "out"))
    return found


def test_what_is_done_needs_no_torch(place: Place) -> None:
    before = {path: path.stat().st_mtime_ns for path in place.out.rglob("*")}
    text, torch = place.bench()
    assert not torch and "all done" in text and "FT" in text and "Mine" in text and TRAINED not in text
    assert before == {path: path.stat().st_mtime_ns for path in place.out.rglob("*")}
    assert place.bench("--dry-run")[1] is False
    text, torch = place.bench(methods="mine")
    assert not torch and "FT" not in text


def test_edited_plug_ins_are_never_overlooked(place: Place) -> None:
    method, helper = place.site / "mine_method.py", place.site / "mine_helper.py"
    before, source, weight = place.keys("mine"), method.read_text(), helper.read_text()
    try:
        method.write_text(source.replace("COMMENT", "twice the comment"))
        text, torch = place.bench()
        assert torch and "2 done, 0 to do" in text and TRAINED not in text  # planned anew, and found as it was
        assert place.bench()[1] is False and place.keys("mine") == before
        helper.write_text(weight.replace("0.5", "7.0"))
        assert place.bench(methods="ft")[1] is False
        text, torch = place.bench()
        assert torch and "1 done, 1 to do" in text and text.count(TRAINED) == 1
        after = place.keys("mine")
        assert after[0] == before[0] and after[1] != before[1]
    finally:
        method.write_text(source)
        helper.write_text(weight)
    text, torch = place.bench()
    assert torch and "1 done, 1 to do" in text and TRAINED not in text  # its steps are still in the store
    assert place.keys("mine") == before


def test_changed_data_and_missing_files_are_never_overlooked(place: Place) -> None:
    try:
        write_image(place.data, "d", seed=1)
        text, torch = place.bench(methods="ft")
        assert torch and "0 done, 1 to do" in text and text.count(TRAINED) == 1
    finally:
        write_image(place.data, "d")
    assert place.bench(methods="ft")[1] is False
    counts = next((place.out / "steps" / place.keys("mine")[1]).glob("evaluation-*.npz"))
    counts.unlink()
    text, torch = place.bench()
    assert torch and "1 done, 1 to do" in text and TRAINED not in text and counts.is_file()


# The one definition


def test_a_run_is_done_when_its_record_says_so_and_its_counts_are_there(finished: Place, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished.out, tmp_path / "out"))
    (path,) = (out / "runs").glob("*-ft-*/run.json")
    run, record = path.parent.name, read_sealed(path)
    steps = [(step["key"], step["evaluations"]["confusion"]["name"]) for step in record["steps"]]
    assert is_done(out, run, steps) and not is_done(out, run, steps, ["boundary-iou"])
    outcome = read_outcome(path.with_name("outcome.json"))
    assert outcome is not None and outcome.state == "done"
    assert not is_done(out, run, steps[:1]) and not is_done(out, run, steps[::-1])
    assert not is_done(out, run, [*steps, ("0123", "evaluation-x")])
    assert not is_done(out, run, [(key, "evaluation-x") for key, _ in steps])
    assert not is_done(out, run, [*steps, (steps[0][0], "evaluation-of-something-more")])
    assert not is_done(out, "another-run", steps)
    for change in ({"complete": False}, {"format": record["format"] + 1}, {"format": record["format"] - 1}):
        write_sealed(path, record | change, run)
        assert not is_done(out, run, steps)
    write_sealed(path, record | {"experiment": record["experiment"] | {"metrics": ["boundary-iou"]}}, run)
    assert is_done(out, run, steps, ["boundary-iou"])
    (out / record["steps"][0]["evaluations"]["confusion"]["images"]).unlink()
    assert not is_done(out, run, steps)
