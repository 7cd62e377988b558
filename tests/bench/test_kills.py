"""Whenever a command is killed, the same command ends with the bits of one that was not.

`pytest -m long tests/bench/test_kills.py` kills a hundred times and more; ISSBENCH_SEED chooses other instants.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forked import Command, Server, server
from reliability import keep
from small_folder import RECIPE, small_folder

from issbench.files import read_sealed

SETTINGS = [word for key, value in (RECIPE | {"first_epochs": 2}).items() for word in ("--set", f"{key}={value}")]
KILLED = [-signal.SIGKILL]
AT_WRITE = """
import os, signal
from pathlib import Path
left = [{number}]
def killing(usual):
    def call(*given, **named):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(*given, **named)
    return call
for name in ("touch", "rename", "replace", "unlink", "mkdir"):
    setattr(Path, name, killing(getattr(Path, name)))
os.fsync = killing(os.fsync)
"""
"""Kills the process before it changes the file system for the so manieth time."""


_KILLS_OF_A_ROUND = 15
"""At most: on a machine that has become slower the time between two may not do for a step's test."""


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("logs")) as made:
        yield made


class Place:
    """A data set, and a store with a cache of its own."""

    def __init__(self, root: Path, server: Server, workers: int = 0, ranks: int = 1):
        self.root, self._server, self._workers, self._ranks = root, server, workers, ranks
        small_folder(root / "data")

    def start(self, before: str = "") -> Command:
        words = ["sweep", "--methods", "gsc,ewc", "--scenarios", "folder_2-1", "--data", self.root / "data"]
        words += ["--out", self.root / "out", "--workers", self._workers, "--device", "cpu"]
        words += ["--checkpoint-every", 0, *SETTINGS]
        cache = f"import os; os.environ['ISSBENCH_CACHE'] = {str(self.root / 'cache')!r}\n"
        return self._server.start(*words, ranks=self._ranks, before=cache + before)

    def clear(self) -> None:
        """Forget all that was computed."""
        shutil.rmtree(self.root / "out", ignore_errors=True)
        shutil.rmtree(self.root / "cache", ignore_errors=True)

    def result(self) -> dict[str, Any]:
        """All that the runs computed, to the last bit, without times and the environment."""
        found: dict[str, Any] = {}
        out = self.root / "out"
        for path in sorted(out.glob("runs/*/run.json")):
            record: Any = read_sealed(path, path.parent.name)
            for step in record["steps"]:
                for name in ("weights.safetensors", "method.safetensors"):
                    found[f"{step['key']}/{name}"] = (out / "steps" / step["key"] / name).read_bytes()
                for test in step["evaluations"].values():
                    found[test["images"]] = (out / test["images"]).read_bytes()
                del step["test_seconds"]
                step["training"] = step["training"]["history"]
            found[path.parent.name] = record
        return found

    def where(self) -> str:
        """What a command was at when it was killed, as far as its files say."""
        out = self.root / "out"
        hidden = [path.name.lstrip(".").rpartition(".")[0] for path in self.root.rglob(".*.*")]
        if hidden:
            return "writing " + max(hidden, key=len).split("-")[0].lstrip("0123456789abcdef.") or "writing a step"
        if not [*(self.root / "cache").glob("*")]:
            return "reading the data"
        if [*out.glob("steps/*.checkpoint")]:
            return "training"
        return "planning, testing or recording" if out.is_dir() else "planning"


def finish(place: Place) -> None:
    """The command comes to its end, with the right table, and nothing lies about."""
    command = place.start()
    codes = command.wait()
    assert not any(codes), command.text
    steps = [path.name for path in (place.root / "out" / "steps").iterdir() if path.suffix != ".lock"]
    assert all(name.isalnum() or name.startswith(".") for name in steps), steps


@pytest.mark.long
def test_kills_before_changes_of_files(forked: Server, tmp_path: Path) -> None:
    """Some of the changes that the command makes, each in the place where the one before was killed."""
    place = Place(tmp_path, forked)
    finish(place)
    whole = place.result()
    place.clear()
    seed = int(os.environ.get("ISSBENCH_SEED", "0"))
    draw = random.Random(seed)
    kills = 0
    while kills < 8:
        command = place.start(AT_WRITE.format(number=draw.randint(1, 25)))
        if command.wait() != KILLED:
            break
        kills += 1
    finish(place)
    assert kills >= 4 and place.result() == whole, f"ISSBENCH_SEED={seed}"


@pytest.mark.long
@pytest.mark.parametrize(
    ("workers", "ranks", "kills"), [(0, 1, 70), (2, 1, 20), (0, 2, 20)], ids=["alone", "readers", "two"]
)
def test_kills_at_any_instant(forked: Server, tmp_path: Path, workers: int, ranks: int, kills: int) -> None:
    """All processes are killed at once, again and again until the command is done or was killed often enough, then
    all begins anew."""
    place = Place(tmp_path, forked, workers, ranks)
    started = time.monotonic()
    finish(place)
    seconds = time.monotonic() - started
    whole = place.result()
    seed = int(os.environ.get("ISSBENCH_SEED", "0"))
    draw = random.Random(f"{seed} {workers} {ranks}")
    print(f"ISSBENCH_SEED={seed}; undisturbed {seconds:.1f} s")
    where: Counter[str] = Counter()
    rounds = 0
    while where.total() < kills:
        place.clear()
        rounds += 1
        for _ in range(_KILLS_OF_A_ROUND):
            command = place.start()
            time.sleep(draw.uniform(0, seconds / 2))
            command.signal(signal.SIGKILL)
            codes = command.wait()
            if all(code == 0 for code in codes):
                break
            assert set(codes) == {-signal.SIGKILL}, command.text
            where[place.where()] += 1
        finish(place)
        assert place.result() == whole, f"ISSBENCH_SEED={seed}"
    print(f"{where.total()} kills in {rounds} rounds, 0 lost: {dict(where)}")
    how = {(2, 1): ", with two reading processes", (0, 2): ", two processes training together"}
    what = f"SIGKILL at a random instant{how.get((workers, ranks), '')}"
    keep(what, where.total(), 0, "pytest -m long tests/bench/test_kills.py", time.monotonic() - started)
