"""Writing files so that a reader, or a crash, never meets half of one, and reading them so that a damaged or a
foreign one is never believed. What a disk or a network refuses becomes one message here. Needs no torch."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import shutil
import time
import tomllib
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from issbench.errors import RunError, UsageError

T = TypeVar("T")
_LOGGER = logging.getLogger("issbench")

ALTERED = "does not have the checksum with which it was written: it was cut off or altered"
"""Why a file with another checksum is a DamagedFile."""
_SEAL = b',\n "sha256": "'
_MOST_TOML = 1_000_000
_FULL = {
    errno.ENOSPC: "no space is left there",
    errno.EDQUOT: "your quota there is used up",
    errno.EFBIG: "no file may be so large here (see `ulimit -f`)",
}
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EREMOTEIO, errno.EHOSTDOWN}
"""What network file systems answer while their server is away."""
_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between the attempts to read a file."""


class Refused(OSError, RunError):
    """What the file system refused, as a message. Made of its number, the message and the file, as other errors of
    the system are, so that another process gets the same."""

    def __str__(self) -> str:
        return str(self.strerror)


class CannotRead(Refused):
    """A file whose file system stayed away."""


class CannotWrite(Refused):
    """A file that could not be written: which and why, and where room is lacking, how much it needs and how much
    there is."""

    @property
    def full(self) -> bool:
        """Whether room was lacking, so that the same works once there is more."""
        return self.errno in _FULL


class DamagedFile(RunError):
    """A file that was cut off, altered, or belongs to something else."""

    def __init__(self, path: Path, why: str):
        super().__init__(path, why)  # as they are, so that another process gets the same error
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path} {self.why}"


def write_sealed(path: Path, value: Mapping[str, Any], key: str) -> None:
    """Write a JSON object that says what it belongs to (`key`), with a SHA-256 of all before it (`sha256`)."""
    with writing(path):
        path.parent.mkdir(exist_ok=True)
    write_bytes(path, sealed(value, key))


def sealed(value: Mapping[str, Any], key: str) -> bytes:
    """The text that `write_sealed` writes."""
    body = json.dumps({**value, "key": key}, indent=1, allow_nan=False).encode().removesuffix(b"\n}")
    return body + _SEAL + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def read_sealed(path: Path, key: str | None = None) -> dict[str, Any]:
    """The object that `write_sealed` wrote, without the seal.

    Raises DamagedFile where the checksum is wrong or missing, or where the file belongs to another key; OSError
    where there is no such file.
    """
    content = read_bytes(path)
    body, mark, tail = content.rpartition(_SEAL)
    if not mark or tail != hashlib.sha256(body).hexdigest().encode() + b'"\n}\n':
        raise DamagedFile(path, ALTERED)
    try:
        value: dict[str, Any] = _parsed(body + b"\n}")
        found = value.pop("key")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise DamagedFile(path, "has the checksum of what it holds, but was not written by this suite") from None
    if key is not None and found != key:
        raise DamagedFile(path, f"belongs to {found}, not to {key}: it was copied from elsewhere")
    return value


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder, so that it is never read again and nothing is lost; its new place. Another
    process may be faster."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    with writing(path), suppress(FileNotFoundError):
        path.rename(aside)
    return aside


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex digits. The file may be larger than the memory."""

    def digest() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return retrying(digest, path)


def check_sha256(path: Path, sha256: str) -> None:
    """DamagedFile for a file with another checksum."""
    if sha256_of(path) != sha256:
        raise DamagedFile(path, ALTERED)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    with writing(path):
        path.parent.mkdir(exist_ok=True)
    write_bytes(path, f"{json.dumps(value, indent=1)}\n".encode())


def read_json(path: Path) -> Any:
    """The content of a JSON file. ValueError for what is not JSON; OSError."""
    return _parsed(read_bytes(path))


def _parsed(text: bytes) -> Any:
    """JSON without the numbers NaN and Infinity, which it does not have."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not a JSON number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The content of a file that the user named. UsageError, which calls it `what`, for one that cannot be read."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_MOST_TOML + 1)
        if len(text) > _MOST_TOML:
            raise UsageError(f"{what} {path} is longer than {_MOST_TOML:,} characters; is it the right file?")
        return tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}") from None
    except UsageError:
        raise
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or nested without end
        raise UsageError(f"{what} {path} is not a valid TOML file: {error}") from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed `.npz`, whole or not at all."""
    save: Callable[..., None] = np.savez_compressed  # its stub takes an array for the option allow_pickle
    buffer = io.BytesIO()
    save(buffer, **arrays)
    write_bytes(path, buffer.getbuffer())


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file whole or not at all. CannotWrite where that is not possible."""
    with replacing(path, sum(map(len, parts))) as temporary, temporary.open("wb") as file:
        for part in parts:
            file.write(part)


@contextmanager
def replacing(path: Path, needed: int | None = None) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place, durable, when the block ends without an error.

    CannotWrite where the file system refuses; `needed` is the size in bytes, for the message.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with writing(path, needed):
        try:
            temporary.touch(exist_ok=False)
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # as files are here by default: some libraries make theirs private
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Make CannotWrite of what the file system refuses in this block, which writes `needed` bytes to `path`."""
    try:
        yield
    except OSError as error:
        number = error.errno or errno.EIO
        raise CannotWrite(number, _refusal(path, number, needed), str(path)) from None


def explained(error: OSError) -> str:
    """An error of the system in one line: which file, why, and what lacks where a disk is full."""
    if isinstance(error, Refused) or not error.errno:
        return str(error)
    path = Path(error.filename) if isinstance(error.filename, str) else None
    if path is None:
        return os.strerror(error.errno)
    return _refusal(path, error.errno, None) if error.errno in _FULL else f"{path}: {os.strerror(error.errno)}"


def _refusal(path: Path, number: int, needed: int | None) -> str:
    """Why a file cannot be written, and what to do."""
    if number not in _FULL:
        return f"{path} cannot be written ({os.strerror(number)}); see that its place is there and may be written"
    room = "" if needed is None else f"it needs {needed:,} bytes"
    folder = next((each for each in path.absolute().parents if each.is_dir()), None)
    if folder is not None:
        room += f"{', and ' if room else ''}{shutil.disk_usage(folder).free:,} bytes are free in {folder}"
    return f"{path} cannot be written, {_FULL[number]}: {room}; make room, and give the same command again"


def read_bytes(path: Path) -> bytes:
    """The content of a file, after some attempts where its file system is away. OSError where there is none."""
    return retrying(path.read_bytes, path)


def retrying(read: Callable[[], T], path: Path, home: Path | None = None) -> T:
    """What `read` gives. Where the file system of `path` answers that its server is away, or the folder `home` has
    vanished, this says so once and tries again for 7.5 s. CannotRead where that does not help; any other OSError as
    it comes."""
    for attempt in range(len(_PAUSES) + 1):
        try:
            return read()
        except OSError as error:
            vanished = error.errno == errno.ENOENT and home is not None and not _is_there(home)
            if error.errno not in _PASSING and not vanished:
                raise
            why = f"{path} cannot be read, " + (f"{home} is gone" if vanished else os.strerror(error.errno or 0))
            if attempt == len(_PAUSES):
                text = f"{why}; once it can be, give the same command again"
                raise CannotRead(error.errno, text, str(path)) from None
        if attempt == 0:
            _LOGGER.warning("%s; trying again for %s s", why, sum(_PAUSES))
        time.sleep(_PAUSES[attempt])
    raise AssertionError  # the last attempt returns or raises


def _is_there(folder: Path) -> bool:
    with suppress(OSError):
        return folder.is_dir()
    return False
