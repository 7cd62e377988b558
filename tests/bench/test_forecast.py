"""What `--dry-run` says of time and disk: from rates that the store has, else from a short measurement."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from commands import bench
from small_folder import RECIPE, small_folder

from issbench.bench.engine import forecast
from issbench.text import duration


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Options of runs of a second, and a store in which one is done."""
    root = tmp_path_factory.mktemp("forecast")
    words = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    options = ["--scenario", "folder_2-1", "--data", small_folder(root / "data"), "--workers", "0", *words]
    bench("run", "--methods", "ft", *options, "--out", root / "store")
    return [*options, "--out", root / "store"]


def told(options: list[Any], *words: str) -> dict[str, str]:
    """The lines of a dry run by their first word."""
    lines = bench("run", *options, *words, "--dry-run").splitlines()
    return {line.split()[0]: line for line in lines}


def test_rates_of_the_store_are_used(place: list[Any]) -> None:
    said = told(place, "--methods", "ft", "--seeds", "0,1")
    assert "4 different; 2 in the store, 2 to train" in said["steps"]
    assert "2 at rates in the store" in said["time"] and "measured" not in said["time"]
    assert forecast.MOST_SECONDS < 0  # there was no time to measure anything


def test_what_the_store_does_not_know_is_measured(place: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "taken as the others" in told(place, "--methods", "ft,plop", "--seeds", "0,1")["time"]
    monkeypatch.setattr(forecast, "MOST_SECONDS", 60.0)
    said = told(place, "--methods", "ft,plop", "--seeds", "0,1")["time"]
    assert "2 at rates in the store, 2 at rates measured just now" in said


def test_a_measurement_keeps_its_time(place: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    large = [*place[:-2], "--set", "activation=leaky_relu", "--out", f"{place[-1]}-other"]
    assert "time" not in told(large, "--methods", "ft")  # there is none, and the store knows no rate
    monkeypatch.setattr(forecast, "MOST_SECONDS", 1.0)
    monkeypatch.setattr(forecast, "_seconds_of_image", lambda plan, step, until: time.sleep(0.7) or 1.0)
    said = told(large, "--methods", "ft,mib,plop,lwf")["time"]
    assert "measured just now" in said and "taken as the others" in said
    assert not Path(large[-1]).exists()


@pytest.mark.parametrize(("points", "expected"), [([(10, 1.0)], 4.0), ([(10, 1.0), (20, 1.5)], 2.5)])
def test_larger_sizes_are_drawn_on(points: list[tuple[int, float]], expected: float) -> None:
    assert forecast._drawn_on(points, 40) == pytest.approx(expected)


def test_the_disk_is_told_and_a_launcher_measures_nothing(place: list[Any]) -> None:
    said = told(place, "--methods", "plop", "--local")
    assert re.search(r"about \d+ MB in ", said["disk"]) and "time" not in said and "jobs" in said
    assert "disk" not in told(place, "--methods", "ft")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (12000, "3 h 20 min"), (190000, "2 d 5 h")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
