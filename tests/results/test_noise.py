"""`bench table noise`: the spread over nudges of one unit in the last place, and over seeds."""

from __future__ import annotations

from pathlib import Path
from statistics import stdev

import pytest
import torch
from commands import bench
from small_folder import RECIPE, small_folder
from torch import nn

from issbench.bench.engine.assemble import nudge
from issbench.results.noise import noise_tables
from issbench.results.runs import Run, load_runs


def test_a_nudge_is_one_unit_in_the_last_place_of_each_weight() -> None:
    network, before = nn.Conv2d(3, 50, 3), nn.Conv2d(3, 50, 3)
    before.load_state_dict(network.state_dict())
    nudge(network, 1)
    for new, old in zip(network.parameters(), before.parameters(), strict=True):
        up, down = (torch.nextafter(old, torch.full_like(old, limit)) for limit in (torch.inf, -torch.inf))
        assert ((new == up) | (new == down)).all() and (new == up).any() and (new == down).any()
    other = nn.Conv2d(3, 50, 3)
    other.load_state_dict(before.state_dict())
    nudge(other, 2)
    assert not torch.equal(other.weight, network.weight)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FT with two seeds and three nudges each, MiB with one seed and no nudge."""
    root = tmp_path_factory.mktemp("noise")
    words = [
        "--scenario",
        "folder_2-1",
        "--data",
        small_folder(root / "data"),
        "--out",
        root / "runs",
        "--workers",
        "0",
    ]
    words += [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    for number in range(3):
        bench("run", "--methods", "ft", "--seeds", "0,1", *words, "--set", f"nudge={number}", "--set", "lr=0.1")
    bench("run", "--methods", "mib", *words, "--set", "lr=0.1")
    return root / "runs"


def nudge_of(run: Run) -> object:
    return run.experiment["differs"]["recipe"].get("nudge", 0)


def test_the_spreads_are_those_of_the_runs(store: Path) -> None:
    runs = [run for run in load_runs(store) if run.spec == "ft"]
    assert len({(run.seed, nudge_of(run), str(run.steps[0]["training"]["history"])) for run in runs}) == 6
    found = {}
    for run, value in zip(runs, (10.0, 10.5, 13.0, 20.0, 20.25, 26.0), strict=True):
        run.last["metrics"]["groups"]["all"] = found[run.seed, nudge_of(run)] = value
    (table,) = noise_tables(runs)
    groups = [(group, what) for group in ("0-2", "3", "all") for what in ("rounding", "seeds")]
    assert table.heads == [("", "method"), *groups, ("", "runs")]
    ((label, *cells, count),) = table.cells
    assert str(label) == "FT" and str(count) == "6"
    over_nudges = [stdev([found[seed, number] for number in range(3)]) for seed in (0, 1)]
    over_seeds = [stdev([found[seed, number] for seed in (0, 1)]) for number in range(3)]
    for cell, spreads in zip(cells[-2:], (over_nudges, over_seeds), strict=True):
        assert cell.value == pytest.approx((sum(s**2 for s in spreads) / len(spreads)) ** 0.5)


def test_the_command(store: Path) -> None:
    told = bench("table", "noise", "--out", store)
    assert "rounding" in told and "FT" in told and "MiB" not in told
    assert "leave out the options" in bench("table", "noise", "--out", store, "--published", code=2)
    assert "leave out the options" in bench("table", "noise", "--out", store, "--digits", "2", code=2)
    assert "nudge=1" in bench("table", "--out", store)  # elsewhere nudged runs stand apart


def test_without_nudged_runs_there_is_nothing_to_say(store: Path) -> None:
    assert (
        noise_tables([run for run in load_runs(store) if "nudge" not in run.experiment["differs"]["recipe"]]) == []
    )
