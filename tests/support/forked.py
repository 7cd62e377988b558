"""Commands in processes that can be killed, forked from one that has imported everything: to import torch takes
longer than most of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class Command:
    """A running `bench`, maybe of several processes that train together: `pids`, the first of which leads their
    group."""

    def __init__(self, server: Server, pids: list[int], log: Path):
        self._server, self.pids, self._log = server, pids, log

    @property
    def text(self) -> str:
        """What it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def signal(self, number: int, process: int | None = None) -> None:
        """Send a signal to all processes, with those that read images for them, or to one."""
        with suppress(ProcessLookupError):
            os.kill(self.pids[process], number) if process is not None else os.killpg(self.pids[0], number)

    def wait(self) -> list[int]:
        """The exit codes of the processes when they have ended; negative: the signal that killed one."""
        return self._server.ask({"wait": self.pids})["codes"]

    @property
    def runs(self) -> bool:
        """Whether any process of the group is there."""
        if self._server.ask({"running": self.pids})["running"]:
            return True
        with suppress(ProcessLookupError):
            os.killpg(self.pids[0], 0)
            return True
        return False


class Server:
    """The process that forks commands."""

    def __init__(self, process: subprocess.Popen[str], folder: Path):
        self._process, self._folder, self._count = process, folder, 0

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def start(self, *words: object, ranks: int = 1, before: str = "") -> Command:
        """Start `bench WORDS` as so many processes as torchrun would, after the Python statements `before`."""
        self._count += 1
        log = self._folder / f"{self._count}.log"
        log.touch()
        request = {"words": [*map(str, words)], "ranks": ranks, "before": before, "log": str(log)}
        return Command(self, self.ask(request)["pids"], log)


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server whose commands print to files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Server(process, folder)
        assert process.stdin is not None
        process.stdin.close()


def wait_until(condition: Any, command: Command, seconds: float = 300.0) -> None:
    """Wait while a command runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert command.runs and time.monotonic() < deadline, command.text
        time.sleep(0.005)


def _serve() -> None:
    import torch.utils.data
    import torchvision  # noqa: F401

    import issbench.bench.engine.run  # noqa: F401
    from issbench.bench.commands.app import main

    torch.set_num_threads(1)
    ended: dict[int, int] = {}
    groups: list[int] = []
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request or "running" in request:
            for pid in request.get("wait", request.get("running")):
                if pid not in ended:
                    found, status = os.waitpid(pid, 0 if "wait" in request else os.WNOHANG)
                    ended |= {found: os.waitstatus_to_exitcode(status)} if found else {}
            answer = {"codes": [ended[pid] for pid in request.get("wait", ())]}
            running = [pid for pid in request.get("running", ()) if pid not in ended]
            print(json.dumps(answer | {"running": running}), flush=True)
            continue
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pids: list[int] = []
        for rank in range(request["ranks"]):
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, pids[0] if pids else 0)
                _become(request, rank, port, main)
            with suppress(PermissionError, ProcessLookupError):  # the child does it, too
                os.setpgid(pid, pids[0] if pids else pid)
            pids.append(pid)
        print(json.dumps({"pids": pids}), flush=True)
        groups.append(pids[0])
    for group in groups:
        if group not in ended:  # a test failed
            os.killpg(group, signal.SIGKILL)


def _become(request: dict[str, Any], rank: int, port: int, main: Any) -> None:
    """What a forked process does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, place)
    if request["ranks"] > 1:
        size = str(request["ranks"])
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    sys.argv = ["bench", *request["words"]]
    code = 99
    try:
        exec(request["before"], {"rank": rank})
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        import atexit

        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
