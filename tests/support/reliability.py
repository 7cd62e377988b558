"""What long tests measured: kept in docs/reliability.json, and written from there into docs/reliability.md.

ISSBENCH_KEEP=1 pytest -n 0 -m long && python tests/support/reliability.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECORD, PAGE = DOCS / "reliability.json", DOCS / "reliability.md"
_BEGIN, _END = "<!-- figures: python tests/support/reliability.py -->\n", "<!-- end of figures -->\n"
_COUNTED = {
    "bad commands, options, text, records, TOML and CSV": ("tests/bench/test_bad_input.py",),
    "bad images, masks and lists": ("tests/scenarios/test_bad_images.py", "tests/scenarios/test_bad_lists.py"),
    "hostile and damaged archives": ("tests/scenarios/test_archives.py",),
}
"""Tables of cases, which are counted: a case is a test."""


def keep(what: str, tried: int, lost: int, command: str, seconds: float) -> None:
    """Keep the figures of a long test, if ISSBENCH_KEEP is set: so many faults were tried, so many times something
    was lost, wrong, or ended in a traceback."""
    if os.environ.get("ISSBENCH_KEEP"):
        _save(_kept() | {what: {"tried": tried, "lost": lost, "command": command, "seconds": round(seconds)}})


def figures() -> str:
    """The table of what is kept."""
    rows = [
        f"| {what} | {row['tried']:,} | {row['lost']} | {_time(row['seconds'])} | `{row['command']}` |"
        for what, row in _kept().items()
    ]
    return "\n".join(["| fault | tried | lost or wrong | took | command |", "|---|---|---|---|---|", *rows]) + "\n"


def figures_of(page: str) -> str:
    """The table that stands in a page."""
    return page.partition(_BEGIN)[2].partition(_END)[0]


def _time(seconds: int | None) -> str:
    return "–" if seconds is None else f"{seconds} s" if seconds < 60 else f"{round(seconds / 60)} min"


def _kept() -> dict[str, dict[str, int | str | None]]:
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def _save(kept: dict[str, dict[str, int | str | None]]) -> None:
    RECORD.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _count(files: tuple[str, ...]) -> int:
    """The tests in some files, which `pytest` runs: it fails where one of them does."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "--collect-only", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=DOCS.parent)
    return sum("::" in line for line in done.stdout.splitlines())


def main() -> None:
    """Count the tables of cases, and write the page."""
    for what, files in _COUNTED.items():
        row = {"tried": _count(files), "lost": 0, "command": f"pytest {' '.join(files)}", "seconds": None}
        _save(_kept() | {what: row})
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.partition(_BEGIN)[0], page.partition(_END)[2]
    PAGE.write_text(before + _BEGIN + figures() + _END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
