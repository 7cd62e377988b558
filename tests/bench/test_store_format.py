"""The file that says of which format a run store is."""

from __future__ import annotations

from pathlib import Path

import pytest

from issbench.bench.engine.store import Store
from issbench.errors import UsageError


@pytest.mark.parametrize("content", ["steps/0123/weights.safetensors", "runs/a/run.json"])
def test_a_store_of_the_first_version_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / content).parent.mkdir(parents=True)
    (tmp_path / content).write_text("{}")
    for look in (False, True):
        with pytest.raises(UsageError, match=r"was written by issbench 0\.1.*Pass another --out") as info:
            Store(tmp_path, look)
        assert info.value.exit_code == 2
    assert not (tmp_path / "store.json").exists()


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Store(tmp_path)
    (tmp_path / "store.json").write_text('{"format": 99}')
    with pytest.raises(UsageError, match=r"format 99, newer than .*update issbench, or pass another --out") as info:
        Store(tmp_path)
    assert info.value.exit_code == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[2]",
        '{"format": "2"}',
        "\0\0\0",
        '{"format": NaN}',
        '{"format": 3, "source": null}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_of_the_format_is_written_anew(tmp_path: Path, content: str) -> None:
    store, notes = Store(tmp_path), list[str]()
    path = store.root / "store.json"
    before = path.read_text()
    path.write_text(content)
    Store(store.root, look=True)
    assert path.read_text() == content  # who only looks leaves it alone
    Store(store.root, note=notes.append)
    assert path.read_text() == before and path.with_name("store.json.damaged-1").read_text() == content
    assert "store.json.damaged-1" in notes[0]


def test_who_only_looks_makes_nothing(tmp_path: Path) -> None:
    assert not Store(tmp_path / "none", look=True).has_step("k")
    assert not (tmp_path / "none").exists()
