"""The lock of a step, which one process holds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from issbench.bench.engine.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def get(store: Store, seconds: float, key: str = "k") -> str | None:
    """Wait for the lock of a step for so long, and give it back: which lock was broken for it, in words; None where
    it was not to be had."""
    lock, end = store.lock(key, lease=2), time.monotonic() + seconds
    while not lock.acquire():
        if time.monotonic() > end:
            return None
        time.sleep(0.2)
    lock.release()
    return lock.broken


def test_one_process_holds_a_step(store: Store) -> None:
    lock = store.lock("k", lease=2)
    assert lock.acquire() and get(Store(store.root), 0) is None and get(Store(store.root), 0, "other") == ""
    lock.release()
    assert get(Store(store.root), 0) == "" and [*(store.root / "steps").iterdir()] == []


HOLDER = """
import sys, time
from issbench.bench.engine.store import Store
lock = Store(sys.argv[1]).lock("k", lambda: print("lost", flush=True), lease=2)
print("held" if lock.acquire() else "refused", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(store: Store) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of step k."""
    command = [sys.executable, "-c", HOLDER, str(store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_lock_of_a_killed_process_is_free_at_once(store: Store, holder: subprocess.Popen[str]) -> None:
    assert get(store, 0) is None
    holder.kill()
    holder.wait()
    assert f"the lock of process {holder.pid} on {socket.gethostname()}" in (get(store, 0) or "")


def test_a_process_that_gives_no_sign_of_life_loses_its_lock_and_learns_of_it(
    store: Store, holder: subprocess.Popen[str]
) -> None:
    assert get(store, 4) is None  # it renews the lock, so that a lease of 2 s lasts
    holder.send_signal(signal.SIGSTOP)
    assert str(holder.pid) in (get(store, 20) or "")
    holder.send_signal(signal.SIGCONT)
    assert holder.stdout.readline() == "lost\n"


def left_behind(store: Store, key: str, content: bytes, ahead: float) -> None:
    """A lock that nobody renews, as if made by a clock so many seconds ahead of ours."""
    path = store.root / "steps" / f"{key}.lock"
    path.write_bytes(content)
    os.utime(path, (time.time() + ahead,) * 2)


def test_locks_without_a_living_owner_are_broken_whatever_they_hold(
    store: Store, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()
    path = store.root / "steps" / "k.lock"
    far = path.read_bytes().replace(b"host=", b"host=far-")  # of another machine, which nobody here can ask
    path.unlink()
    contents = [far, b"", b"\x00\xffgarbage", b"pid=1\n", b"filelock/2\nmode=newer\npid=1\nhost=h\n", b"1\nhost\n"]
    clocks = (0, 3600, -3600)
    keys = [f"{number}-{ahead}" for number in range(len(contents)) for ahead in clocks]
    for key in keys:
        number, _, ahead = key.partition("-")
        left_behind(store, key, contents[int(number)], float(ahead))
    locks = {key: store.lock(key, lease=2) for key in keys}
    started, held = time.monotonic(), {}
    while len(held) < len(keys):
        held |= {key: time.monotonic() for key in keys if key not in held and locks[key].acquire()}
        assert time.monotonic() - started < 60, f"waited for ever for {locks.keys() - held.keys()}"
        time.sleep(0.2)
    for key, lock in locks.items():
        lock.release()
        assert lock.broken, f"it was not said that the lock {key} was broken"
        assert not key.startswith("0-") or (held[key] - started >= 2 and "on far-" in lock.broken)


def test_a_lock_of_another_lease_is_waited_for_while_it_is_renewed(store: Store) -> None:
    """A version with another lease holds it."""
    other = store.lock("k", lease=1)
    assert other.acquire() and get(store, 3) is None
    other.release()
    assert get(store, 3) == ""
