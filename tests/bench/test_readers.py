"""Processes that read images: whatever becomes of one, the command ends, names the image, leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path

import pytest
from bad_files import small_set
from commands import command
from PIL import Image

from issbench.bench.engine import readers
from issbench.scenarios import reading
from issbench.scenarios.datasets import base
from issbench.scenarios.datasets.images import read_image
from issbench.scenarios.errors import DataError
from issbench.scenarios.reading import read_all

PATIENCE = 3.0


def fail(error: type[BaseException]) -> Callable[[], object]:
    def act() -> None:
        raise error("simulated")

    return act


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1000)


def spin() -> None:
    while True:
        pass


FAULTS: dict[str, tuple[Callable[[], object], str, tuple[int, ...]]] = {
    "MemoryError": (fail(MemoryError), "reading image s5 failed: MemoryError: simulated", (0, 2)),
    "RuntimeError": (fail(RuntimeError), "reading image s5 failed: RuntimeError: simulated", (0, 2)),
    "DataError": (fail(DataError), "simulated", (0, 2)),
    "SystemExit": (fail(SystemExit), "reading image s5 failed: SystemExit: simulated", (0, 2)),
    "KeyboardInterrupt": (fail(KeyboardInterrupt), "reading image s5 failed: KeyboardInterrupt: simulated", (2,)),
    "os._exit": (lambda: os._exit(3), "the process that read image s5 ended by itself (exit code 3)", (2,)),
    "SIGKILL": (kill, "the process that read image s5 was killed by SIGKILL; if memory ran out", (2,)),
    "SIGTERM": (terminate, "the process that read image s5 ended by itself (exit code 143)", (2,)),
    "sleeps": (lambda: time.sleep(1000), "reading image s5 did not end within 3 s; see to the disk", (0, 2)),
    "spins": (spin, "reading image s5 did not end within 3 s", (0, 2)),
}
CASES = [(name, workers) for name, (_, _, numbers) in FAULTS.items() for workers in numbers]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISSBENCH_CACHE", str(tmp_path / "cache"))  # else nothing is read that another test has read
    return small_set(tmp_path / "data")


def run(data: Path, workers: int) -> subprocess.CompletedProcess[str]:
    words = ["--methods", "ft", "--scenario", "folder_2-1", "--backbone", "tiny", "--weights", "none"]
    settings = ["--set", "epochs=1", "--set", "first_epochs=1", "--set", "crop=16", "--set", "batch=2"]
    return command("run", *words, *settings, "--workers", workers, "--data", data, "--out", data.parent / "out")


@pytest.mark.parametrize("name, workers", CASES)
def test_a_fault_while_an_image_is_read(
    name: str, workers: int, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, says, _ = FAULTS[name]

    def read(path: Path) -> Image.Image:
        if path.stem == "s5":
            act()
        return read_image(path)

    monkeypatch.setattr(base, "read_image", read)
    monkeypatch.setattr(readers, "PATIENCE", 60.0 if name == "SIGTERM" else PATIENCE)
    monkeypatch.setattr(readers, "_GRACE", 0.5)
    started = time.monotonic()
    done = run(data, workers)
    assert time.monotonic() - started < 60
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not active_children()
    monkeypatch.undo()
    assert run(data, workers).returncode == 0  # nothing that was left confuses the next run


def test_reading_processes_end_with_the_main_one(data: Path) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from pathlib import Path
from issbench.scenarios.datasets import base
base.read_image = lambda path: time.sleep(1000)
import os
from issbench.bench.engine import readers
start = readers._start
def told(number):
    start(number)
    (Path({str(data)!r}) / f"pid{{os.getpid()}}").touch()
readers._start = told
sys.argv = ["bench", "run", "--methods", "ft", "--scenario", "folder_2-1", "--backbone", "tiny",
            "--weights", "none",
            "--set", "crop=16", "--set", "batch=2", "--workers", "2", "--data", {str(data)!r},
            "--out", {str(data.parent / "out")!r}]
from issbench.bench.commands.app import main
main()
"""
    main = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pids: list[int] = []
    limit = time.monotonic() + 120
    while len(pids) < 2 and time.monotonic() < limit and main.poll() is None:
        pids = [int(path.name.removeprefix("pid")) for path in data.glob("pid*")]
        time.sleep(0.1)
    assert len(pids) == 2
    main.kill()
    main.wait()
    while any(map(alive, pids)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not any(map(alive, pids))


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_scan_that_hangs_or_fails_names_the_sample() -> None:
    def read(sample: str) -> str:
        if sample == "b":
            time.sleep(1000)
        return sample.upper()

    found = []
    with pytest.raises(DataError, match=r"reading b did not end within 1 s"):
        for pair in read_all(read, ["a", "b", "c"], patience=1):
            found.append(pair)
    assert sorted(found) == [("a", "A"), ("c", "C")]


def stop_for_a_while(*pids: int) -> None:
    """Stop processes soon, for longer than the patience of these tests, as Slurm suspends a job."""
    names = " ".join(map(str, pids))
    subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -STOP {names}; sleep 4; kill -CONT {names}"])


def test_a_scan_that_was_stopped_goes_on() -> None:
    stop_for_a_while(os.getpid())
    assert [*read_all(lambda sample: time.sleep(1), ["a"], patience=PATIENCE)] == [("a", None)]


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_that_was_stopped_goes_on(workers: int, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> Image.Image:
        if path.stem == "s5":
            stop_for_a_while(*({os.getpid(), main}))
            time.sleep(1)
        return read_image(path)

    main = os.getpid()
    monkeypatch.setattr(base, "read_image", read)
    monkeypatch.setattr(readers, "PATIENCE", PATIENCE)
    done = run(data, workers)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("error", [MemoryError, KeyError, SystemExit])
def test_any_error_of_a_scan_is_one_message(
    error: type[BaseException], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "read_indices", lambda path: fail(error)())
    for arguments in (["data", "check", "folder", "--root", data], ["data", "stats", "folder_2-1", "--root", data]):
        done = command(*arguments)
        text = done.stdout + done.stderr
        assert done.returncode == 1 and f"failed: {error.__name__}: " in text and "Traceback" not in text
    assert reading.PATIENCE <= 50
