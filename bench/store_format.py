"""The format of a run store, which every command checks before it reads or writes one. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from issbench.errors import RunError, UsageError
from issbench.files import CannotWrite, read_json, write_json

FORMAT = 2
"""Increase when stored files change their meaning. 1, of issbench 0.1, had no file that says so."""
_FILE = "store.json"


def check_store(root: Path) -> None:
    """UsageError for a directory that holds a run store of another format."""
    try:
        found = read_json(root / _FILE)["format"]
    except OSError:
        found = 1 if any(_is_filled(root / name) for name in ("steps", "runs")) else FORMAT
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{root / _FILE} is damaged; move the run store away, or pass another --out") from None
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


def make_store(root: Path) -> None:
    """Make the directories of a run store where they are missing. RunError where they cannot be written."""
    check_store(root)
    try:
        for name in ("steps", "runs"):
            (root / name).mkdir(parents=True, exist_ok=True)
        if not (root / _FILE).is_file():
            write_json(root / _FILE, {"format": FORMAT})
    except CannotWrite:
        raise
    except OSError as error:
        raise RunError(f"run store {root} cannot be written ({error.strerror}); pass another --out") from None


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
