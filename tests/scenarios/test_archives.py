"""Hostile and broken archives: nothing outside the folder is written, and no link, no device is made."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from issbench.scenarios.archives import unpack
from issbench.scenarios.errors import DataError


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, target, 3 if kind == tarfile.REGTYPE else 0, 0o4777
    return info


HOSTILE = {
    "a name that leads out": member("../out.txt"),
    "a name that leads out by a detour": member("a/../../out.txt"),
    "an absolute link": member("link", tarfile.SYMTYPE, "/etc"),
    "a link that leads out": member("link", tarfile.SYMTYPE, "../.."),
    "a link inside": member("link", tarfile.SYMTYPE, "first.txt"),
    "a hard link": member("link", tarfile.LNKTYPE, "first.txt"),
    "a hard link that leads out": member("link", tarfile.LNKTYPE, "../secret.txt"),
    "a device": member("null", tarfile.CHRTYPE),
    "a disk": member("disk", tarfile.BLKTYPE),
    "a pipe": member("pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_members(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    path = tmp_path / "hostile.tar"
    with tarfile.open(path, "w") as archive:
        for info in (member("first.txt"), HOSTILE[name], member("last.txt")):
            archive.addfile(info, io.BytesIO(b"abc"[: info.size]))
    folder = tmp_path / "within" / "folder"
    folder.parent.mkdir()
    with pytest.raises(DataError, match=r"hostile\.tar cannot be unpacked"):
        unpack(path, folder)
    assert {found.name for found in tmp_path.rglob("*")} <= {
        "secret.txt", "hostile.tar", "within", "folder", "first.txt",
    }  # fmt: skip
    assert (tmp_path / "secret.txt").read_text() == "secret"


def test_an_absolute_name_stays_inside(tmp_path: Path) -> None:
    path, outside = tmp_path / "absolute.tar", tmp_path / "outside.txt"
    with tarfile.open(path, "w") as archive:
        archive.addfile(member(str(outside)), io.BytesIO(b"abc"))
    unpack(path, tmp_path / "folder")
    assert not outside.exists()
    assert (tmp_path / "folder" / outside.relative_to("/")).read_bytes() == b"abc"


def test_no_special_modes(tmp_path: Path) -> None:
    path = tmp_path / "modes.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(member("program"), io.BytesIO(b"abc"))
    unpack(path, tmp_path / "folder")
    assert (tmp_path / "folder" / "program").stat().st_mode & 0o7022 == 0


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b" + bytes(20)])
def test_no_archive(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.tar"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.tar cannot be unpacked"):
        unpack(path, tmp_path / "folder")


@pytest.mark.parametrize("damage", ["cut off", "altered"])
def test_damaged(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "cut.tgz"
    with tarfile.open(path, "w:gz") as archive:
        info = member("first.txt")
        info.size = 100_000
        archive.addfile(info, io.BytesIO(bytes(range(256)) * 400))
    content = path.read_bytes()
    path.write_bytes(content[:-100] if damage == "cut off" else content[:10] + b"\xff" * 50 + content[60:])
    with pytest.raises(DataError, match=r"cut\.tgz cannot be unpacked"):
        unpack(path, tmp_path / "folder")
