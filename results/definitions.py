"""Which tables there are: for each, what of a run or of a printed number is its row, its column and its value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, fsum
from typing import TYPE_CHECKING, Any

from issbench.errors import did_you_mean
from issbench.results.published import OTHERS, Number
from issbench.results.table import CHECK, TableError

if TYPE_CHECKING:
    from issbench.results.runs import Run

AVERAGE = "Average"
SCENARIOS = ("19-1", "10-10", "15-1", "15-5", "10-1", "100-50", "100-10", "50-50", "11-5", "11-1", "1-1")
SETTINGS = ("disjoint", "overlapped", "sequential", "partitioned", "domain")
_ITEMS = {"voc": 20, "ade": 150, "cityscapes": 21}  # classes, and cities
_PARTS = ("pr", "sg", "sr", "sc")
_LAMBDAS = ("lambda1", "lambda2")

FORMULAS = {
    "hIoU": "hIoU: 2 · base · new / (base + new), of the mIoU of base and of new classes.",
    "mean over steps": "mean over steps: of the mIoU of all classes so far, after each step, the first included.",
    "least": "least, most: of any single class of the groups, in each seed its own.",
    "difference": "difference: ours − paper, of the numbers as printed; the paper tells no spread over seeds, so "
    "whether it is more than chance is not known.",
}
"""What is in a column that does not say so itself, by its head."""

RowName = tuple[str, ...]
"""What stands in the first columns of a row: the method, or check marks."""
Values = dict[str, float | None]
"""Numbers by the head of their column."""


@dataclass(frozen=True)
class Definition:
    """A table. Columns lie under the scenario and the setting; their own head differs from table to table.

    `printed`: the paper's tables, or those of other papers. `measures`: what the numbers are. `varies`: what may
    differ between the runs of one table besides method and seed. `row`, `values`: the name of a run's row (None
    where it does not belong here) and its numbers by column. `extra_values`: more of them, for a table of one
    scenario. `printed_row`, `printed_column`: the same of a printed number. `row_order`, `column_order`: sort keys
    (without one they stay as they come). `ranks`: how many of the best are marked; `lower`: less is better.
    `average`: whether a column averages over those of a scenario.
    """

    name: str
    measures: str
    printed: tuple[str, ...] = ()
    stubs: tuple[str, ...] = ("method",)
    varies: tuple[str, ...] = ("scenario", "setting")
    row: Callable[[Run], RowName | None] = lambda run: (run.label,)
    values: Callable[[Run], Values] = lambda run: dict(run.last["metrics"]["groups"])
    extra_values: Callable[[Run], Values] | None = None
    printed_row: Callable[[Number], RowName] = lambda number: (number.method,)
    printed_column: Callable[[Number], str] = lambda number: number.classes
    keep: Callable[[Run], bool] = lambda run: True
    row_order: Callable[[RowName], Any] | None = None
    column_order: Callable[[str], Any] = lambda column: 0
    ranks: int = 2
    lower: bool = False
    average: bool = False


@cache
def scenario_head(dataset: str, name: str, steps: int | None = None) -> str:
    """`15-1 (6 steps)`; the paper's scenarios need no number of steps."""
    split = name.removeprefix(f"{dataset}_")
    base, increment = (int(part) for part in split.split("-"))
    return f"{split} ({steps or 1 + ceil((_ITEMS[dataset] - base) / increment)} steps)"


def setting_rank(setting: str) -> tuple[int, str]:
    """A sort key: the settings in the order of tables, of one setting its draws."""
    kind = setting.partition(":")[0]
    return SETTINGS.index(kind) if kind in SETTINGS else len(SETTINGS), setting


def all_value(run: Run) -> float | None:
    """mIoU (%) over all classes after the last step."""
    return run.last["metrics"]["groups"].get("all")


def run_values(run: Run) -> Values:
    """hIoU (%) after the last step if the run has it, and the mean over the steps of mIoU (%) over all classes."""
    hiou = run.last["metrics"].get("hiou")
    return ({} if hiou is None else {"hIoU": hiou}) | {
        "mean over steps": run.record["metrics"].get("mean_over_steps")
    }


def hiou_values(run: Run) -> Values:
    """mIoU (%) of base, new and all classes after the last step, and the harmonic mean of the first two."""
    metrics = run.last["metrics"]
    return {**{name: metrics["miou"].get(name) for name in ("base", "new", "all")}, "hIoU": metrics.get("hiou")}


def _hiou_column(number: Number) -> str:
    """The column of a printed group: that of the base classes ends with the last of these."""
    if number.classes in ("all", "hIoU"):
        return number.classes
    return "base" if number.classes.endswith(f"-{number.scenario.partition('-')[0]}") else "new"


def step_values(run: Run) -> Values:
    """mIoU (%) over all classes learned so far, after each step."""
    return {f"step {step['step']}": step["metrics"]["groups"].get("all") for step in run.steps}


def forgetting_values(run: Run) -> Values:
    """IoU of a class when first learned minus after the last step, in points: the mean over each group, and the
    least and the most of any class. Classes of the last step have not had time to be forgotten and are left out; of
    a method that skips steps (Joint) so are the means that would lack classes that others have."""
    lost = run.forgotten
    if not lost:
        return {}
    spans = {name: span for name, span in run.record["group_spans"]["printed"].items() if name != "all"}
    end = len(lost) - (0 if run.setting == "domain" else run.record["classes_per_step"][-1])
    found = {
        group: _mean(lost[first : last + 1]) if min(last + 1, end) <= run.early_channels else None
        for group, (first, last) in spans.items()
    }
    everything = lost[min((first for first, _ in spans.values()), default=0) :]
    known = [value for value in everything if value is not None] if end <= run.early_channels else []
    return found | {"all": _mean(known), "least": min(known, default=None), "most": max(known, default=None)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fsum(known) / len(known) if known else None


def ablation_row(run: Run) -> RowName | None:
    """Check marks for PLOP and the parts; None for other methods, or with other options than those of the paper."""
    parts = set(run.method["parts"])
    if run.method["name"].partition("+")[0] not in ("gsc", "plop") or parts - {*_PARTS}:
        return None
    if set(run.changed_options) - {*_PARTS}:
        return None
    return _checks({part for part in parts if run.method["options"].get(part, True)})


def _checks(on: set[str]) -> RowName:
    return (CHECK, *(CHECK if part in on else "" for part in _PARTS))


def _ablation_order(row: RowName) -> object:
    """As printed: {none, PR, PR+SG} × {none, SR, SC, SR+SC}."""
    pr, sg, sr, sc = (mark == CHECK for mark in row[1:])
    return pr, sg, sr + 2 * sc


def lambda_row(run: Run) -> RowName | None:
    """λ2 of a run of GSC whose other options are the published ones."""
    if run.method["name"] != "gsc" or set(run.changed_options) - {*_LAMBDAS}:
        return None
    weight = _weight(run, "lambda2")
    return None if weight is None else (str(weight),)


def _lambda_values(run: Run) -> Values:
    weight = _weight(run, "lambda1")
    return {} if weight is None else {f"λ1 = {weight}": all_value(run)}


def _weight(run: Run, name: str) -> float | None:
    """An option of GSC; None in a record of a version that lacked it."""
    value = run.method["options"].get(name)
    return float(value) if isinstance(value, int | float) else None


def _descending(text: str) -> float:
    return -float(text.rpartition(" ")[2])


_CLASS_ORDER = Definition(
    "class-order",
    "mIoU (%) over all classes after the last step, by class order",
    ("VI",),
    varies=("scenario", "setting", "order"),
    values=lambda run: {run.order: all_value(run)},
    printed_column=lambda number: AVERAGE if number.order == "average" else number.order,
    column_order=lambda column: (column == AVERAGE, column),
    average=True,
)

DEFINITIONS = {
    each.name: each
    for each in (
        Definition("main", "mIoU (%) after the last step", ("I", "II", "III"), extra_values=run_values),
        Definition(
            "domain",
            "mIoU (%) after the last step, domain-incremental",
            ("IV",),
            keep=lambda run: run.setting == "domain",
        ),
        Definition(
            "ablation",
            "mIoU (%) after the last step, by the parts of GSC",
            ("V",),
            stubs=("PLOP", "PR", "SG", "SR", "SC"),
            row=ablation_row,
            printed_row=lambda number: _checks({p for p in _PARTS if number.facts[p] == "1"}),
            row_order=_ablation_order,
        ),
        _CLASS_ORDER,
        Definition(
            "hyperparameters",
            "mIoU (%) over all classes after the last step, GSC with other λ1 and λ2",
            ("VII",),
            stubs=("λ2",),
            row=lambda_row,
            values=_lambda_values,
            printed_row=lambda number: (number.facts["lambda2"],),
            printed_column=lambda number: f"λ1 = {number.facts['lambda1']}",
            row_order=lambda row: _descending(row[0]),
            column_order=_descending,
            ranks=0,
        ),
        Definition("combination", "mIoU (%) after the last step, methods with parts of others", ("VIII",), ranks=1),
        Definition(
            "steps",
            "mIoU (%) over the classes learned so far, after each step",
            values=step_values,
            column_order=lambda column: int(column.rpartition(" ")[2]),
        ),
        Definition(
            "hiou",
            "mIoU (%) of base, new and all classes after the last step, and hIoU (harmonic mean of base and new)",
            OTHERS,
            keep=lambda run: run.setting != "domain",
            values=hiou_values,
            printed_column=_hiou_column,
            column_order=("base", "new", "all", "hIoU").index,
        ),
        Definition(
            "forgetting",
            "Forgetting: IoU of a class when first learned minus after the last step, in points, as the mean over "
            "the classes of a group; the classes of the last step are left out",
            values=forgetting_values,
            lower=True,
        ),
    )
}


def definition(name: str) -> Definition:
    """The table with this name; raises TableError with the known ones."""
    if name not in DEFINITIONS:
        raise TableError(f"no table {name!r}; {did_you_mean(name, DEFINITIONS)}")
    return DEFINITIONS[name]


def chosen(table: Definition, runs: Sequence[Run]) -> list[Run]:
    """The runs that belong in a table."""
    kept = [run for run in runs if table.keep(run) and table.row(run) is not None]
    if table.name != "combination":
        return kept
    names = [run.method["name"].removesuffix("-imported") for run in kept]
    bases = {name.partition("+")[0] for name in names if "+" in name}
    return [run for run, name in zip(kept, names, strict=True) if "+" in name or name in bases]
