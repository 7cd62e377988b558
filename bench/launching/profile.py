"""What a job asks of the cluster (a TOML profile, over it the command line), and how it works. Needs no torch."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from issbench.errors import UsageError, did_you_mean
from issbench.files import read_toml


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What each job asks for. None leaves it to the cluster's defaults."""

    partition: str | None = None
    gpus: int = 1
    """GPUs of a node; one process for each. 0: one process a node, on the CPU."""
    nodes: int = 1
    time: str = "8h"
    """The time limit of a job: 8h, 1d12h, 90m, or as Slurm writes it. A run that needs longer is requeued."""
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    mem: str | None = None
    """Memory of a node, such as 64G."""
    cpus: int | None = None
    """Cores of a process."""
    max_parallel: int | None = None
    """How many jobs run at once, over the whole submission."""
    setup: tuple[str, ...] = ()
    """Lines of shell that each job runs first."""
    grace: int = 120
    """Seconds before the time limit at which a job saves a checkpoint and is requeued."""
    extra: Mapping[str, str | int | bool] = dataclasses.field(default_factory=dict)
    """Further options of sbatch by their long names: with a value, or alone (true)."""

    def __post_init__(self) -> None:
        least = {"gpus": 0, "nodes": 1, "cpus": 1, "max_parallel": 1, "grace": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise UsageError(f"{option(name)} {value}: it must be at least {minimum}")
        if self.grace >= 60 * self.minutes:
            raise UsageError(f"--time {self.time}: it must be longer than the grace time, {self.grace} seconds")

    @property
    def minutes(self) -> int:
        """The time limit."""
        return minutes(self.time)

    @property
    def tasks_per_node(self) -> int:
        """Processes of a node."""
        return max(1, self.gpus)

    def describe(self) -> dict[str, Any]:
        """The profile as plain values, without what is left to the cluster."""
        values = dataclasses.asdict(self) | {"setup": list(self.setup), "extra": dict(self.extra)}
        return {name: value for name, value in values.items() if value not in (None, [], {})}


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What would end a line of a job's script, or be lost in it."""

_OURS = {
    "array", "clusters", "dependency", "error", "job-name", "output", "parsable", "quiet", "signal", "test-only",
    "wait",
}  # fmt: skip
"""Options of sbatch that the suite must know or choose itself."""


@dataclass(frozen=True)
class Settings:
    """How all jobs of a submission work. Paths are absolute."""

    out: str
    device: str
    workers: int | None
    checkpoint_every: float
    tensorboard: bool
    threads: int | None = None
    diagnose: bool = False


def option(key: str) -> str:
    """The option of the command line for a key; those that only a profile has are named as they stand there."""
    return key if key in ("grace", "extra") else f"--{key.replace('_', '-')}"


def make_profile(path: Path | None, given: Mapping[str, Any]) -> Profile:
    """The profile in a file, and over it what was given on the command line (None: not given)."""
    values = _values(read_toml(path, "--slurm-profile"), f"{path}: ") if path else {}
    asked = {key: value for key, value in given.items() if value is not None}
    return Profile(**values | _values(asked))


def profile_of(values: Mapping[str, Any]) -> Profile:
    """The profile that `describe` gave."""
    return Profile(**_values(values))


def minutes(text: str) -> int:
    """The whole minutes, rounded up, of `8h`, `1d12h`, `90m`, or Slurm's `MINUTES`, `HH:MM:SS`, `D-HH:MM:SS`."""
    text = text.strip()
    units = re.fullmatch(r"(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    clock = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if text.isdecimal():
        seconds = 60 * int(text)
    elif found := units or clock:
        days, hours, mins, secs = (int(part or 0) for part in found.groups())
        seconds = ((24 * days + hours) * 60 + mins) * 60 + secs
    else:
        seconds = 0
    if not seconds:
        raise UsageError(f"--time {text}: write 8h, 1d12h, 90m, or as Slurm does 1-12:00:00")
    return -(-seconds // 60)


def _values(written: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """The values of the file that `where` names, or of the command line, by the names of the fields. UsageError for
    an unknown key, with the nearest known ones, or a wrong value."""
    known = {field.name: str(field.type) for field in dataclasses.fields(Profile)}
    checked: dict[str, Any] = {}
    for name, value in written.items():
        key = name.replace("-", "_")
        if key not in known:
            hint = did_you_mean(key, known, f"it may hold {', '.join(known)}", cutoff=0.6)
            raise UsageError(f"{where}unknown key {name!r}; {hint}")
        checked[key] = _checked(f"{where}{name}" if where else option(key), known[key], value)
    return checked


def _checked(where: str, kind: str, value: Any) -> Any:
    """A value of a TOML file as the type that a field is annotated with."""
    if kind.startswith("int") and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind.startswith("str") and isinstance(value, (str, int)) and not isinstance(value, bool):
        return _one_line(where, str(value))
    if kind.startswith("tuple"):
        lines = (value,) if isinstance(value, str) else value
        if isinstance(lines, (list, tuple)) and all(isinstance(line, str) for line in lines):
            return tuple(lines)
    if kind.startswith("Mapping") and isinstance(value, Mapping):
        return {name.replace("_", "-"): _extra(where, name, each) for name, each in value.items()}
    wanted = {"int": "a whole number", "str": "a text", "tup": "a list of texts", "Map": "a table"}[kind[:3]]
    raise UsageError(f"{where} = {value!r}: it takes {wanted}")


def _extra(where: str, name: str, value: Any) -> str | int | bool:
    """The value of one further option of sbatch."""
    where = f"{where}.{name}"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name, re.ASCII):
        raise UsageError(f"{where!r}: write the long name of an option of sbatch, such as licenses")
    if name.replace("_", "-") in _OURS:
        raise UsageError(f"{where}: the suite chooses this itself; leave it out")
    if not isinstance(value, (str, int)):
        raise UsageError(f"{where} = {value!r}: it takes a text, a whole number, or true")
    return _one_line(where, value) if isinstance(value, str) else value


def _one_line(where: str, text: str) -> str:
    if CONTROL.search(text):
        raise UsageError(f"{where} = {text!r}: it must be one line, without control characters")
    return text
