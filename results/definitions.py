"""Which tables there are: for each, what of a run or of a printed number is its row, its column and its value."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import mean

from issbench.results.published import Number
from issbench.results.runs import Run
from issbench.results.table import CHECK, TableError

METHODS = ("FT", "Joint", "EWC", "LwF", "LwF-MC", "ILT", "MiB", "SDR", "PLOP", "RCIL*", "RCIL", "GSC")
"""Titles of methods in the order of the paper's Table I."""
BOUNDS = ("Joint",)
"""Trained on all data: an upper bound, which does not compete for best and second."""
AVERAGE = "Average"
SCENARIOS = ("19-1", "10-10", "15-1", "15-5", "10-1", "100-50", "100-10", "50-50", "11-5", "11-1", "1-1")
SETTINGS = ("disjoint", "overlapped", "domain")
_ITEMS = {"voc": 20, "ade": 150, "cityscapes": 21}  # classes, and cities
_PARTS = ("pr", "sg", "sr", "sc")
_OFF = ("off", "false", "0")
_LAMBDAS = {"lambda1": 0.3, "lambda2": 0.1}  # GSC, Section V: the published values, which are the defaults of gsc

Row = tuple[str, ...]
Tail = tuple[str, ...]
Values = dict[Tail, float | None]


@dataclass(frozen=True)
class Spec:
    """What a run trained: `gsc:sg=off` is gsc with {"sg": "off"}; `title` is that of the method in tables."""

    name: str
    options: dict[str, str]
    title: str

    @classmethod
    def of(cls, run: Run) -> Spec:
        """The method of a run, from its record."""
        name, _, text = run.experiment["method"].partition(":")
        pairs = (part.partition("=") for part in text.split(",") if part)
        return cls(name, {key: value for key, _, value in pairs}, run.record["title"])


@dataclass(frozen=True)
class Definition:
    """A table. Columns lie under the scenario and the setting; what is below, `tail`, differs from table to table.

    `printed`: the paper's tables. `measures`: what the numbers are. `varies`: what may differ between the runs of
    one table besides method and seed. `row`, `values`: the row of a run (None where it does not belong here) and
    its numbers by tail. `printed_row`, `printed_tail`: the same of a printed number. `row_order`, `tail_order`:
    sort keys (without one, rows stay as they come). `ranks`: how many of the best are marked; `lower`: less is
    better.
    """

    name: str
    measures: str
    printed: tuple[str, ...] = ()
    stubs: tuple[str, ...] = ("method",)
    varies: tuple[str, ...] = ("scenario", "setting")
    row: Callable[[Spec], Row | None] = field(default=lambda spec: method_row(spec))
    values: Callable[[Run], Values] = field(default=lambda run: group_values(run))
    printed_row: Callable[[Number], Row] = lambda number: (number.method,)
    printed_tail: Callable[[Number], Tail] = lambda number: (number.classes,)
    keep: Callable[[Run], bool] = lambda run: True
    row_order: Callable[[Row], object] | None = None
    tail_order: Callable[[Tail], object] = lambda tail: 0
    ranks: int = 2
    lower: bool = False
    average: bool = False
    extras: bool = False


def scenario_head(dataset: str, name: str, steps: int | None = None) -> str:
    """`15-1 (6 steps)`; the paper's scenarios need no number of steps."""
    split = name.removeprefix(f"{dataset}_")
    base, increment = (int(part) for part in split.split("-"))
    return f"{split} ({steps or 1 + ceil((_ITEMS[dataset] - base) / increment)} steps)"


def method_row(spec: Spec) -> Row:
    """The method's title, with the options that the user gave."""
    options = ",".join(f"{key}={value}" for key, value in spec.options.items())
    return (spec.title + (f" ({options})" if options else ""),)


def group_values(run: Run) -> Values:
    """mIoU (%) of each group after the last step."""
    return {(group,): value for group, value in run.last["groups"].items()}


def all_value(run: Run) -> float | None:
    """mIoU (%) over all classes after the last step."""
    return run.last["groups"].get("all")


def step_values(run: Run) -> Values:
    """mIoU (%) over all classes learned so far, after each step."""
    return {(f"step {step['step']}",): step["groups"].get("all") for step in run.record["steps"]}


def forgetting_values(run: Run) -> Values:
    """IoU of a class when first learned minus after the last step, in points: the mean over each group, and the
    least and the most of any class. Classes of the last step have not had time to be forgotten and are left out."""
    lost = run.record.get("forgetting")
    if lost is None:
        return {}
    sizes = run.record["classes_per_step"]
    domain = run.experiment["setting"] == "domain"
    early = len(lost) if domain or len(sizes) == 1 else sum(sizes[:-1]) + 1
    spans = [(group, *_span(group)) for group in run.last["groups"] if group != "all"]
    everything = [lost[c] for c in range(spans[0][1] if spans else 0, early)]
    found = {(group,): _mean(lost[first : min(last + 1, early)]) for group, first, last in spans}
    known = [value for value in everything if value is not None]
    least_most = {("least",): min(known, default=None), ("most",): max(known, default=None)}
    return found | {("all",): _mean(everything)} | least_most


def _span(group: str) -> tuple[int, int]:
    """The channels of a group by its name: `0-15`, or `20`."""
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", group)
    if match is None:
        raise TableError(f"group {group!r} of a record is neither `all` nor a range such as 0-15; was it edited?")
    return int(match[1]), int(match[2] or match[1])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def ablation_row(spec: Spec) -> Row | None:
    """Check marks for PLOP and the parts; None for other methods, or with other options."""
    base, *added = spec.name.split("+")
    if base not in ("gsc", "plop") or set(added) - {*_PARTS, "gsc"} or set(spec.options) - {*_PARTS}:
        return None
    parts = {*_PARTS} if "gsc" in (base, *added) else {*added}
    on = {part for part in parts if spec.options.get(part, "on").lower() not in _OFF}
    return _checks(on)


def _checks(on: set[str]) -> Row:
    return (CHECK, *(CHECK if part in on else "" for part in _PARTS))


def _ablation_order(row: Row) -> object:
    """As printed: {none, PR, PR+SG} × {none, SR, SC, SR+SC}."""
    pr, sg, sr, sc = (mark == CHECK for mark in row[1:])
    return pr, sg, sr + 2 * sc


def lambda_row(spec: Spec) -> Row | None:
    """λ2 of a run of GSC whose other options are the published ones."""
    if spec.name != "gsc" or set(spec.options) - {*_LAMBDAS}:
        return None
    return (_lambda(spec, "lambda2"),)


def _lambda(spec: Spec, name: str) -> str:
    return str(float(spec.options.get(name, _LAMBDAS[name])))


def _lambda_values(run: Run) -> Values:
    return {(f"λ1 = {_lambda(Spec.of(run), 'lambda1')}",): all_value(run)}


def _descending(texts: Row) -> float:
    return -float(texts[0].rpartition(" ")[2])


_CLASS_ORDER = Definition(
    "class-order",
    "mIoU (%) over all classes after the last step, by class order",
    ("VI",),
    varies=("scenario", "setting", "order"),
    values=lambda run: {(run.order,): all_value(run)},
    printed_tail=lambda number: (AVERAGE if number.order == "average" else number.order,),
    tail_order=lambda tail: (tail[0] == AVERAGE, tail[0]),
    average=True,
)

DEFINITIONS = {
    each.name: each
    for each in (
        Definition("main", "mIoU (%) after the last step", ("I", "II", "III"), extras=True),
        Definition(
            "domain",
            "mIoU (%) after the last step, domain-incremental",
            ("IV",),
            keep=lambda run: run.experiment["setting"] == "domain",
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
            printed_tail=lambda number: (f"λ1 = {number.facts['lambda1']}",),
            row_order=_descending,
            tail_order=_descending,
            ranks=0,
        ),
        Definition("combination", "mIoU (%) after the last step, methods with parts of others", ("VIII",), ranks=1),
        Definition(
            "steps",
            "mIoU (%) over the classes learned so far, after each step",
            values=step_values,
            tail_order=lambda tail: int(tail[0].rpartition(" ")[2]),
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
        raise TableError(f"no table {name!r}; there are {', '.join(DEFINITIONS)}")
    return DEFINITIONS[name]


def chosen(table: Definition, runs: Sequence[Run]) -> list[Run]:
    """The runs that belong in a table."""
    kept = [run for run in runs if table.keep(run) and table.row(Spec.of(run)) is not None]
    if table.name != "combination":
        return kept
    names = {Spec.of(run).name for run in kept}
    bases = {name.partition("+")[0] for name in names if "+" in name}
    return [run for run in kept if "+" in Spec.of(run).name or Spec.of(run).name in bases]
