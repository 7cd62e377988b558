"""Files are there whole or not at all, and one that was damaged is not believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from issbench.files import DamagedFile, read_json, read_sealed, write_arrays, write_json, write_sealed


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.json"
    write_json(path, {"a": [1, None, 0.1]})
    assert read_json(path) == {"a": [1, None, 0.1]}
    with pytest.raises(TypeError):
        write_json(path, {"a": {1, 2}})
    assert read_json(path) == {"a": [1, None, 0.1]}
    write_json(path, {"b": "ä"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"b": "ä"}
    assert [p.name for p in path.parent.iterdir()] == ["run.json"]


def test_arrays_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counts.npz"
    write_arrays(path, {"tp": np.arange(3, dtype=np.uint32)})
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", lambda file, **_: file.write(b"half") and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_arrays(path, {})
    with np.load(path) as stored:
        assert stored["tp"].tolist() == [0, 1, 2] and stored["tp"].dtype == np.uint32
    assert [p.name for p in tmp_path.iterdir()] == ["counts.npz"]


def test_sealed_files(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, {"a": [1, None, 0.1, "ä"]}, "k")
    assert read_sealed(path) == read_sealed(path, "k") == {"a": [1, None, 0.1, "ä"]}
    assert read_json(path)["key"] == "k" and [*read_json(path)][-1] == "sha256"
    with pytest.raises(DamagedFile, match=r"a\.json belongs to k, not to other"):
        read_sealed(path, "other")
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(DamagedFile, match="checksum"):
        read_sealed(path)
    path.write_text(json.dumps({"a": 1}))
    with pytest.raises(DamagedFile, match="checksum"):
        read_sealed(path)
