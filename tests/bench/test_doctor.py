"""`bench doctor`: what is there, what is missing, what that disables, how to get it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from commands import bench, command
from small_folder import small_folder


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory, no programs, no weights, and a network that nobody may use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was used"))


def program(folder: Path, name: str, text: str = "") -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def findings(*words: object) -> dict[str, dict[str, Any]]:
    found = json.loads(bench("doctor", "--json", *words))
    return {each["topic"]: each for each in found["findings"]}


def test_what_is_missing_says_what_it_disables_and_how_to_get_it(tmp_path: Path) -> None:
    found = findings()
    assert {"versions", "processor", "GPU", "memory", "run store", "cache", "Slurm", "TeX", "browser"} <= {*found}
    assert {"weights", "data voc", "data folder", "data shapes"} <= {*found}
    missing = {name for name, each in found.items() if each["state"] == "missing"}
    assert {"Slurm", "TeX", "browser", "GPU", "data voc"} <= missing
    assert all(found[name]["disables"] and found[name]["remedy"] for name in missing)
    assert found["versions"]["values"]["versions"]["torch"]
    assert found["run store"]["values"]["free_bytes"] > 0 and not (tmp_path / "runs").exists()
    said = bench("doctor")
    assert all(found[name]["remedy"] in said for name in missing)


def test_programs_that_are_there(tmp_path: Path) -> None:
    for name in ("sbatch", "tectonic", "firefox"):
        program(tmp_path, name)
    found = findings()
    assert {found[name]["state"] for name in ("Slurm", "TeX", "browser")} == {"ok"}
    assert found["Slurm"]["values"]["path"] == str(tmp_path / "bin" / "sbatch")


def test_a_gpu_that_torch_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "nvidia-smi", 'echo "NVIDIA A100, 40960 MiB"')
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    gpu = findings()["GPU"]
    assert gpu["state"] == "missing" and "A100" in gpu["found"] and "pytorch.org" in gpu["remedy"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "unset CUDA_VISIBLE_DEVICES" in findings()["GPU"]["remedy"]


def test_a_driver_that_fails_is_no_gpu(tmp_path: Path) -> None:
    program(tmp_path, "nvidia-smi", "exit 9")
    assert findings()["GPU"]["values"] == {"gpus": []}


def test_data_sets_and_their_state(tmp_path: Path) -> None:
    small_folder(tmp_path / "data" / "mine")
    assert findings()["data folder"]["values"] == {"path": "data/mine", "train": 13, "test": 3}
    (tmp_path / "data" / "mine" / "train.txt").write_text("0\n")
    broken = findings("--data", tmp_path / "data" / "mine")["data folder"]
    assert broken["state"] == "missing" and "train.txt" in broken["found"] and "data check" in broken["remedy"]
    assert "no such directory" in bench("doctor", "--data", tmp_path / "nowhere", code=2)


def test_weights_that_were_downloaded(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "hub" / "models--timm--resnet101.tv_in1k" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    assert "resnet101.tv_in1k" not in findings()["weights"]["values"]["backbones"]
    (snapshot / "model.safetensors").write_bytes(b"")
    assert "resnet101.tv_in1k" in findings()["weights"]["values"]["backbones"]


def test_a_place_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command("doctor", "--out", tmp_path / "file" / "runs")
    assert done.returncode == 1 and "FAULT" in done.stdout
    assert done.stderr.startswith("error: run store: ") and "--out" in done.stderr
