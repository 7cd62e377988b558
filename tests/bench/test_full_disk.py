"""A disk without room, while anything is written: one message, nothing lost, and the same command goes on."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import command
from faulty_disk import fill, mounted
from listed_folder import listed_folder
from small_folder import RECIPE

from issbench import files
from issbench.files import CannotWrite, read_sealed, write_bytes
from issbench.outputs import write_output

SETTINGS = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
TOLD = r"error: \S+ cannot be written, no space is left there: it needs [\d,]+ bytes, and [\d,]+ bytes are free"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return listed_folder(tmp_path_factory.mktemp("data") / "folder")


def run(data: Path, out: Path) -> list[object]:
    where = ["--scenario", "folder_1-1", "--data", data, "--out", out, "--workers", 0, "--device", "cpu"]
    return ["run", "--methods", "ewc", *where, "--checkpoint-every", 0, *SETTINGS]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    assert command(*run(data, out)).returncode == 0
    return out


def results(out: Path) -> list[object]:
    """Metrics and weights of the finished steps."""
    (path,) = out.glob("runs/*/run.json")
    steps = read_sealed(path)["steps"]
    return [(s["counts"], (out / "steps" / s["key"] / "weights.safetensors").read_bytes()) for s in steps]


class NthWrite:
    """Lets the file system refuse to make the file number `number` durable."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, error: int):
        self.written, self.number, self.error = 0, number, error
        patch.setattr(files.os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        self.written += 1
        if self.written >= self.number:
            raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize(
    ("error", "every"),
    [
        (errno.EDQUOT, 9),
        *(pytest.param(e, 1, marks=pytest.mark.long) for e in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
    ],
)
def test_whatever_is_written_when_room_ends_the_same_command_goes_on(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, every: int
) -> None:
    """Outcome, checkpoint, files of a step, evaluation, record: each of them may be the first without room."""
    out, number, messages = tmp_path / "out", 1, set[str]()
    while True:
        with monkeypatch.context() as patch:
            disk = NthWrite(patch, number, error)
            done = command(*run(data, out))
        if disk.written < number:
            break
        if done.returncode:
            assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
            assert re.match(
                r"error: \S+ cannot be written, .* it needs [\d,]+ bytes, and [\d,]+ bytes", done.stderr
            )
            messages.add(re.sub(r".*/([\w.]+) cannot.*", r"\1", done.stderr.splitlines()[0]))
        assert not [path for path in out.rglob(".*") if path.is_file()], "nothing half written stays"
        shutil.rmtree(out)
        number += every
    assert results(out) == results(whole)
    assert len(messages) > 1, messages


def test_a_run_goes_on_when_there_is_room_again(data: Path, whole: Path, tmp_path: Path) -> None:
    disk, size = tmp_path / "disk", sum(path.stat().st_size for path in whole.rglob("*"))
    with mounted(disk, "-t", "tmpfs", "-o", f"size={8 * size + 2**24}", "none"):
        out = disk / "out"
        seen = 0
        for leave in (0, size // 8, size // 2):
            filler = fill(disk, leave)
            done = command(*run(data, out))
            seen += done.returncode
            if done.returncode:
                assert re.match(TOLD, done.stderr) or "steps to train need" in done.stderr, done.stderr
                assert len(done.stderr.strip().splitlines()) == 1
            filler.unlink()
        assert seen, "the disk was too large for this test"
        assert command(*run(data, out)).returncode == 0
        assert results(out) == results(whole)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_on_the_size_of_files(data: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with largest_file(20_000):
        done = command(*run(data, out))
    assert done.returncode == 1 and "no file may be so large here (see `ulimit -f`)" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert command(*run(data, out)).returncode == 0 and results(out) == results(whole)


def test_every_file_that_a_user_asks_for(whole: Path, data: Path, tmp_path: Path) -> None:
    disk, store = tmp_path / "disk", ["--out", whole]
    name = next(path.name for path in (whole / "runs").iterdir())
    with mounted(disk, "-t", "tmpfs", "-o", "size=1m", "none"):
        (disk / "pictures").mkdir()
        old = disk / "table.csv"
        old.write_text("earlier")
        fill(disk)
        for words in (
            ["table", "--output", old, "--force", *store], ["table", "--output", disk / "t.tex", *store],
            ["table", "long", "--output", disk / "t.csv", *store], ["report", "--output", disk / "r.html", *store],
            ["figure", "steps", "--output", disk / "f.svg", *store],
            ["predict", name, data / "images" / "a.png", "--output", disk / "pictures", *store],
        ):  # fmt: skip
            done = command(*words)
            assert done.returncode == 1 and re.search(TOLD, done.stderr), (words, done.stderr)
        assert old.read_text() == "earlier"
        assert {path.name for path in disk.rglob("*")} == {"pictures", "table.csv", "filler"}


def test_a_run_goes_on_without_its_log(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, really = tmp_path / "out", Path.open

    def refuse(self: Path, mode: str = "r", *rest: object, **more: object) -> object:
        if self.name in ("log.txt", ".progress.json") and mode != "r":
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return really(self, mode, *rest, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        done = command(*run(data, out))
    assert done.returncode == 0 and done.stdout.count("the run goes on without its log") == 1


def test_what_is_not_a_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_output(link, b"new", force=True)
    assert link.is_symlink() and target.read_bytes() == b"new"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_output(pipe, b"through")
    assert os.read(reader, 100) == b"through" and pipe.is_fifo()
    os.close(reader)


def test_the_error_is_the_same_in_another_process(tmp_path: Path) -> None:
    import pickle

    with pytest.raises(CannotWrite) as info:
        write_bytes(tmp_path / "none" / "file", b"1")
    again = pickle.loads(pickle.dumps(info.value))
    assert (str(again), again.errno, again.full) == (str(info.value), errno.ENOENT, False)
