"""Fuzzing of the readers, outside the tests: python tests/fuzz --minutes 20

Each reader gets its part of the time, with inputs that atheris (pip install atheris) grows where they reach new
code. An input that ends in anything but a value or a UserError is kept in the folder of findings.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "support")]


def main() -> int:
    """Fuzz all readers, each in a process of its own; the exit code is the number of those with a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="For all readers together.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--reader", help="This one alone, in this process.")
    given = parser.parse_args()
    given.findings.mkdir(parents=True, exist_ok=True)
    if given.reader:
        return _fuzz(given.reader, given.minutes, given.seed, given.findings)
    from readers import READERS
    from reliability import keep

    started, tried, failed = time.monotonic(), 0, 0
    for name in READERS:
        share = given.minutes / len(READERS)
        command = [sys.executable, str(_HERE), "--reader", name, "--minutes", f"{share}", "--seed", f"{given.seed}"]
        command += ["--findings", str(given.findings)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        (given.findings / f"{name}.log").write_text(done.stderr)
        inputs = re.findall(r"^(?:Done |#)(\d+)", done.stderr, flags=re.MULTILINE)
        tried, failed = tried + max(map(int, inputs), default=0), failed + bool(done.returncode)
        print(
            f"{name}: {'FINDING' if done.returncode else 'nothing found'}, {max(inputs, key=int)} inputs",
            flush=True,
        )
    keep(
        "inputs of readers, grown by fuzzing", tried, failed, f"python tests/fuzz --minutes {given.minutes:g}",
        time.monotonic() - started,
    )  # fmt: skip
    return failed


def _fuzz(name: str, minutes: float, seed: int, findings: Path) -> int:
    """Fuzz one reader. libFuzzer ends the process at the end, or at the first finding."""
    import tempfile

    import atheris

    with atheris.instrument_imports(include=["issbench"]):
        from readers import READERS, attempt

    reader = READERS[name]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as corpus:
        reader.prepare(Path(folder))
        for number, content in enumerate(reader.seeds):
            (Path(corpus) / str(number)).write_bytes(content)
        prefix = f"-artifact_prefix={findings}/{name.replace(' ', '-')}-"
        options = [f"-max_total_time={round(60 * minutes)}", f"-seed={seed}", prefix, "-rss_limit_mb=6000"]
        atheris.Setup([sys.argv[0], *options, corpus], lambda content: _once(attempt, reader, folder, content))
        atheris.Fuzz()
    return 0


def _once(attempt, reader, folder: str, content: bytes) -> None:  # type: ignore[no-untyped-def]
    attempt(reader, Path(folder), content)


if __name__ == "__main__":
    sys.exit(main())
