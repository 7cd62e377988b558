"""`bench status`: what became of submitted runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from issbench.bench.launching.status import RunStatus, State

_SHOWN = 20
"""Runs that are listed one by one, unless all are asked for."""
_EVERY = 10.0
"""Seconds between two looks."""
_FEW, _MORE = 3, 10
"""Lines of a log that are shown."""
_SILENT = 300.0
"""Seconds without a sign of life that are worth mentioning."""
_COLOURS: dict[State, str] = {
    "failed": "red", "running": "green", "stopped": "yellow", "unknown": "magenta", "queued": "", "done": "dim",
}  # fmt: skip
"""The states in the order in which they matter."""


def status(
    sweep: Annotated[str | None, typer.Option(help="Only this submission, such as sweep-1.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed runs, with more of their logs.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List every run, however many there are.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 10 s, until all is over.")] = False,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Show which runs are queued, running, failed, stopped or done.

    Those that failed or run come first. It reads files and asks Slurm once, so it works on any login node. Where
    Slurm does not answer, exit code 1 says so, and what the runs themselves left is shown.
    """
    import shutil

    from rich.console import Console

    from issbench.errors import Interrupted, RunError, UsageError

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(160, shutil.get_terminal_size().columns))
    if watch and not console.is_terminal:
        raise UsageError("--watch needs a terminal; without it, `bench status` shows how things are now")
    if not watch:
        runs = _look(out, sweep)
        console.print(*_view(runs, everything, failed, _SHOWN), sep="\n")
        unknown = [each.detail for each in runs if each.state == "unknown"]
        if unknown:
            raise RunError(f"the state of {len(unknown)} runs is not known: {unknown[0]}; ask again later")
        return
    try:
        _watch(console, out, sweep, failed, everything)
    except KeyboardInterrupt:
        raise Interrupted("the runs go on; `bench cancel` ends them") from None


def _look(out: Path, sweep: str | None) -> list[RunStatus]:
    """The runs that are asked for. UsageError if there is none at all."""
    from issbench.bench.launching.status import statuses
    from issbench.errors import UsageError

    found = statuses(out, sweep)
    if not found:
        raise UsageError(f"{out} holds no run; pass --out DIR as to `bench run`")
    return found


def _watch(console: Console, out: Path, sweep: str | None, failed: bool, everything: bool) -> None:
    """Draw again and again, until no run is running or queued."""
    import time

    from rich.console import Group
    from rich.live import Live

    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            runs = _look(out, sweep)
            *parts, total = _view(runs, everything, failed, max(5, console.height // 2))
            live.update(Group(total, *parts), refresh=True)  # what does not fit on the screen is at its end
            if not any(each.state in ("running", "queued", "unknown") for each in runs):
                return
            time.sleep(_EVERY)


def _view(runs: Sequence[RunStatus], everything: bool, failed: bool, limit: int) -> list[RenderableType]:
    """The runs that matter most, how many of each kind are in which state if there are more, and the sum."""
    total = _text(f"{len(runs)} runs: {_counted(runs)}")
    runs = [each for each in runs if each.state == "failed"] if failed else runs
    order = list(_COLOURS)
    listed = sorted(runs, key=lambda each: order.index(each.state))
    if not everything and len(runs) > limit:
        listed = [each for each in listed if each.state != "done"][:limit]
    parts: list[RenderableType] = [_list(listed, failed)] if listed else []
    if len(listed) < len(runs):
        names = {each.run for each in listed}
        left = [each for each in runs if each.run not in names]
        parts += [_text(f"not listed: {_counted(left)}; --all lists them", "dim"), _text("")]
        parts += [_summary("method", runs, _method), _summary("scenario", runs, _scenario)]
    return [*parts, total]


def _counted(runs: Iterable[RunStatus]) -> str:
    """How many runs are in which state, in words."""
    states = Counter(each.state for each in runs)
    return ", ".join(f"{states[state]} {state}" for state in _COLOURS if states[state])


def _list(runs: Iterable[RunStatus], long: bool) -> Table:
    """One line a run, and the end of the log of one that failed without giving its reason, or of all (`long`)."""
    from rich.table import Table
    from rich.text import Text

    from issbench.bench.launching.logs import last_lines

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for run in runs:
        table.add_row(
            _text(run.state, _COLOURS[run.state]), _text(run.label), _text(_detail(run)), _text(run.job or "")
        )
        if run.log is not None and (long or not run.explained):
            end = last_lines(run.log, _MORE if long else _FEW)
            lines = Text("\n").join(_text(line, "dim") for line in end or [f"{run.log} is empty"])
            table.add_row("", _text(run.run, "dim"), lines, "")
    return table


def _text(words: str, style: str = "") -> Text:
    """Words from elsewhere in one line, without markup, and without what steers a terminal."""
    from rich.text import Text

    from issbench.text import one_line

    return Text(one_line(words), style)


def _detail(run: RunStatus) -> str:
    """Where a running run is, or why another one does not run."""
    import time

    from issbench.text import clock

    position = run.position
    if position is None:
        return run.detail or ("starting" if run.state == "running" else "")
    where = f"{run.detail}: " if run.detail else f"step {position.step} of 0–{position.last_step}, "
    left = f", {clock(position.left)} to the end of the step" if position.left else ""
    rate = f", {position.rate:.1f} images/s" if position.rate else ""
    loss = "" if position.loss is None else f", loss {position.loss:.4f}"
    whole = f", {clock(position.left_of_all)} to the end of all runs" if position.left_of_all else ""
    silent = time.time() - position.updated
    sign = f"; last sign of life {clock(silent)} ago" if silent > _SILENT else ""
    return (
        f"{where}epoch {position.epoch}/{position.epochs}, iteration {position.iteration}/{position.iterations}"
        f"{left}{whole}{rate}{loss}{sign}"
    )


def _summary(title: str, runs: Iterable[RunStatus], group_of: Callable[[RunStatus], str]) -> Table:
    """How many runs of each group are in which state."""
    from rich.table import Table

    groups: dict[str, Counter[str]] = {}
    for run in runs:
        groups.setdefault(group_of(run), Counter())[run.state] += 1
    table = Table(title, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for state in _COLOURS:
        table.add_column(state, justify="right")
    for name, states in sorted(groups.items()):
        table.add_row(_text(name), *(str(states[state] or "·") for state in _COLOURS))
    table.add_row()
    return table


def _method(run: RunStatus) -> str:
    return str(run.experiment.get("method", "unknown"))


def _scenario(run: RunStatus) -> str:
    return (
        " ".join(str(run.experiment[key]) for key in ("scenario", "setting") if key in run.experiment) or "unknown"
    )
