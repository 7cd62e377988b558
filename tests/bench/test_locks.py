"""The lock of a step, which one process holds."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import Timeout

from issbench.bench.engine.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_one_process_holds_a_step(store: Store) -> None:
    with store.lock("k"):
        with pytest.raises(Timeout):
            Store(store.root).lock("k").acquire(timeout=0)
        Store(store.root).lock("other").acquire(timeout=0).lock.release()
    Store(store.root).lock("k").acquire(timeout=0).lock.release()


HOLDER = """
import sys, time
from issbench.bench.engine.store import Store
with Store(sys.argv[1]).lock("k", lambda: print("lost", flush=True), lease=2):
    print("held", flush=True)
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
    with pytest.raises(Timeout):
        store.lock("k", lease=2).acquire(timeout=0)
    holder.kill()
    holder.wait()
    store.lock("k", lease=2).acquire(timeout=1).lock.release()


def test_a_process_that_gives_no_sign_of_life_loses_its_lock_and_learns_of_it(
    store: Store, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(Timeout):  # it renews the lock, so that a lease of 2 s lasts
        store.lock("k", lease=2).acquire(timeout=4)
    holder.send_signal(signal.SIGSTOP)
    with store.lock("k", lease=2).acquire(timeout=20):
        holder.send_signal(signal.SIGCONT)
        assert holder.stdout.readline() == "lost\n"
