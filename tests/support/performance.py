"""What `bench speed` measured, kept in docs/performance/*.json, and written from there into docs/performance.md.

python tests/support/performance.py measure DATA    # an hour on an idle machine; DATA: a VOC directory
python tests/support/performance.py                 # the page
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from issbench.bench.commands.support.speed_tables import table_of
from issbench.bench.speed.measured import load
from issbench.results.render import render

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECORDS, PAGE = DOCS / "performance", DOCS / "performance.md"
_BEGIN, _END = "<!-- {}: python tests/support/performance.py -->\n", "<!-- end -->\n"
_METHODS = "ft,lwf,ilt,mib,ewc,plop,sdr,rcil,gsc"
_SPEED = {
    "step": ("step", "--methods", _METHODS, "--rounds", "5"),
    "step-151": (
        "step", "--methods", _METHODS, "--backbone", "tiny", "--classes", "151", "--new", "50", "--rounds", "7"
    ),
    "engine": ("engine", "--methods", "ft,plop,gsc", "--rounds", "3", "--workers", "1"),
    "loader": ("loader", "--dataset", "voc", "--for", "90"),
    "suite": ("suite", "--rounds", "2"),
    "start": ("start", "--rounds", "5"),
}  # fmt: skip
QUICK_START = "run --methods ft,mib,plop,gsc,joint --scenario shapes_4-1"
"""The README's first command."""


def sections() -> Iterator[tuple[str, str]]:
    """The name of each table of the page, and the table."""
    for name in _SPEED:
        path = RECORDS / f"{name}.json"
        if path.exists():
            found = load(path)
            where = f"{found.machine['cpu']}, {found.machine['cores']} cores, {found.when}"
            yield name, f"{where}: `{' '.join(found.command)}`\n\n{render([table_of(found)], 'markdown')}\n"
    if (RECORDS / "quick-start.json").exists():
        yield "quick-start", _quick_start(json.loads((RECORDS / "quick-start.json").read_text(encoding="utf-8")))


def _quick_start(found: dict[str, list[float]]) -> str:
    rows = [f"| `{command}` | {median(times):.0f} s |" for command, times in found.items()]
    return "\n".join(["| command | took |", "|---|---|", *rows]) + "\n"


def section_of(page: str, name: str) -> str:
    """The table of this name that stands in a page."""
    return page.partition(_BEGIN.format(name))[2].partition(_END)[0]


def measure(data: str, names: list[str]) -> None:
    """Measure the parts of these names, by default all, and keep the times."""
    RECORDS.mkdir(exist_ok=True)
    for name in names or [*_SPEED, "quick-start"]:
        print(name, flush=True)
        if name == "quick-start":
            _time_quick_start()
            continue
        more = ("--data", data) if name == "loader" else ()
        words = (*_SPEED[name], *more, "--json", str(RECORDS / f"{name}.json"))
        subprocess.run([sys.executable, "-m", "issbench", "speed", *words], check=True)
        _without_places(RECORDS / f"{name}.json", data)


def _without_places(path: Path, data: str) -> None:
    """Where things lie on this machine is nobody's business."""
    found = json.loads(path.read_text(encoding="utf-8"))
    words = ["DATA" if word == data else word for word in found["command"]]
    found["command"] = words[: words.index("--json")]
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _time_quick_start() -> None:
    """The README's first command, runs beside each other as by default, and the same command when all is done."""
    store = tempfile.mkdtemp()
    times: dict[str, list[float]] = {}
    for what in (f"bench {QUICK_START}", "the same again"):
        before = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "issbench", *QUICK_START.split(), "--out", f"{store}/runs"], check=True
        )
        times[what] = [time.perf_counter() - before]
    shutil.rmtree(store)
    (RECORDS / "quick-start.json").write_text(json.dumps(times, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Write the page."""
    page = PAGE.read_text(encoding="utf-8")
    for name, table in sections():
        begin = _BEGIN.format(name)
        before, found, rest = page.partition(begin)
        assert found, f"{PAGE} has no place for {name}"
        page = before + begin + table + _END + rest.partition(_END)[2]
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2], sys.argv[3:])
    main()
