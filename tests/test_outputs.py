"""Files that a user names are replaced only where this suite wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest

from issbench.errors import UsageError
from issbench.outputs import refuse_foreign, write_output


def test_what_was_written_may_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.tex"
    for content in (b"one", b"two", b"two"):
        refuse_foreign([path])
        write_output(path, content)
        assert path.read_bytes() == content
    (tmp_path / "link").symlink_to(tmp_path)
    write_output(tmp_path / "link" / "a.tex", b"three")
    assert path.read_bytes() == b"three"


def test_a_file_of_the_users_stays_unless_forced(tmp_path: Path) -> None:
    path, other = tmp_path / "a.tex", tmp_path / "b.bib"
    path.write_bytes(b"mine")
    for refused in (lambda: refuse_foreign([other, path]), lambda: write_output(path, b"new")):
        with pytest.raises(UsageError, match=r"a\.tex is there, and is not what bench wrote .* add --force"):
            refused()
    assert path.read_bytes() == b"mine" and not other.exists()
    write_output(path, b"new", force=True)
    write_output(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_what_a_user_changed_is_the_users(tmp_path: Path) -> None:
    path = tmp_path / "a.tex"
    write_output(path, b"ours")
    path.write_bytes(b"ours, with a remark")
    with pytest.raises(UsageError, match="--force"):
        write_output(path, b"ours again")
    path.unlink()
    write_output(path, b"ours again")


def test_without_a_cache_files_are_written_and_then_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("ISSBENCH_CACHE", str(tmp_path / "cache"))
    write_output(tmp_path / "a.csv", b"1")
    with pytest.raises(UsageError, match="--force"):
        write_output(tmp_path / "a.csv", b"2")
    write_output(tmp_path / "a.csv", b"2", force=True)


@pytest.mark.parametrize("name", ["x" * 300, "no/such/folder.csv", "."])
def test_a_place_where_no_file_can_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be written .*; choose another place"):
        write_output(tmp_path / name, b"")


def test_what_is_no_plain_file_is_written_to() -> None:
    write_output(Path("/dev/null"), b"nothing")
