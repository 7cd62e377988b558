"""Sweeps: what is run, how it is counted, and that a sweep resumes and outlives a run that fails."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from commands import bench
from small_folder import RECIPE, small_folder

from issbench.bench.commands.support.paper import ablation, paper_table, table_name, table_numbers
from issbench.bench.engine.plan import Plan, make_plans
from issbench.bench.engine.training import StepTrainer
from issbench.bench.experiment import Experiment
from issbench.bench.sweep import Axis, Sweep, grid, union
from issbench.errors import UsageError
from issbench.results.published import TABLES, published

SETTINGS = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]


def plans(sweep: Sweep) -> list[Plan]:
    return make_plans(sweep.experiments(), torch.device("cpu"))


# What is run


def test_the_cross_product_has_each_experiment_once_and_whole_tables_first() -> None:
    sweep = Sweep(
        methods=("gsc", "plop", "gsc"),
        scenarios=("shapes_4-1", "shapes_4-2"),
        settings=("overlapped", "disjoint"),
        orders=("natural", "random:1"),
        seeds=(0, 1, 0),
    )
    found = sweep.experiments(recipe={"epochs": 1})
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2 * 2
    assert [each.seed for each in found] == [0] * 16 + [1] * 16
    assert [each.method for each in found[:3]] == ["gsc", "plop", "gsc"]
    assert {each.recipe.epochs for each in found} == {1}
    assert union([sweep, Sweep(methods=("plop", "ft"), scenarios=("shapes_4-1",))], recipe={"epochs": 1}) == [
        *found,
        Experiment("ft", "shapes_4-1", recipe={"epochs": 1}),
    ]


def test_grids_of_one_method_are_combined() -> None:
    axes = (grid("gsc:lambda1=1,0.5,1"), grid("gsc:lambda2=1,0.1"))
    specs = Sweep(methods=("gsc:sg=off", "plop"), scenarios=("shapes_4-1",), axes=axes).specs()
    wanted = [f"gsc:lambda1={a},lambda2={b},sg=off" for a, b in product(("1", "0.5"), ("1", "0.1"))]
    assert specs == (*wanted, "plop")
    combination = Sweep(methods=("mib+sg+pr",), scenarios=("shapes_4-1",), axes=(grid("mib+pr+sg:pr=off"),))
    assert combination.specs() == ("mib+pr+sg:pr=off",)


@pytest.mark.parametrize("text", ["gsc", "gsc:lambda1", "gsc:lambda1=", "gsc:=1", "gsc:lambda1=1,lambda2=1"])
def test_a_grid_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--grid gsc"):
        grid(text)


def test_axes_must_fit_the_methods() -> None:
    twice = (grid("gsc:lambda1=1"), grid("gsc:lambda1=2"))
    for methods, axes in (("gsc:lambda1=1", twice[:1]), ("gsc", twice)):
        with pytest.raises(UsageError, match=r"lambda1 of gsc.* is set already"):
            Sweep(methods=(methods,), scenarios=("shapes_4-1",), axes=axes).specs()
    with pytest.raises(UsageError, match="gsc is not among the methods plop"):
        Sweep(methods=("plop",), scenarios=("shapes_4-1",), axes=twice[:1]).specs()


def test_an_ablation_has_the_twelve_rows() -> None:
    rows = ablation()
    on = {tuple(part not in row for part in ("pr", "sg", "sr", "sc")) for row in rows}
    wanted = {(pr, sg, sr, sc) for pr, sg, sr, sc in product((True, False), repeat=4) if pr or not sg}
    assert len(rows) == 12 and on == wanted
    sweep = Sweep(methods=("gsc",), scenarios=("shapes_4-1",), axes=(Axis("gsc", rows, "--ablation gsc"),))
    experiments = sweep.experiments()
    assert len(experiments) == 12
    assert experiments[0].method_options == dict.fromkeys(("pr", "sg", "sr", "sc"), "off")
    assert experiments[-1].method == "gsc"
    assert len({each[1].key for each in (plan.steps for plan in plans(sweep))}) == 12


# The paper's tables


@pytest.mark.parametrize("number", TABLES)
def test_a_table_of_the_paper_is_a_cross_product(number: str) -> None:
    table = paper_table(number)
    sweep = Sweep(methods=table.methods, scenarios=table.scenarios, settings=table.settings, orders=table.orders)
    rows = {
        (n.method.removesuffix("*"), number == "VII" and n.note, n.scenario, n.setting, n.order)
        for n in published(number)
        if n.order != "average"
    }
    assert len(sweep.experiments()) == len(rows)
    assert table.number in table_numbers(table_name(number))


def test_what_the_tables_of_the_paper_run() -> None:
    methods = ("ft", "joint", "ewc", "lwf", "lwf-mc", "ilt", "mib", "sdr", "plop", "rcil", "gsc")
    assert set(paper_table("I").methods) == set(methods)
    assert set(paper_table("VI").methods) == {"ilt", "mib", "plop", "rcil", "gsc"}
    assert paper_table("VI").orders == ("A", "B", "C", "D", "E")
    assert paper_table("V").methods[0] == "plop" and paper_table("V").methods[-1] == "gsc"
    assert "gsc:lambda1=0.3,lambda2=0.1" in paper_table("VII").methods
    assert paper_table("VIII").methods == ("rcil", "rcil+gsc")
    assert table_numbers("main") == ("I", "II", "III")
    assert table_numbers("vi, I") == ("VI", "I")


# The command


@pytest.fixture
def folder(tmp_path: Path) -> list[object]:
    """The options of a sweep that takes seconds."""
    data = small_folder(tmp_path / "data")
    return ["--scenarios", "folder_2-1", "--data", data, *SETTINGS, "--out", tmp_path / "out", "--workers", "0"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str | None]]:
    """The steps trained so far."""
    steps: list[tuple[int, str | None]] = []
    train = StepTrainer.run

    def remember(self: StepTrainer, every: float) -> None:
        steps.append((self.step.index, self.step.method))
        train(self, every)

    monkeypatch.setattr(StepTrainer, "run", remember)
    return steps


def test_sweep_tells_trains_and_resumes(tmp_path, folder, trained) -> None:
    def told(*more: str) -> list[str]:
        return bench("sweep", "--methods", "ft,mib", *more, *folder).splitlines()

    lines = told("--grid", "mib:distillation=1,5", "--dry-run")
    assert lines[-3:-1] == [
        "runs          3  0 done, 3 to do",
        "steps         6  2 shared with other runs, so 4 different; 0 in the store, 4 to train on 48 images",
    ]
    assert lines[-1].startswith("disk ")
    assert trained == [] and not (tmp_path / "out").exists()
    told("--grid", "mib:distillation=1")
    assert trained == [(0, None), (1, "ft"), (1, "mib")]
    lines = told("--grid", "mib:distillation=1,5")
    assert "runs          3  2 done, 1 to do" in lines
    assert (
        "steps         6  2 shared with other runs, so 4 different; 3 in the store, 1 to train on 12 images"
        in lines
    )
    assert trained == [(0, None), (1, "ft"), (1, "mib"), (1, "mib")]
    assert any("MiB (distillation=5.0)" in line for line in lines)
    lines = told("--grid", "mib:distillation=1,5")
    assert "runs          3  all done" in lines and len(trained) == 4
    assert any("MiB (distillation=5.0)" in line for line in lines)
    next((tmp_path / "out" / "runs").glob("*-ft-*/run.json")).write_text("{")
    assert "runs          3  2 done, 1 to do" in told("--grid", "mib:distillation=1,5", "--dry-run")
    assert "runs          3  2 done, 1 to do" in told("--grid", "mib:distillation=1,5")
    assert "runs          3  all done" in told("--grid", "mib:distillation=1,5") and len(trained) == 4


def test_what_two_specs_share_is_trained_once(folder, trained) -> None:
    """gsc:sg=on is gsc."""
    said = bench("sweep", "--methods", "ft,gsc:sg=on,gsc", *folder, "--dry-run")
    assert "runs          2  0 done, 2 to do" in said
    assert "steps         4  1 shared with other runs, so 3 different; 0 in the store, 3 to train" in said


def test_run_is_a_sweep_of_one_scenario(tmp_path, folder, trained) -> None:
    bench("run", "--methods", "ft,mib", *["--scenario" if word == "--scenarios" else word for word in folder])
    assert trained == [(0, None), (1, "ft"), (1, "mib")]
    assert "runs          2  all done" in bench("sweep", "--methods", "mib,ft", *folder)


def test_a_table_of_the_paper_on_another_scenario(tmp_path) -> None:
    out = ["--out", tmp_path / "out", "--dry-run"]
    said = bench("sweep", "--table", "VI", "--scenarios", "shapes_4-2", *out)
    assert "the orders A, B, C, D, E are of other classes" in said
    assert "runs         25  0 done, 25 to do" in said
    assert "steps        75  20 shared" in said  # a first step for each order, not for each method
    for table, runs in {"I": 22, "V": 12, "VII": 10, "VIII": 4}.items():
        said = bench("sweep", "--table", table, "--scenarios", "shapes_4-4", *out)
        assert f"runs {runs:>10}  0 done" in said
    few = [
        "--methods",
        "ft,plop",
        "--settings",
        "disjoint",
        "--orders",
        "natural,8 7 6 5 4 3 2 1",
        "--seeds",
        "0,1",
    ]
    said = bench("sweep", "--table", "I", "--scenarios", "shapes_4-4", *few, *out)
    assert f"runs {8:>10}  0 done" in said


NO_TAG = ("--backbone", "resnet50.tv_in1", "--weights", "imagenet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scenarios", "shapes_4-4"], "--methods is missing"),
        (["--methods", "ft"], "--scenarios is missing"),
        (["--table", "IX"], "--table IX: the paper's are I, II"),
        (["--table", "steps"], "--table steps: the paper's are"),
        (["--table", "VII", "--methods", "ft"], "--methods cannot replace"),
        (["--table", "VII", "--grid", "gsc:lambda1=1"], "is set already"),
        (["--ablation", "plop", "--scenarios", "shapes_4-4"], "it lacks one of the switches"),
        (["--ablation", "gsc", "--methods", "ft", "--scenarios", "shapes_4-4"], "gsc is not among the methods ft"),
        (["--grid", "gsk:lambda1=1", "--scenarios", "shapes_4-4"], "did you mean gsc"),
        (["--grid", "gsc:lamda1=1", "--scenarios", "shapes_4-4"], "did you mean lambda1"),
        (["--methods", "ft,gsc:sg=maybe", "--scenarios", "shapes_4-4"], "on or off"),
        (["--methods", "ft", "--scenarios", "shapes_4-4,shapes_9-1"], "starts with 9"),
        (["--methods", "ft", "--scenarios", "shapes_4-4", "--orders", "A"], "'A' is neither"),
        (["--methods", "ft", "--scenarios", "shapes_4-4", "--settings", "joint"], "unknown setting"),
        (["--methods", "ft", "--scenarios", "shapes_4-4", "--backbone", "resnet1o1"], "did you mean resnet101"),
        (["--methods", "ft", "--scenarios", "shapes_4-4", *NO_TAG], "did you mean tv_in1k"),
        (["--methods", "ft", "--scenarios", "voc_15-1", "--data", "no/such/place"], "no such directory"),
        (["--methods", "ft", "--scenarios", "shapes_4-4", "--weights", "no.pth"], "no such file"),
    ],
)
def test_a_mistake_stops_everything_before_training(arguments, message, tmp_path, trained) -> None:
    assert message in bench("sweep", *arguments, "--out", tmp_path / "out", code=2)
    assert trained == []
