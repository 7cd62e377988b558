"""Files whose server is away for a while are read again; then there is one clear error."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from issbench import files
from issbench.files import CannotRead, read_bytes, read_json, retrying, sha256_of, write_json
from issbench.scenarios.datasets.images import read_image


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, which take no time here."""
    made: list[float] = []
    monkeypatch.setattr(files.time, "sleep", made.append)
    return made


class Server:
    """Answers the first `times` openings of a file with an error."""

    def __init__(self, patch: pytest.MonkeyPatch, path: Path, number: int, times: int):
        self.path, self.number, self.left = path, number, times
        for owner in (Path, Image):  # Path.open is what Path.read_bytes calls
            patch.setattr(owner, "open", self.answering(owner.open))

    def answering(self, really: Callable[..., object]) -> Callable[..., object]:
        def answer(path: Path, *how: object, **more: object) -> object:
            if path == self.path and self.left > 0:
                self.left -= 1
                raise OSError(self.number, os.strerror(self.number), str(path))
            return really(path, *how, **more)

        return answer


READS = {"bytes": read_bytes, "json": read_json, "checksum": sha256_of, "image": read_image}


@pytest.fixture(params=READS)
def read(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Callable[[Path], object], Path]:
    path = tmp_path / "deep" / "file"
    path.parent.mkdir()
    write_json(path, {"a": 1})
    if request.param == "image":
        path = path.with_suffix(".png")
        Image.new("RGB", (2, 2)).save(path)
    return READS[request.param], path


Read = tuple[Callable[[Path], object], Path]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN])
def test_a_server_that_comes_back(
    read: Read,
    number: int,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader, path = read
    expected = reader(path)
    Server(monkeypatch, path, number, 3)
    assert reader(path) == expected and pauses == [0.5, 1.0, 2.0]
    (line,) = caplog.messages
    assert line == f"{path} cannot be read, {os.strerror(number)}; trying again for 7.5 s"


def test_a_server_that_stays_away(read: Read, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, path = read
    Server(monkeypatch, path, errno.ESTALE, 99)
    with pytest.raises(
        CannotRead, match=r"file.* cannot be read, .*; once it can be, give the same command"
    ) as info:
        reader(path)
    assert info.value.exit_code == 1 and sum(pauses) == 7.5


def test_what_is_missing_is_not_waited_for(tmp_path: Path, pauses: list[float]) -> None:
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        retrying((tmp_path / "none").read_bytes, tmp_path / "none", home=tmp_path)
    assert pauses == []


def test_a_folder_that_vanishes_is_waited_for(tmp_path: Path, pauses: list[float]) -> None:
    home = tmp_path / "mounted"
    with pytest.raises(CannotRead, match=f"{home} is gone"):
        retrying((home / "file").read_bytes, home / "file", home)
    assert sum(pauses) == 7.5
