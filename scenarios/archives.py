"""Downloads and archives: nothing is believed that does not have its known checksum, and nothing is written outside
the folder that was named."""

from __future__ import annotations

import shutil
import tarfile
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path

from issbench.files import sha256_of
from issbench.scenarios.errors import DataError


@dataclass(frozen=True)
class Archive:
    """A tar archive with data: where it comes from, what it must be, and what of it is wanted."""

    title: str
    url: str
    """By HTTPS; its last part is the name of the file."""
    sha256: str
    folder: str
    """The folder in the archive that is kept, and its place under the root."""

    @property
    def file(self) -> str:
        """The name of the file, which is taken where somebody put it under the root."""
        return self.url.rpartition("/")[2]


def obtain(archive: Archive, root: Path) -> None:
    """Put the archive's folder under `root`: whole, or not at all. The archive is downloaded unless it lies there,
    and stays. DataError where it is not what it should be, OSError where it cannot be fetched or written."""
    target, path = root / archive.folder, root / archive.file
    if target.exists():
        raise DataError(f"{target} is there, but not complete; move it away, then try again")
    root.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _download(archive, path)
    elif sha256_of(path) != archive.sha256:
        raise DataError(f"{path} is not the archive of {archive.url} (another SHA-256); remove it, then try again")
    unpacked = root / f".{archive.file}.{uuid.uuid4().hex}"
    try:
        unpack(path, unpacked)
        target.parent.mkdir(parents=True, exist_ok=True)
        (unpacked / archive.folder).rename(target)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def unpack(path: Path, folder: Path) -> None:
    """Unpack a tar archive into a new folder.

    DataError for an archive that is damaged, or has a link, a device, or a name that leads out of the folder; then
    members before that one may be in the folder, but nothing outside it.
    """
    folder.mkdir()
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter=_plain)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked: {error}; remove it, and fetch it again") from None


def _download(archive: Archive, path: Path) -> None:
    """Fetch the archive. RuntimeError where its checksum is wrong; then there is no file."""
    from torch.hub import download_url_to_file  # slow to import, and only needed here

    download_url_to_file(archive.url, str(path), hash_prefix=archive.sha256)


def _plain(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """A member that is a file or a folder, without its owner and its special modes."""
    if not (member.isreg() or member.isdir()):
        raise tarfile.SpecialFileError(member)
    return tarfile.data_filter(member, folder)
