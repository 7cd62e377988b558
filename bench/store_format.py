"""The format of a run store, which every command checks before it reads or writes one. Needs no torch."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from issbench.errors import RunError, UsageError
from issbench.files import CannotWrite, DamagedFile, read_json, set_aside, write_json, writing

FORMAT = 2
"""Increase when stored files change their meaning. 1, of issbench 0.1, had no file that says so."""
_FILE = "store.json"
_FOLDERS = ("steps", "runs")


def check_store(root: Path) -> None:
    """UsageError for a directory that holds a run store of another format. One whose file is damaged passes:
    version 0.1 had none, and `make_store` writes it anew."""
    try:
        found = _format_of(root)
    except DamagedFile:
        return
    if found == 1:
        raise UsageError(
            f"the run store {root} was written by issbench 0.1, whose keys do not cover images and code; its "
            "results cannot be told right from wrong. Pass another --out, and keep or remove the old one"
        )
    if found != FORMAT:
        raise UsageError(
            f"the run store {root} has format {found}, newer than this version knows ({FORMAT}); update "
            "issbench, or pass another --out"
        )


def _format_of(root: Path) -> int:
    """The format of a run store, or of one that is to be made. DamagedFile where that cannot be read."""
    path = root / _FILE
    try:
        found = read_json(path)
    except FileNotFoundError:
        return 1 if any(_is_filled(root / name) for name in _FOLDERS) else FORMAT
    except NotADirectoryError:
        return FORMAT  # to make it there will fail, and say why
    except ValueError:
        found = None
    # The file holds nothing else: a run's record in its place, which has a format, too, is not taken for it.
    if not isinstance(found, dict) or [*found] != ["format"] or type(found["format"]) is not int:
        raise DamagedFile(path, "does not say the format of the run store")
    format: int = found["format"]
    return format


def make_store(root: Path, note: Callable[[str], None] = lambda text: None) -> None:
    """Make what a run store lacks. `note` is called with a line about a file that is damaged, and set aside.
    RunError where that is not possible."""
    check_store(root)
    with _writing_in(root):
        for name in _FOLDERS:
            (root / name).mkdir(parents=True, exist_ok=True)
    path = root / _FILE
    try:
        _format_of(root)
    except DamagedFile as error:
        note(f"{error}; it was set aside as {set_aside(path).name}, and is written anew")
    if not path.is_file():
        write_json(path, {"format": FORMAT})


def check_writable(root: Path) -> None:
    """RunError for a run store in which nothing can be written, as is told before anything trains."""
    for name in _FOLDERS:
        with _writing_in(root):
            trial = root / name / f".{uuid.uuid4().hex}"
            trial.touch(exist_ok=False)
            trial.unlink()


@contextmanager
def _writing_in(root: Path) -> Iterator[None]:
    """CannotWrite where room is lacking in a run store, RunError for one that cannot be written at all."""
    try:
        with writing(root):
            yield
    except CannotWrite as error:
        if error.full:
            raise
        why = os.strerror(error.errno or 0)
        raise RunError(f"run store {root} cannot be written ({why}); pass another --out") from None


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
