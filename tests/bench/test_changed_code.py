"""An edit of this package's own code changes keys where it can change a number, and nothing else does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from listed_folder import listed_folder
from small_folder import RECIPE

ROOT = Path(__file__).parents[2]
CODE = ("__init__.py", "errors.py", "files.py", "plugins.py", "bench", "methods", "results", "scenarios")


class Edit(NamedTuple):
    """A text in a file of the package that is replaced."""

    file: str
    old: str
    new: str


NOTHING = (
    Edit("methods/equations/compensation.py", '"""Gradient and semantic compensation."""', '"""Two."""\n# a line'),
    Edit("methods/equations/compensation.py", "# sigmoid(−x), because 1", "# sigmoid(−x), as 1"),
    Edit("methods/gsc.py", '"""The options of PLOP and of the four parts."""', '"""Options."""'),
    Edit("methods/gsc.py", 'title = "GSC"', 'title = "GSC!"'),
    Edit(
        "bench/engine/update.py",
        '"""Half precision where the recipe of a step says so."""',
        '"""Half."""  # two',
    ),
    Edit("bench/engine/update.py", "iterations: int) -> None:", "iterations: float) -> None:"),
    Edit("bench/engine/network.py", "    if how ==", "    # the other way\n\n    if how =="),
    Edit("bench/engine/lock.py", "LEASE = 120.0", "LEASE = 60.0"),
    Edit("bench/recipe.py", "    epochs: Count = 30\n", "    epochs: Count = 30\n    grad_clip: float = 0.0\n"),
    Edit("scenarios/transforms.py", '"""Resized so that the shorter side', '"""Made so that the shorter side'),
    Edit("methods/sdr.py", "torch.", "1 * torch."),  # of another method
)
LATER_STEPS = (
    Edit("methods/equations/compensation.py", "torch.sigmoid(-promote(", "torch.sigmoid(+promote("),
    Edit("methods/gsc.py", "class GSC(PR, SG, SR, SC, PLOP):", "class GSC(PR, SG, SC, SR, PLOP):"),
)
EVERY_STEP = (
    Edit("bench/engine/update.py", "(1 - iteration / iterations)", "(1 + iteration / iterations)"),
    Edit("bench/engine/network.py", "log(new.out_channels + 1)", "log(new.out_channels - 1)"),
    Edit("bench/engine/order.py", "[place * self.batch :", "[1 + place * self.batch :"),
    Edit("bench/engine/samples.py", "(0.485, 0.456, 0.406)", "(0.5, 0.456, 0.406)"),
    Edit("scenarios/transforms.py", "math.exp(low +", "math.exp(low -"),
)
TESTS = (
    Edit("bench/metrics/confusion.py", "(target < num_classes)", "(target <= num_classes)"),
    Edit("bench/engine/evaluation.py", "best_channel(network", "best_channel(-network"),
)
EDITS = NOTHING + LATER_STEPS + EVERY_STEP + TESTS

SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
import issbench
from issbench.bench.data import open_data
from issbench.bench.engine import engine
from issbench.bench.engine.plan import make_plan
from issbench.bench.experiment import Experiment

data, recipe, edits = sys.argv[1], *map(json.loads, sys.argv[2:])
copy = Path(issbench.__file__).parent
assert copy == Path.cwd() / "issbench"
for edit in [None, *edits]:
    child = os.fork()  # nothing is imported again: the fingerprint is taken of the sources
    if child == 0:
        if edit:
            name, old, new = edit
            text = (copy / name).read_text()
            assert old in text, edit
            (copy / name).write_text(text.replace(old, new))
        experiment = Experiment("gsc", "folder_1-1", data=data, recipe=recipe)
        plan = make_plan(experiment, open_data(experiment), torch.device("cpu"))
        tests = [step.evaluations["confusion"] for step in plan.steps]
        print(json.dumps([[step.key for step in plan.steps], tests, plan.run_name]), flush=True)
        if edit:
            (copy / name).write_text(text)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, edit
"""


class Found(NamedTuple):
    """What a plan has after an edit."""

    keys: list[str]
    tests: list[str]
    run_name: str


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[Edit | None, Found]:
    """By the edit of a copy of this package; None for the copy as it is."""
    place = tmp_path_factory.mktemp("copy")
    for name in CODE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (place / "issbench").mkdir(exist_ok=True)
        copy(ROOT / name, place / "issbench" / name)
    data = listed_folder(place / "data")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(data), json.dumps(RECIPE), json.dumps(EDITS)],
        capture_output=True, text=True, cwd=place, env=os.environ | {"PYTHONPATH": str(place)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [Found(*json.loads(line)) for line in done.stdout.splitlines()]
    return dict(zip([None, *EDITS], lines, strict=True))


def unchanged(one: list[str], other: list[str]) -> list[bool]:
    return [a == b for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("edit", NOTHING)
def test_what_changes_no_number(found: dict[Edit | None, Found], edit: Edit) -> None:
    assert found[edit] == found[None]


@pytest.mark.parametrize("edit", LATER_STEPS)
def test_what_changes_the_method(found: dict[Edit | None, Found], edit: Edit) -> None:
    assert unchanged(found[edit].keys, found[None].keys) == [True, False, False]
    assert found[edit].tests == found[None].tests and found[edit].run_name == found[None].run_name


@pytest.mark.parametrize("edit", EVERY_STEP)
def test_what_changes_every_training(found: dict[Edit | None, Found], edit: Edit) -> None:
    assert unchanged(found[edit].keys, found[None].keys) == [False, False, False]
    assert found[edit].run_name == found[None].run_name


@pytest.mark.parametrize("edit", TESTS)
def test_what_changes_the_test_alone(found: dict[Edit | None, Found], edit: Edit) -> None:
    assert found[edit].keys == found[None].keys
    assert unchanged(found[edit].tests, found[None].tests) == [False, False, False]
