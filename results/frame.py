"""A run store in Python: its runs, and their numbers as tidy data frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from issbench.errors import UsageError
from issbench.results.runs import Run, load_runs

if TYPE_CHECKING:
    import pandas as pd

View = Literal["groups", "classes"]
_RUN = (
    "run", "method", "title", "dataset", "scenario", "setting", "order", "images", "seed", "protocol", "data",
    "imported", "complete", "mean_over_steps", "step", "last_step",
)  # fmt: skip
_OF = {"groups": ("group", "miou", "hiou", "pixel_accuracy"), "classes": ("channel", "class", "iou", "forgetting")}


@dataclass(frozen=True)
class Results:
    """The runs of a store, sorted by name."""

    runs: Sequence[Run]

    def frame(self, view: View = "groups") -> pd.DataFrame:
        """All numbers of the finished steps, also of runs that are not complete; in %, NaN where there is none.

        `groups`: a row per run × step × class group, with the group's `miou`; `hiou` and `pixel_accuracy` are of
        the step, `mean_over_steps` of the run. `classes`: a row per run × step × class, with its `iou`, and in the
        last step of a complete run its `forgetting` (IoU when first learned minus after the last step, in points;
        NaN for a class of the last step).
        """
        return tidy(self.runs, view)


def load_results(out: Path | str = "runs") -> Results:
    """The results of a run store. Raises RecordError where the store or a record cannot be read."""
    return Results(load_runs(Path(out)))


def tidy(runs: Iterable[Run], view: View = "groups") -> pd.DataFrame:
    """The frame of some runs: see `Results.frame`. `classes` needs records that were read in full."""
    import pandas as pd

    if view not in _OF:
        raise UsageError(f"frame({view!r}): there are {', '.join(_OF)}")
    lines = _groups if view == "groups" else _classes
    rows = [(*facts, *line) for run in runs for facts, line in lines(run)]
    frame = pd.DataFrame(rows, columns=[*_RUN, *_OF[view]])
    numbers = ["mean_over_steps", *(name for name in _OF[view] if name not in ("group", "channel", "class"))]
    frame = frame.astype(dict.fromkeys(numbers, float))
    frame[numbers] += 0.0  # no −0.0
    return frame


def _steps(run: Run) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The facts of each step, as in `_RUN`, with its metrics."""
    experiment = run.experiment
    facts = (
        run.name, run.spec, run.method["title"], experiment["dataset"], run.scenario, run.setting, run.order,
        run.images, run.seed, experiment["protocol"]["name"], run.record["data"], run.imported, run.complete,
        run.record["metrics"].get("mean_over_steps"),
    )  # fmt: skip
    for step in run.steps:
        yield (*facts, step["step"], run.complete and step is run.last), {**step["metrics"]}


def _groups(run: Run) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    for facts, metrics in _steps(run):
        for group, value in (metrics["groups"] | metrics["miou"]).items():
            yield facts, (group, value, metrics.get("hiou"), metrics.get("pixel_accuracy"))


def _classes(run: Run) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    names, lost = run.record["class_names"], run.forgotten
    for facts, metrics in _steps(run):
        for channel, value in enumerate(metrics["iou"]):
            forgotten = lost[channel] if lost and facts[-1] else None
            yield facts, (channel, names[channel], value, forgotten)
