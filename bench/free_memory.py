"""The memory that this process can still have. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def available() -> int | None:
    """Bytes that this process can still have: what the machine has free, or less where a control group limits it.
    None where the system does not say (it is not Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    return min([*free, *_left_in_groups()], default=None)


def _left_in_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What each control group of this process still allows: version 2, and version 1 under `memory`."""
    try:
        entries = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in entries:
        if not controllers:
            names, base = ("memory.max", "memory.current", "inactive_file"), root
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            base = root / "memory"
        else:
            continue
        inner = base / path.lstrip("/")
        # In a container the group may be mounted as the root.
        for folder in dict.fromkeys([inner, *inner.parents, base]):
            if folder.is_relative_to(base):
                yield from _left(folder, *names)


def _left(folder: Path, limit: str, used: str, reclaimable: str) -> Iterator[int]:
    """The limit of a group less what it uses; files that it has merely cached do not count."""
    try:
        most, now = int((folder / limit).read_text()), int((folder / used).read_text())
        lines = [line.split() for line in (folder / "memory.stat").read_text().splitlines()]
    except (OSError, ValueError):  # no such group, or `max`: no limit
        return
    yield max(0, most - now + sum(int(value) for name, value in lines if name == reclaimable))
