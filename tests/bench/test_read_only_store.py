"""A run store that can only be read: what is complete is shown, and what must be computed is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import bench, command
from faulty_disk import read_only
from listed_folder import listed_folder
from small_folder import RECIPE

SETTINGS = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return listed_folder(tmp_path_factory.mktemp("data") / "folder")


def run(data: Path, out: Path, methods: str = "ft,mib") -> list[object]:
    where = ["--scenario", "folder_1-1", "--data", data, "--out", out, "--workers", 0, "--device", "cpu"]
    return ["run", "--methods", methods, *where, *SETTINGS]


def test_a_complete_store_is_shown_and_nothing_tries_to_write_there(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, made = tmp_path / "out", tmp_path / "made"
    made.mkdir()
    bench(*run(data, out))
    next(out.glob("runs/*/plan.json")).unlink()  # so that a run is planned anew
    name, store = next(path.name for path in (out / "runs").iterdir()), ["--out", out]
    with read_only(out):
        commands = (
            ["table", *store], ["table", "long", *store], ["show", name, *store], ["compare", "ft", "mib", *store],
            ["report", "--output", made / "r.html", *store], ["logs", name, *store], ["status", "--all", *store],
            ["figure", "steps", "--output", made / "f.svg", *store], [*run(data, out), "--dry-run"],
        )  # fmt: skip
        for words in commands:
            bench(*words)
        assert "2 done, 0 to do" in bench(*run(data, out))
        done = command(*run(data, out, "ft,plop"))
        assert done.returncode == 1 and "epoch" not in done.stdout
        assert f"run store {out} cannot be written (Read-only file system); pass another --out" in done.stderr
        done = command("table", "--output", out / "table.csv", *store)
        assert done.returncode == 2 and "choose another place" in done.stderr
