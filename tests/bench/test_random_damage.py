"""Files of a run store damaged at random: no command shows another table or a traceback, and `bench run` mends it.

ISSBENCH_DAMAGES=200 ISSBENCH_SEED=1 pytest -n 0 -m long tests/bench/test_random_damage.py
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from commands import command
from damage import damage, files_of
from listed_folder import listed_folder
from reliability import keep
from small_folder import RECIPE
from submissions import submission, submitted

from issbench.bench.engine.store import Store
from issbench.bench.position import Position, write_position
from issbench.files import read_sealed

SETTINGS = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
SEED = int(os.environ.get("ISSBENCH_SEED", "12"))
MANY = int(os.environ.get("ISSBENCH_DAMAGES", "200"))


class Place:
    """A data set, a run store with all kinds of files, and the commands that read it."""

    def __init__(self, root: Path):
        self.root, self.data, self.out, self.made = root, root / "data", root / "out", root / "made"

    @property
    def run(self) -> list[object]:
        common = ["--scenario", "folder_1-1", "--data", self.data, "--out", self.out, "--workers", 0, *SETTINGS]
        return ["run", "--methods", "gsc,ewc,ft", "--device", "cpu", *common]

    def commands(self, name: str) -> list[list[object]]:
        """Those that only read the store; `name` is a run's."""
        store, one = ["--out", self.out], self.data / "images" / "a.png"
        figures = ("steps", "forgetting", "class-steps", "critical-difference", "predictions", "pseudo-labels")
        return [
            *(["table", "--format", format, *store] for format in ("terminal", "markdown", "latex", "html", "csv")),
            ["table", "long", *store], ["table", "main", "--both", *store],
            ["show", name, *store],
            ["report", "--output", self.made / "report.html", *store],
            *(["figure", each, "--output", self.made / f"{each}.svg", *store] for each in figures),
            ["compare", "gsc", "ft", *store], ["compare", "gsc", "ewc", "ft", *store],
            ["status", "--all", *store], ["status", "--failed", *store], ["logs", name, *store],
            ["retry", name, *store], ["cancel", name, *store],
            ["predict", name, one, "--output", self.made, *store],
            ["data", "stats", "folder_1-1", "--root", self.data], ["data", "check", "folder", "--root", self.data],
            [*self.run, "--dry-run"],
            ["list", "methods"], ["list", "scenarios"],
        ]  # fmt: skip

    def answer(self, words: list[object]) -> tuple[int, str]:
        """What a command says: its exit code, and all that it prints and writes, without times."""
        shutil.rmtree(self.made, ignore_errors=True)
        self.made.mkdir()
        done = command(*words)
        files = [path.read_bytes().decode(errors="replace") for path in sorted(self.made.rglob("*"))]
        text = "\n".join([done.stdout, done.stderr if done.returncode else "", *files])
        return done.returncode, re.sub(r"[0-9:.]+ (s|seconds|min) ", "", text)

    def tables(self) -> list[str]:
        """The numbers of all runs."""
        words = [["table", *more, "--out", self.out] for more in (["--format", "csv"], ["long"])]
        return [command(*each).stdout for each in words]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with finished runs, a submission, a run of other code, and a checkpoint of an unfinished step."""
    place = Place(tmp_path_factory.mktemp("whole"))
    listed_folder(place.data)
    done = command(*place.run)
    assert done.returncode == 0, done.stderr
    runs = {path.parent.name: read_sealed(path) for path in sorted(place.out.glob("runs/*/run.json"))}
    (gsc,) = [name for name in runs if "-gsc-" in name]
    entries = [submitted(name, None, method=record["experiment"]["method"]) for name, record in runs.items()]
    keys = [tuple((s["key"], s["evaluations"]["confusion"]["name"]) for s in r["steps"]) for r in runs.values()]
    submission(
        place.out, *(replace(e, steps=steps) for e, steps in zip(entries, keys, strict=True)), launcher="local"
    )
    write_position(place.out / "runs" / gsc, Position(1, 2, 1, 4, 1, 1, 9.0, 1.0))
    Store(place.out).save_checkpoint("0" * 24, {"iteration": 1, "student": {}})
    return place


def try_damages(whole: Place, root: Path, count: int, seed: int, every: int = 1) -> tuple[Counter[str], list[str]]:
    """Damage so many files, each in a fresh copy of the store, and try each `every`th command. How often commands
    answered alike or refused, and what went wrong."""
    draw, seen, wrong = random.Random(seed), Counter[str](), list[str]()
    kinds = list(files_of(whole.out))
    print(f"seed {seed}: {count} damages of {len(kinds)} kinds of files")
    name = next(path.name for path in whole.out.glob("runs/*-gsc-*"))
    place = Place(root)
    place.data = whole.data
    shutil.copytree(whole.out, place.out)
    expected, numbers = [place.answer(words) for words in place.commands(name)], place.tables()
    for number in range(count):
        shutil.rmtree(place.out)
        shutil.copytree(whole.out, place.out)
        path = draw.choice(files_of(place.out)[kinds[number % len(kinds)]])
        what = f"damage {number} of seed {seed}: {path.relative_to(place.out)} {damage(path, draw)}"
        for words, before in list(zip(place.commands(name), expected, strict=True))[number % every :: every]:
            try:
                code, text = place.answer(words)
            except AssertionError as error:
                wrong.append(f"{what}: {words[:3]} ended in a bug: {str(error)[-600:]}")
                continue
            same = (code, text) == before
            if not (same or code in (1, 2) or path.stem in text or _may_differ(words, path)):
                wrong.append(f"{what}: {words[:3]} said something else: {text[:600]}")
            seen["the same" if same else f"exit code {code}"] += 1
        try:
            done = command(*place.run)
            if done.returncode or place.tables() != numbers:
                wrong.append(f"{what}: bench run did not mend it: {done.returncode} {done.stderr}")
        except AssertionError as error:
            wrong.append(f"{what}: bench run ended in a bug: {str(error)[-600:]}")
    return seen, wrong


def _may_differ(words: list[object], path: Path) -> bool:
    """Whether a command says what became of runs, or what is to be done, so that it says something else where the
    file that tells it was damaged."""
    states = words[0] in ("status", "logs", "retry", "cancel") and path.parent.parent.name in (
        "runs",
        "submissions",
    )
    return "--dry-run" in words or states


def test_a_damaged_file_changes_no_table(whole: Place, tmp_path: Path) -> None:
    seen, wrong = try_damages(whole, tmp_path, 17, SEED, every=14)
    assert not wrong
    assert seen["the same"] > 10


@pytest.mark.long
def test_damaged_files_change_no_table(whole: Place, tmp_path: Path) -> None:
    started = time.monotonic()
    seen, wrong = try_damages(whole, tmp_path, MANY, SEED, every=4)
    print(seen)
    command, seconds = "pytest -m long tests/bench/test_random_damage.py", time.monotonic() - started
    keep("a file of the store damaged at random", MANY, len(wrong), command, seconds)
    keep("commands on such a store", seen.total(), len(wrong), command, seconds)
    assert not wrong, "\n".join(wrong)
