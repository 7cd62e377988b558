"""Results of released code bases as runs: the two real files, and what is refused."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from subprocess import CompletedProcess

import jsonschema
import pytest
from commands import command

from issbench.bench.commands.support.importing import Imported, imported_record
from issbench.results.plop_csv import read_plop
from issbench.results.runs import RecordError, load_runs
from issbench.scenarios.protocol import get_protocol

FILES = Path(__file__).resolve().parents[3] / "shared" / "conformance" / "released_results"
VOC, ADE = "2022-08-26_voc_10-1_RCIL_overlap.csv", "2022-10-04_ade_100-50_RCIL.csv"


def released(name: str) -> Path:
    if not (FILES / name).is_file():
        pytest.skip(f"no {name} in {FILES}")
    return FILES / name


def load(file: Path, scenario: str, out: Path, *more: str, setting: str = "overlapped") -> CompletedProcess[str]:
    what = ["--method", "RCIL", "--scenario", scenario, "--setting", setting]
    return command("import", "plop", file, *what, "--out", out, *more)


def test_voc_10_1_of_rcil(tmp_path: Path) -> None:
    done = load(released(VOC), "voc_10-1", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "RCIL (imported)" in done.stdout
    (run,) = load_runs(tmp_path)
    assert run.complete and run.imported and run.experiment["method"] == "rcil-imported"
    assert run.last["metrics"]["miou"] == pytest.approx({"base": 50.25, "new": 16.40, "all": 34.13}, abs=0.005)
    assert list(run.last["metrics"]["groups"]) == ["0-10", "11-20", "all"]
    with released(VOC).open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    for step, row in zip(run.record["steps"], rows, strict=True):
        assert step["metrics"]["iou"] == pytest.approx([100 * float(v) for v in row[1:-1] if v != "x"])
        assert step["metrics"]["miou"]["all"] == pytest.approx(100 * float(row[-1]), abs=1e-4)
        assert len(step["metrics"]["iou"]) == 11 + step["step"]
    assert run.record["metrics"]["mean_over_steps"] == pytest.approx(
        sum(100 * float(r[-1]) for r in rows) / 11, abs=1e-4
    )
    assert run.record["metrics"]["forgetting"][0] == pytest.approx(95.089155 - 61.597806)
    assert run.record["metrics"]["forgetting"][11] == pytest.approx(25.727844 - 16.77077)  # learned at step 1
    assert run.record["class_names"][:2] == ["background", "aeroplane"]


def test_ade_100_50_of_rcil_leaves_class_0_to_the_mean_alone(tmp_path: Path) -> None:
    done = load(released(ADE), "ade_100-50", tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = load_runs(tmp_path)
    with released(ADE).open(encoding="utf-8") as file:
        *_, last = csv.reader(file)
    values = [100 * float(v) for v in last[1:-1]]
    assert len(values) == 151
    assert run.last["metrics"]["groups"] == pytest.approx(
        {"1-100": sum(values[1:101]) / 100, "101-150": sum(values[101:]) / 50, "all": sum(values) / 151}
    )
    assert run.last["metrics"]["miou"]["all"] == pytest.approx(100 * float(last[-1]), abs=1e-4)
    without = load(released(ADE), "ade_100-50", tmp_path, "--protocol", "mib")
    assert without.returncode == 0, without.stderr
    (mib,) = (run for run in load_runs(tmp_path) if run.experiment["protocol"]["name"] == "mib")
    assert mib.last["metrics"]["groups"]["all"] == pytest.approx(sum(values[1:]) / 150)


def test_table_and_show_read_it_beside_ours(tmp_path: Path) -> None:
    assert load(released(VOC), "voc_10-1", tmp_path).returncode == 0
    table = command("table", "--out", tmp_path)
    assert table.returncode == 0, table.stderr
    assert re.search(r"RCIL \(imported\)ᵃ +50\.3 +16\.4 +34\.1 +24\.7", table.stdout)
    shown = command("show", "voc", "--out", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "trained and tested by other code" in shown.stdout and "recipe:         unknown" in shown.stdout


def test_it_stands_in_the_papers_row(tmp_path: Path) -> None:
    assert load(released(VOC), "voc_10-1", tmp_path).returncode == 0
    both = command("table", "--both", "--out", tmp_path)
    assert both.returncode == 0, both.stderr
    (line,) = (line for line in both.stdout.splitlines() if line.startswith("RCILᵇ"))
    assert line.split()[-3:] == ["34.3ᶜ", "34.1", "−0.2ᶜ"]  # a misprint is one in the difference, too
    assert "ᵇ ours: imported: trained and tested by other code" in both.stdout
    assert "RCIL (imported)" not in both.stdout


def test_the_same_file_twice_is_one_run_and_another_file_is_refused(tmp_path: Path) -> None:
    file = released(VOC)
    assert load(file, "voc_10-1", tmp_path).returncode == load(file, "voc_10-1", tmp_path).returncode == 0
    assert len(load_runs(tmp_path)) == 1
    other = tmp_path / "other.csv"
    other.write_text("".join(file.read_text().splitlines(keepends=True)[:3]))
    done = load(other, "voc_10-1", tmp_path)
    assert done.returncode == 2 and f"is there already, from {VOC}" in done.stderr
    assert load(other, "voc_10-1", tmp_path, "--seed", "1").returncode == 0
    (begun,) = (run for run in load_runs(tmp_path) if run.experiment["seed"] == 1)
    assert not begun.complete and len(begun.record["steps"]) == 3 and begun.record["metrics"] == {}


def test_domains_have_all_classes_at_every_step(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("".join(f"{step},{'0.5,' * 19}0.5\n" for step in range(3)))
    done = load(file, "cityscapes_11-5", tmp_path, setting="domain")
    assert done.returncode == 0, done.stderr
    (run,) = load_runs(tmp_path)
    assert run.complete and run.last["metrics"]["groups"] == {"all": 50} and len(run.record["class_names"]) == 19
    assert run.experiment["protocol"]["name"] == "released"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--scenario", "voc_15-1"], "11 classes have been learned, where the scenario has 16"),
        (["--scenario", "ade_100-50"], "the scenario needs 151 classes"),
        (["--scenario", "voc_10-1", "--setting", "overlaped"], "did you mean overlapped"),
        (["--scenario", "voc_10-1", "--order", "Z"], "order 'Z'"),
        (["--scenario", "folder_2-1"], "cannot be imported"),
        (["--scenario", "voc_10-1", "--method", "../RCIL"], "give a name of letters"),
    ],
)
def test_wrong_commands(tmp_path: Path, arguments: list[str], words: str) -> None:
    asked = {"--method": "RCIL", "--setting": "overlapped", "--out": str(tmp_path)}
    asked |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    done = command("import", "plop", released(VOC), *(word for pair in asked.items() for word in pair))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert words in done.stderr
    assert not list(tmp_path.glob("runs/*"))


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


CHANNELS = (3, 4)


def test_x_is_a_class_to_come_and_capital_x_an_absent_one(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "1,0.5,X,0.25,0.75,0.5", "0,0.5,0.75,0.25,x,0.5")
    assert read_plop(file, CHANNELS) == {0: [50, 75, 25], 1: [50, None, 25, 75]}
    assert list(read_plop(file, CHANNELS)) == [0, 1]


def test_a_mean_without_the_background_is_plops_ignore_test_bg(tmp_path: Path) -> None:
    assert read_plop(write(tmp_path / "a.csv", "0,0.9,0.4,0.2,x,0.3"), CHANNELS) == {0: [90, 40, 20]}


@pytest.mark.parametrize(
    "lines, words",
    [
        ((), "is empty"),
        (("step,background,cat,dog,cow,mean",), "line 1: it begins with 'step'"),
        (("2,0.5,0.5,0.5,0.5,0.5",), "line 1: it begins with '2', but the scenario has the steps 0 to 1"),
        (("0,0.5,0.5,0.5,x,0.5", "0,0.4,0.4,0.4,x,0.4"), "line 2: step 0 again"),
        (("0,0.5,0.5,0.5,0.5",), "line 1: 4 values after the step; the scenario needs 4 classes"),
        (("0,0.5,0.5,0.5,0.5,0.5",), "4 classes have been learned, where the scenario has 3"),
        (("1,0.5,0.5,x,0.5,0.5",), "2 classes have been learned, where the scenario has 4"),
        (("0,0.5,0.5,1.5,x,0.5",), "'1.5' is not an IoU between 0 and 1"),
        (("0,0.5,nan,0.5,x,0.5",), "'nan' is not an IoU"),
        (("0,0.5,0.5,0.5,x,X",), "'X' is not an IoU"),
        (("0,0.5,0.5,0.5,x,0.6",), "0.6000, is not the mean"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, lines: tuple[str, ...], words: str) -> None:
    with pytest.raises(RecordError, match=words) as info:
        read_plop(write(tmp_path / "a.csv", *lines), CHANNELS)
    assert info.value.exit_code == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"none\.csv cannot be read as CSV"):
        read_plop(tmp_path / "none.csv", CHANNELS)


@pytest.mark.parametrize("protocol, base, new", [("plop", 37.5, 75), ("ssul", 25, 75)])
def test_an_absent_class_as_the_protocol_says(tmp_path: Path, protocol: str, base: float, new: float) -> None:
    """`ssul` counts it as 0."""
    lines = [
        f"{step},0.5,0.75,0.25,{','.join(['0.5'] * (2 * step) + ['x'] * (18 - 2 * step))}" for step in range(10)
    ]
    values = [[0.5, 0.75, 0.25, *[0.5] * (2 * step)] for step in range(10)]
    rows = [f"{line},{sum(shares) / len(shares)}" for line, shares in zip(lines, values, strict=True)]
    rows[-1] = f"9,0.5,X,0.25,{','.join(['0.75'] * 18)},{(0.75 + 18 * 0.75) / 20}"
    what = Imported("M", "voc_2-2", "overlapped", "natural", 0, get_protocol(protocol, "overlapped"))
    file = write(tmp_path / "a.csv", *rows)
    record = imported_record(read_plop(file, what.channels_per_step()), what, file, "plop")
    assert record["steps"][0]["metrics"]["miou"] == {"base": 50, "new": None, "all": 50}
    assert record["steps"][0]["metrics"]["hiou"] is None
    last = record["steps"][-1]["metrics"]
    assert last["groups"]["0-2"] == base and last["groups"]["3-20"] == new
    assert last["hiou"] == pytest.approx(2 * base * new / (base + new))
    assert record["metrics"]["forgetting"][:5] == [0, None, 0, -25, -25]


def test_records_are_sealed_and_fit_the_schema(tmp_path: Path) -> None:
    assert load(released(VOC), "voc_10-1", tmp_path).returncode == 0
    (path,) = tmp_path.glob("runs/*/*")
    schema = json.loads((Path(__file__).parents[2] / "results" / "schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_text(encoding="utf-8")))
