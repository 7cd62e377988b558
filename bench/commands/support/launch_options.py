"""The options that say how runs are launched: in this process, on a cluster, or in several processes here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from issbench.errors import UsageError

if TYPE_CHECKING:
    from issbench.bench.launching.profile import Profile


def _cluster(help: str, *names: str, default: str | None = None) -> Any:
    return typer.Option(*names, help=help, show_default=default or False, rich_help_panel="On a cluster")


def _local(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Several jobs on this machine", **limits)


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """How runs are launched, as options of a command. The default is this process."""

    slurm: Annotated[bool, _cluster("Submit the runs to Slurm and return.", "--slurm")] = False
    slurm_profile: Annotated[
        Path | None, _cluster("TOML file with the following options; those given here win. Implies --slurm.")
    ] = None
    partition: Annotated[str | None, _cluster("Partition.")] = None
    gpus: Annotated[int | None, _cluster("GPUs of a node, one process each; 0 for the CPU.", default="1")] = None
    nodes: Annotated[int | None, _cluster("Nodes of a job.", default="1")] = None
    time: Annotated[
        str | None, _cluster("Time limit of a job, such as 8h; a longer run is requeued.", default="8h")
    ] = None
    account: Annotated[str | None, _cluster("Account.")] = None
    qos: Annotated[str | None, _cluster("Quality of service.")] = None
    constraint: Annotated[str | None, _cluster("Features that nodes must have.")] = None
    exclude: Annotated[str | None, _cluster("Nodes not to use.")] = None
    mem: Annotated[str | None, _cluster("Memory of a node, such as 64G.")] = None
    cpus: Annotated[int | None, _cluster("Cores of a process.")] = None
    max_parallel: Annotated[int | None, _cluster("Jobs that run at once at most.")] = None
    setup: Annotated[list[str] | None, _cluster("A line of shell that each job runs first; may be repeated.")] = (
        None
    )
    local: Annotated[bool, _local("Carry each run out in a job of its own, on its own GPU.", "--local")] = False
    jobs: Annotated[
        str, _local("Runs at once, each in a process of its own; auto: on the CPU as many as cores, if it pays.")
    ] = "auto"

    launcher: Annotated[
        str | None, typer.Option(help="A launcher that an installed package brings; it gets the cluster's options.")
    ] = None

    @property
    def name(self) -> str | None:
        """The launcher that is asked for; None: this process, unless more than one run at once pays. UsageError for
        more than one."""
        on_slurm = self.slurm or (self.slurm_profile is not None and self.launcher is None)
        local = self.local or (not on_slurm and not self.launcher and (self.at_once or 1) > 1)
        asked = [name for name, given in (("slurm", on_slurm), ("local", local)) if given]
        asked += [self.launcher] if self.launcher else []
        if len(asked) > 1:
            raise UsageError(f"two launchers, {' and '.join(asked)}, are asked for; give one of them")
        return asked[0] if asked else None

    @property
    def at_once(self) -> int | None:
        """How many runs at once are asked for; None: as many as it pays. UsageError for anything else."""
        from issbench.methods.interface.numbers import Range
        from issbench.methods.interface.options import parse_value

        try:
            return None if self.jobs == "auto" else parse_value("--jobs", int, self.jobs, Range(1, 1024))
        except UsageError as error:
            raise UsageError(f"{error}, or auto") from None

    def profile(self) -> Profile:
        """What each job asks for. UsageError for options that do not belong together."""
        from issbench.bench.launching.profile import Profile, make_profile, option

        keys = {field.name for field in dataclasses.fields(Profile)}
        asked = {key: value for key, value in vars(self).items() if key in keys and value is not None}
        if asked and self.name in (None, "local"):
            raise UsageError(f"{option(next(iter(asked)))} is for a cluster; add --slurm")
        if self.at_once and self.name not in (None, "local"):
            raise UsageError("--jobs is for processes on this machine; give --max-parallel with --slurm")
        return make_profile(self.slurm_profile, asked | {"max_parallel": self.at_once or self.max_parallel})
