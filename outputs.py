"""Files that a user names: written whole or not at all, and never over one that this suite did not write, or that
was changed since. What it wrote is remembered in the cache, by place and checksum. Needs no torch."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from issbench.errors import UsageError
from issbench.files import CannotWrite, read_bytes, write_bytes, writing


def cache_dir() -> Path:
    """Where what can be made again is kept: $ISSBENCH_CACHE, else issbench/ in the user's cache directory."""
    if chosen := os.environ.get("ISSBENCH_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "issbench"


def refuse_foreign(paths: Iterable[Path], force: bool = False, option: str = "--output") -> None:
    """UsageError for the first file that is there and that this suite did not write; `force` lets it be replaced.
    Commands ask before they compute, so that nothing is written if not all can be. `option` named the file."""
    for path in paths:
        if not force and _is(path.is_file) and not _is_ours(path):
            raise UsageError(
                f"{path} is there, and is not what bench wrote there last; choose another {option}, move the file "
                f"away{', or add --force to replace it' if option == '--output' else ''}"
            )


def write_output(path: Path, content: bytes, force: bool = False, option: str = "--output") -> None:
    """Write a file that the user named; what is no plain file, such as /dev/stdout, is written to. UsageError for a
    place where it cannot be, and as `refuse_foreign`; CannotWrite where room is lacking."""
    refuse_foreign([path], force, option)
    try:
        if _is(path.exists) and not path.is_file():
            with writing(path, len(content)):
                path.write_bytes(content)
            return
        write_bytes(path.resolve(), content)  # a link stays, and what it names is written
    except CannotWrite as error:
        if error.full:
            raise
        why = os.strerror(error.errno or errno.EIO)
        raise UsageError(f"{option} {path} cannot be written ({why}); choose another place") from None
    with suppress(OSError):  # without a cache the next command asks for --force
        note = _note(path)
        note.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(note, _checksum(content))


def _is(asked: Callable[[], bool]) -> bool:
    """What a path answers; no for a name that no file can have."""
    with suppress(OSError):
        return asked()
    return False


def _is_ours(path: Path) -> bool:
    with suppress(OSError):
        return _note(path).read_bytes() == _checksum(read_bytes(path))
    return False


def _note(path: Path) -> Path:
    """The file that has the checksum of what was written to `path`."""
    return cache_dir() / "written" / hashlib.sha256(os.fsencode(path.resolve())).hexdigest()


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
