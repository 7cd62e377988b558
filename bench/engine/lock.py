"""The locks of a run store, among all processes and machines that share it. Needs no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from issbench.files import set_aside, writing

LEASE = 120.0
"""Seconds without a sign of life after which a lock may be broken: longer than NFS caches a file's time."""
_ENOUGH = 1000  # bytes of a lock file


class StoreLock:
    """A file that must not exist before (O_EXCL, which NFS 3 and later keep atomic). Its owner renews its time.

    Others break it when they have seen no renewal for `lease` seconds of their own clocks, whatever the file holds,
    or at once when its owner is a dead process of this machine. An owner that was not dead, only stopped, learns of
    it by `on_loss`. Even two owners do no harm but double work: what they write is the same, and appears whole.
    """

    def __init__(self, path: Path, on_loss: Callable[[], None] = lambda: None, lease: float = LEASE):
        self.path, self.lease = path, lease
        self._lock = SoftFileLease(path, lease_duration=lease, on_compromise=lambda _: on_loss())
        self._seen: tuple[object, ...] | None = None
        self._since = 0.0
        self.broken = ""
        """The lock that was broken, in words; empty where there was none."""

    def acquire(self) -> bool:
        """Try once to get the lock, as who waits does every second; whether it is held now. CannotWrite where there
        can be no such file."""
        there, owner = self._look()
        if there != self._seen:
            self._seen, self._since = there, time.monotonic()
        try:
            self._lock.acquire(timeout=0)
        except (Timeout, LeaseSettingsMismatch):  # the latter: of a version with another lease
            if there is not None and time.monotonic() - self._since >= self.lease:
                self._break(there, owner)
            return False
        except OSError as error:
            with writing(self.path):
                raise error
        if there is not None:
            self.broken = owner
        return True

    def release(self) -> None:
        """Give the lock back, if it is held."""
        self._lock.release()

    def _look(self) -> tuple[tuple[object, ...] | None, str]:
        """What changes with every renewal, and the owner in words; None where there is no lock."""
        try:
            stat = self.path.lstat()
            with self.path.open(encoding="utf-8", errors="replace") as file:
                facts = dict(line.partition("=")[::2] for line in file.read(_ENOUGH).splitlines())
        except FileNotFoundError:
            return None, ""
        except OSError as error:  # a folder, or a server that is away
            return (str(error),), "something that is not a lock"
        known = {"pid", "host"} <= facts.keys()
        owner = f"the lock of process {facts['pid']} on {facts['host']}" if known else "a lock that names no owner"
        return (stat.st_ino, stat.st_mtime_ns, stat.st_size), owner

    def _break(self, there: tuple[object, ...], owner: str) -> None:
        """Set aside what no owner renews, and what `SoftFileLease` waits for, since it names no owner."""
        if self._look()[0] == there:
            set_aside(self.path)
            self.broken = owner
