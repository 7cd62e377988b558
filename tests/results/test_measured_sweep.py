"""The paper's Tables I to VIII from measured runs: small sweeps on its own scenarios, from `bench sweep` to every
format. What is printed must follow from the records as they lie on disk."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import mean, pstdev, stdev
from typing import Any

import pytest
from latex import compiled
from small_trees import RECIPE, small_ade, small_cityscapes, small_voc
from table_readers import READERS, printed
from typer.testing import CliRunner

from issbench.bench.commands.app import app
from issbench.bench.engine.training import StepTrainer
from issbench.errors import RunError
from issbench.results.citations import bibliography
from issbench.results.make_tables import measured_tables
from issbench.results.render import render
from issbench.results.render.latex import document
from issbench.results.report.words import statistics
from issbench.results.runs import load_runs

MISSING = "–"
ASKED = {  # the dataset, and what takes the place of the table's own dimensions
    "I": ("voc", "--scenarios voc_10-10 --methods ft,gsc --seeds 0,1"),
    "II": ("voc", "--scenarios voc_15-5 --methods ft,mib,gsc"),
    "III": ("ade", "--scenarios ade_100-50 --methods plop,gsc"),
    "IV": ("cityscapes", "--scenarios cityscapes_11-5 --methods ft,lwf --seeds 0,1"),
    "V": ("voc", "--scenarios voc_15-5"),
    "VI": ("voc", "--scenarios voc_15-5 --methods plop,gsc"),
    "VII": ("voc", ""),
    "VIII": ("voc", "--scenarios voc_15-5"),
}
STUBS = {"ablation": 5}
PARTS = ("pr", "sg", "sr", "sc")
SETTINGS = ("disjoint", "overlapped")


def bench(*arguments: object, code: int = 0) -> str:
    """What a command prints."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert (getattr(done.exception, "exit_code", None) or done.exit_code) == code, done.output
    return done.stdout


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run store of each table's sweep. In that of Table II the first step that MiB trains fails: disjoint."""
    folder = tmp_path_factory.mktemp("sweeps")
    data = {"voc": small_voc, "ade": small_ade, "cityscapes": small_cityscapes}
    roots = {name: make(folder / name) for name, make in data.items()}
    settings = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    train, failures = StepTrainer.run, [RunError("the loss became nan")]

    def fail(self: StepTrainer, *args: float) -> None:
        if self.step.method == "mib" and failures:
            raise failures.pop()
        train(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepTrainer, "run", fail)
        for table, (dataset, asked) in ASKED.items():
            where = ["--data", roots[dataset], "--out", folder / table, "--workers", 0, "--device", "cpu"]
            bench("sweep", "--table", table, *asked.split(), *settings, *where, code=int(table == "II"))
    return {table: folder / table for table in ASKED}


class Records:
    """The records of a store, as the files have them."""

    def __init__(self, out: Path):
        self.all = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("runs/*/run.json"))]

    def of(self, **facts: Any) -> list[dict[str, Any]]:
        """The finished ones with these facts, by seed."""
        found = [r for r in self.all if r["complete"] and facts.items() <= r["experiment"].items()]
        return sorted(found, key=lambda record: record["experiment"]["seed"])

    def score(self, group: str, step: int = -1, **facts: Any) -> str:
        """The cell of a group of classes after a step."""
        return cell([record["steps"][step]["metrics"]["groups"][group] for record in self.of(**facts)])


def cell(values: list[float | None]) -> str:
    """The mean of a number over seeds, with the sample standard deviation."""
    if not values or None in values:
        return MISSING
    return f"{mean(values):.1f}".replace("-", "−") + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def groups(records: Records, methods: dict[str, str], names: tuple[str, ...]) -> list[list[str]]:
    """Methods × settings × groups."""
    return [
        [title, *(records.score(name, method=method, setting=setting) for setting in SETTINGS for name in names)]
        for title, method in methods.items()
    ]


def table_i(records: Records) -> list[list[str]]:
    return groups(records, {"FT": "ft", "GSC": "gsc"}, ("0-10", "11-20", "all"))


def table_ii(records: Records) -> list[list[str]]:
    return groups(records, {"FT": "ft", "MiB": "mib", "GSC": "gsc"}, ("0-15", "16-20", "all"))


def table_iii(records: Records) -> list[list[str]]:
    rows = []
    for title in ("PLOP", "GSC"):
        (record,) = records.of(method=title.lower())
        over_steps = mean(step["metrics"]["groups"]["all"] for step in record["steps"])
        last = record["steps"][-1]["metrics"]["groups"]
        base, new, every = (last[name] for name in ("1-100", "101-150", "all"))
        harmonic = 2 * base * new / (base + new)
        rows.append([title, *(f"{value:.1f}" for value in (base, new, every, harmonic, over_steps)), "1"])
    return rows


def table_iv(records: Records) -> list[list[str]]:
    return [[title, records.score("all", method=title.lower())] for title in ("FT", "LwF")]


def table_v(records: Records) -> list[list[str]]:
    rows = []
    for first, second in product(([], ["pr"], ["pr", "sg"]), ([], ["sr"], ["sc"], ["sr", "sc"])):
        on = first + second
        off = ",".join(sorted(f"{part}=off" for part in PARTS if part not in on))
        method = "plop" if not on else f"gsc:{off}" if off else "gsc"
        scores = [records.score(name, method=method) for name in ("0-15", "16-20", "all")]
        rows.append(["✓", *("✓" if part in on else "" for part in PARTS), *scores])
    return rows


def table_vi(records: Records) -> list[list[str]]:
    rows = []
    for title in ("PLOP", "GSC"):
        found = [records.of(method=title.lower(), order=order) for order in ("natural", *"BCDE")]
        values = [record["steps"][-1]["metrics"]["groups"]["all"] for (record,) in found]
        rows.append([title, *(f"{v:.1f}" for v in values), f"{mean(values):.1f} ± {pstdev(values):.1f}"])
    return rows


def table_vii(records: Records) -> list[list[str]]:
    ones, twos = ("1", "0.8", "0.5", "0.3", "0.1"), ("1", "0.1")
    return [
        [f"{float(two):.1f}", *(records.score("all", method=lambdas(float(one), float(two))) for one in ones)]
        for two in twos
    ]


def lambdas(one: float, two: float) -> str:
    """GSC with these weights; the published ones, 0.3 and 0.1, are not part of its name."""
    options = [
        f"{name}={value}" for name, value, usual in (("lambda1", one, 0.3), ("lambda2", two, 0.1)) if value != usual
    ]
    return "gsc" + ":" * bool(options) + ",".join(options)


def table_viii(records: Records) -> list[list[str]]:
    return groups(records, {"RCIL": "rcil", "RCIL+GSC": "rcil+gsc"}, ("0-15", "16-20", "all"))


def steps(records: Records) -> list[list[str]]:
    return [
        [title, *(records.score("all", n, method=title.lower(), setting=s) for s in SETTINGS for n in (0, 1))]
        for title in ("FT", "GSC")
    ]


def forgetting(records: Records) -> list[list[str]]:
    """From IoU of each class: classes 0 … 10 had time to be forgotten, the others are of the last step."""
    rows = []
    for title in ("FT", "GSC"):
        row = [title]
        for setting in SETTINGS:
            runs = []
            for record in records.of(method=title.lower(), setting=setting):
                pairs = zip(*(step["metrics"]["iou"] for step in record["steps"]), strict=False)
                runs.append([first - last for first, last in pairs])
            whole = cell([mean(lost) for lost in runs])
            row += [whole, MISSING, whole, cell([*map(min, runs)]), cell([*map(max, runs)])]
        rows.append(row)
    return rows


EXPECTED: dict[tuple[str, str], Callable[[Records], list[list[str]]]] = {
    ("I", "main"): table_i, ("II", "main"): table_ii, ("III", "main"): table_iii, ("IV", "domain"): table_iv,
    ("V", "ablation"): table_v, ("VI", "class-order"): table_vi, ("VII", "hyperparameters"): table_vii,
    ("VIII", "combination"): table_viii, ("I", "steps"): steps, ("I", "forgetting"): forgetting,
}  # fmt: skip


@pytest.mark.parametrize("number, name", EXPECTED)
def test_a_table_says_what_the_records_say(stores: dict[str, Path], number: str, name: str) -> None:
    records = Records(stores[number])
    rows, stubs = EXPECTED[number, name](records), STUBS.get(name, 1)
    numbers = [text for row in rows for text in row[stubs:] if text != MISSING]
    # Numbers that could be mistaken for each other prove little; but GSC's weights move next to nothing.
    assert len(numbers) > 1 and (len({*numbers}) > 1 or number == "VII")
    texts = {f: bench("table", name, "--out", stores[number], "--format", f) for f in (*READERS, "terminal")}
    for format, read in READERS.items():
        # Of a table of one scenario the last column counts seeds: in CSV each number has its own.
        wanted = [text for text in numbers if "." in text] if format == "csv" else numbers
        assert read(texts[format], stubs) == wanted, format
    lines = re.split(r"^─+\n", texts["terminal"], flags=re.MULTILINE)[2].splitlines()
    assert [line.split() for line in lines] == [" ".join(row).split() for row in rows]


def test_what_is_missing_is_told(stores: dict[str, Path], tmp_path: Path) -> None:
    """A step that failed, and an order that was not run."""
    text = bench("table", "--out", stores["II"])
    note = (
        "mib, voc_15-5, disjoint, seed 0: unfinished, 1 of 2 steps done; it failed: the loss became nan; left out."
    )
    assert note in text
    row = next(line.split() for line in text.splitlines() if line.startswith("MiB"))
    assert row[1:4] == [MISSING] * 3 and MISSING not in row[4:]
    for path in stores["VI"].glob("runs/*/run.json"):
        of = json.loads(path.read_text(encoding="utf-8"))["experiment"]
        if (of["method"], of["order"]) != ("gsc", "D"):
            shutil.copytree(path.parent, tmp_path / "runs" / path.parent.name)
    text = bench("table", "class-order", "--out", tmp_path)
    plop, gsc = (line.split() for line in text.splitlines() if line.startswith(("PLOP", "GSC")))
    assert gsc[4] == MISSING and gsc[-1] == f"{MISSING}ᵃ" and MISSING not in plop
    assert "ᵃ no average: order D missing" in text


def test_beside_the_paper_stands_the_difference(stores: dict[str, Path]) -> None:
    text = bench("table", "--both", "--out", stores["I"], "--format", "csv")
    rows: dict[str, list[str]] = {}
    for fields in csv.DictReader(text.splitlines()):
        rows.setdefault(fields["method"], []).append(printed(fields) if fields["value"] else MISSING)
    assert rows["GSC"][::3] == ["68.6", "63.4", "66.1", "76.8", "63.2", "70.3"]  # as printed
    assert rows["GSC"][1::3] == table_i(Records(stores["I"]))[1][1:]
    for paper, ours, difference in zip(rows["GSC"][::3], rows["GSC"][1::3], rows["GSC"][2::3], strict=True):
        mine = float(ours.partition(" ")[0])
        assert difference == f"{mine - float(paper):z.1f}".replace("-", "−")
    assert rows["MiB"][1::3] == [MISSING] * 6


def test_the_report_has_intervals_where_images_were_counted(stores: dict[str, Path]) -> None:
    runs = [run for run in load_runs(stores["I"]) if run.experiment["setting"] == "overlapped"]
    text = statistics({"voc_10-10, overlapped": runs})
    assert "95% of images" in text and "paired bootstrap" in text and "No interval" not in text


def test_all_of_them_compile(stores: dict[str, Path], tmp_path: Path) -> None:
    tables = [table for (number, name) in EXPECTED for table in measured_tables(name, load_runs(stores[number]))]
    log = compiled(tmp_path, document(render(tables, "latex"), "table"), bibliography(tables))
    assert len(tables) == len(EXPECTED)
    assert "undefined" not in log and "Overfull" not in log
