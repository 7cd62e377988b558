"""The report: what is in it, that it needs nothing else, and how it looks and sorts in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_records import ENVIRONMENT, as_imported, write_run
from many_records import METHODS, make_store, numbered_record
from PIL import Image

from issbench.results.record import Record, StepRecord, Training
from issbench.results.report import report
from issbench.results.report.boxes import table_box
from issbench.results.report.cost import cost, cost_table, on_gpu
from issbench.results.report.details import MOST, relative_link, run_details
from issbench.results.report.figures import WHAT, Figures
from issbench.results.report.heat import heat_tables
from issbench.results.report.markup import Html, tag
from issbench.results.report.overview import seed_table
from issbench.results.report.settings import environment_table, recipe_table
from issbench.results.report.words import shared, statistics
from issbench.results.runs import Run, load_runs
from issbench.results.table import MISSING, text_table

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(HTMLParser):
    """Elements with their attributes, in order; raises where an element is not closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))
        if name not in ("meta", "br"):
            self._open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name


def plain(number: int, seed: int | None = None) -> Record:
    """A numbered record whose steps have keys of their own, but for the first, and the scores of its method."""
    record = numbered_record(number)
    e = record["experiment"]
    e["seed"] = e["seed"] if seed is None else seed
    quality = 5 * METHODS.index(e["method"])  # FT, EWC, LwF: 40, 45, 50
    for step in record["steps"]:
        own = f"{e['method']}{e['seed']}" if step["step"] else "first"
        step["key"] = f"{e['scenario']}{e['setting']}{e['order']}{own}{step['step']}"
        score = 40.0 + quality - step["step"] + e["seed"]
        step["metrics"]["groups"]["all"] = step["metrics"]["miou"]["all"] = score
        training_of(step)["seconds"] = 3600.0
    return record


def training_of(step: StepRecord) -> Training:
    assert step["training"] is not None
    return step["training"]


def store(folder: Path, *records: Record) -> list[Run]:
    """A run store of these records, read again."""
    for number, record in enumerate(records):
        write_run(folder, f"run-{number}", record)
    return load_runs(folder)


def some(seeds: int = 2, methods: int = 3) -> list[Record]:
    """Records of some methods on voc_19-1 disjoint, natural order: FT, EWC, LwF."""
    return [plain(method, seed) for method in range(methods) for seed in range(seeds)]


def unfinished(record: Record) -> Record:
    return {**record, "complete": False, "steps": record["steps"][:1], "metrics": {}}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with figures: three methods, two seeds, one run unfinished, two scenarios."""
    folder = tmp_path_factory.mktemp("store")
    records = some()
    records[-1] = unfinished(records[-1])
    other = [plain(12 + method) for method in range(3)]  # voc_15-5
    return report(store(folder, *records, *other), folder, both=True)


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    elements = Page(page).elements
    assert not [name for name, _ in elements if name in ("link", "iframe", "object", "embed", "base", "img")]
    for name, attributes in elements:
        for key in ("src", "href", "xlink:href", "srcset", "data", "action"):
            value = attributes.get(key) or ""
            assert not re.match(r"(https?:)?//", value), (name, value)
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(", page)
    policy = next(a["content"] for n, a in elements if n == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'") and "http" not in policy


def test_parts_headings_and_accessible_names(page: str) -> None:
    elements = Page(page).elements
    parts = [a["id"] for name, a in elements if name == "section"]
    assert parts == ["overview", "tables", "published", "figures", "statistics", "settings", "cost", "runs"]
    assert [name for name, _ in elements].count("h1") == 1
    assert all(a.get("scope") in ("row", "col", "colgroup") for name, a in elements if name == "th")
    tables, captions = ([n for n, _ in elements].count(n) for n in ("table", "caption"))
    assert tables == captions > 10
    pictures = [a for name, a in elements if name == "svg"]
    assert len(pictures) >= 4
    assert all(a["role"] == "img" and a["aria-label"] for a in pictures)
    ids = [a["id"] for _, a in elements if "id" in a]
    assert sorted(ids) == sorted(set(ids))
    assert {a["href"][1:] for _, a in elements if (a.get("href") or "").startswith("#")} <= set(ids)


def test_tables_sort_and_carry_their_numbers(page: str) -> None:
    assert page.count('class="bench sortable') + page.count('class="heat"') == page.count("<table")
    assert '<td data-value="44.5" style="text-decoration:underline">44.5 ± 0.7' in page  # EWC: 44 and 45
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page


def test_unfinished_runs_are_told(page: str) -> None:
    assert "0, 1 (1 of 2 steps)" in page
    assert "run-5: unfinished, 1 of 2 steps done" in page
    assert "run-5 · unfinished, 1 of 2 steps done" in page
    assert "seed 1: unfinished, 1 of 2 steps done; left out." in page


def test_published_numbers_stand_beside_or_are_missing_with_a_reason(page: str, tmp_path: Path) -> None:
    assert "The paper&#x27;s Table" in page and ">difference<" in page
    record = plain(0)
    record["experiment"] |= {"scenario": "shapes_19-1", "dataset": "shapes"}
    runs = store(tmp_path, record)
    text = report(runs, tmp_path, both=True, figures=refusing())
    assert "no run has a scenario and setting of the paper" in text
    assert 'id="published"' not in report(runs, tmp_path, figures=refusing())


def refusing() -> Figures:
    """Figures none of which applies."""

    def refuse(runs: list[Run]) -> None:
        raise ValueError(f"not for {len(runs)} <runs>")

    return Figures(dict.fromkeys(WHAT, refuse))


def test_a_figure_that_does_not_apply_is_left_out_with_the_reason(tmp_path: Path) -> None:
    text = report(store(tmp_path, *some()), tmp_path, figures=refusing())
    assert "No figure “mIoU after each step” of voc_19-1, disjoint: not for 6 &lt;runs&gt;" in text
    assert "<figure>" not in text


def test_text_is_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>&'
    records = some()
    for record in records:
        record["method"]["title"] += evil
        record["protocol"] = evil
        record["class_names"][1] = evil
        record["experiment"]["order"] = evil
        training_of(record["steps"][-1])["environment"] = {**ENVIRONMENT, "versions": {evil: evil}}
    text = report(store(tmp_path, *records), tmp_path)
    assert text.count("<script>") == 1
    assert "alert(" not in text.replace("&lt;script&gt;alert(&quot;1&quot;)", "")
    Page(text)
    assert tag("p", "a & b", title='"') == '<p title="&quot;">a &amp; b</p>'
    assert tag("p", Html("<b>x</b>")) == "<p><b>x</b></p>"


def test_shared_steps_are_counted_once(tmp_path: Path) -> None:
    runs = store(tmp_path, *some())  # 3 methods × 2 seeds × 2 steps of an hour; the first step is shared by all
    together = cost(runs)
    assert (together.steps, together.training, together.gpu) == (7, 7.0, 7.0)
    assert together.peak_bytes == 2**31 and together.devices == ("cuda",)
    table = cost_table(runs)
    assert [row[:6] for row in table.rows[:1]] == [["FT", "2", "3", "3.000", "2.000", "3.000"]]
    assert table.rows[-1][:6] == ["all together", "6", "7", "7.000", "2.000", "7.000"]
    assert "the rows add up to 9.00 h" in table.notes[0]
    (record,) = some(1, 1)
    for step in record["steps"]:
        training_of(step)["processes"] = 4
    assert cost(store(tmp_path / "four", record)).gpu == 8.0  # two steps of an hour on four GPUs
    assert on_gpu("cuda:1") and not on_gpu("cpu")


def test_a_row_of_sums_is_no_row_to_sort(tmp_path: Path) -> None:
    runs = store(tmp_path, *some())
    body, foot = table_box(cost_table(runs)).split("</tbody>")
    assert "all together" in foot and "<tfoot>" in foot and "all together" not in body
    one = table_box(cost_table([run for run in runs if run.spec == "ft"]))
    assert "all together" not in one and "<tfoot>" not in one


def test_classes_and_steps_are_coloured_tables(tmp_path: Path) -> None:
    done, other = some(seeds=1, methods=2)
    for step, iou in zip(done["steps"], ([90.4, None], [12.6, 55.0, 100.0]), strict=True):
        step["metrics"]["iou"], step["counts"] = iou, None
    done["class_names"], done["classes_per_step"] = ["background", "cat", "<dog>"], [1, 1]
    done["group_spans"] = {"named": {"base": (0, 1), "new": (2, 2), "all": (0, 2)}, "printed": {"all": (0, 2)}}
    text = heat_tables(store(tmp_path, done, unfinished(other)))
    first, second = re.findall(r"<table.*?</table>", text)
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", first)
    assert [name for name, _ in rows] == ["background", "cat", "&lt;dog&gt;"]
    assert [re.findall(r"<td[^>]*>(.*?)</td>", cells) for _, cells in rows] == [
        ["90", "13"],
        ["", "55"],
        ["", "100"],
    ]
    assert "color:#000" in rows[0][1] and "color:#fff" in rows[0][1] and 'class="none"' in rows[1][1]
    assert "<caption>FT, seed 0</caption>" in first and "EWC, seed 0, unfinished" in second


def test_of_thousands_of_runs_the_first_are_told_in_detail(tmp_path: Path) -> None:
    (run,) = store(tmp_path, plain(0))
    assert run_details([run] * MOST, tmp_path).count("<details") == MOST
    text = run_details([run] * (MOST + 7), tmp_path)
    assert text.count("<details") == MOST
    assert f"The first {MOST} of {MOST + 7} runs; 7 are left out here" in text and "bench show" in text


def test_reasons_name_the_command_whose_options_they_name(tmp_path: Path) -> None:
    records = [plain(number) for number in range(3)]
    for number, record in enumerate(records):
        record["experiment"]["seed"] = number  # no cell in common
    many = [run for number in range(13) for run in store(tmp_path / str(number), plain(0))]
    for number, run in enumerate(many):
        run.experiment["order"] = f"random:{number}"
    figures = Figures()
    told = figures.draw("critical-difference", store(tmp_path, *records), "x") + figures.draw("steps", many, "x")
    for reason in told.split("No figure")[1:]:
        assert "--" in reason and reason.index("bench figure") < reason.index("--")
    assert told.count("No figure") == 2


def test_imported_runs_have_unknown_costs(tmp_path: Path) -> None:
    runs = store(tmp_path, as_imported(plain(0)))
    row = cost_table(runs).rows[0]
    assert row[2:] == [*[MISSING] * 6, "unknown"]
    assert "1 imported runs: time, memory and device are unknown." in cost_table(runs).notes
    text = report(runs, tmp_path, figures=refusing())
    assert "· imported" in text and "The recipes of 1 imported runs are unknown." in text


def test_seeds_recipes_and_environments(tmp_path: Path) -> None:
    records = [*some(), plain(12)]
    versions = {**ENVIRONMENT["versions"], "torch": "9.9"}
    training_of(records[0]["steps"][1])["environment"] = {**ENVIRONMENT, "versions": versions, "threads": 8}
    assert records[-1]["experiment"]["recipe"] is not None
    records[-1]["experiment"]["recipe"]["lr"] = 0.5
    runs = store(tmp_path, *records)
    seeds = seed_table(runs)
    assert seeds.rows[0] == ["FT", "0, 1", "0"] and seeds.rows[1] == ["EWC", "0, 1", MISSING]
    recipes = recipe_table(runs)
    assert recipes.header == ["setting", "voc_19-1", "voc_15-5"]
    assert ["lr", "0.001", "0.5"] in recipes.rows and ["precision", "fp32", "fp32"] in recipes.rows
    found = environment_table(runs)
    assert found.rows[:2] == [["python", "3.11"], ["torch", "2.6 (8 steps), 9.9 (1 steps)"]]
    assert ["threads", "1 (8 steps), 8 (1 steps)"] in found.rows and ["gpu", "H100"] in found.rows
    assert found.notes == ["Not the same for all steps: torch, threads."]


def test_runs_on_other_data_are_told_apart(tmp_path: Path) -> None:
    other = {**plain(1), "data": "77b1" + "0" * 28, "dataset_content": "77b1" + "0" * 28}
    runs = store(tmp_path, plain(0), other)
    assert [row[1] for row in seed_table(runs).rows] == ["0 (data 3f2a91c4)", "0 (data 77b10000)"]
    assert "<caption>EWC, seed 0, data 77b10000</caption>" in heat_tables(runs)
    text = report(runs, tmp_path, figures=refusing())
    assert "voc_19-1, disjoint, order natural, data 3f2a91c4" in text
    assert "on different data" in statistics({"voc_19-1, disjoint": runs})


def test_statistics_in_words(tmp_path: Path) -> None:
    records = some(seeds=3)
    other = plain(12)  # FT alone on another scenario
    runs = store(tmp_path, *records, other)
    places = {"one": [r for r in runs if r.scenario == "voc_19-1"], "two": runs[-1:]}
    text = statistics({"one": places["one"]})
    assert "3 seeds that all share" in text and "lwf − ewc" in text and "Holm" in text
    assert "Fewer than two methods are finished: nothing to compare." in statistics(places)
    assert {run.spec for run in shared(places)} == {"ft"}


def test_links_lead_from_the_report_to_the_runs(tmp_path: Path) -> None:
    assert relative_link(Path("a/runs/x+y z"), Path("a")) == "runs/x%2By%20z/"
    assert relative_link(Path("runs/x"), Path("pages")) == "../runs/x/"
    runs = store(tmp_path / "store", *some(1, 1))
    text = report(runs, tmp_path, figures=refusing())
    assert 'href="store/runs/run-0/"' in text and 'href="store/runs/run-0/run.json"' in text
    assert str(tmp_path) not in text


def test_notes_stand_below_and_long_ones_fold() -> None:
    table = text_table("t", ["a"], [["1"]], ["short", "First. " + "and so on " * 40])
    assert table_box(table).count("<details") == 0
    assert "<summary>First.</summary>and so on" in table_box(table, fold=True)
    assert "<tfoot" not in table_box(table)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from issbench.bench.commands.report import report as command

    make_store(tmp_path, 2)
    output = tmp_path / "report.html"
    command(output, None, None, False, tmp_path)
    assert "2 runs" in capsys.readouterr().out
    assert output.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(ValueError, match=r"cannot be written.*choose another place"):
        command(tmp_path / "nowhere" / "report.html", None, None, False, tmp_path)
    with pytest.raises(ValueError, match="holds no run of scenario voc_1-1"):
        command(output, "voc_1-1", None, False, tmp_path)


PROBE = """
<script>
const table = document.querySelectorAll('#tables table')[0];
const column = () => Array.from(table.tBodies[0].rows, (row) => row.cells[0].textContent);
const button = (name) =>
  Array.from(table.querySelectorAll('button')).filter((b) => b.textContent === name).at(-1);
const found = { before: column(), width: document.documentElement.scrollWidth, window: window.innerWidth };
button('all').click();
found.down = column();
found.sort = button('all').parentElement.getAttribute('aria-sort');
button('all').click();
found.up = column();
button('method').click();
found.names = column();
const cost = document.querySelector('#cost table');
cost.querySelector('button').click();
found.cost = Array.from(cost.rows, (row) => row.cells[0].textContent).slice(1);
for (const each of document.querySelectorAll('details')) each.open = true;
found.opened = document.documentElement.scrollWidth;
parent.postMessage(JSON.stringify(found), '*');
</script>
"""


# Headless windows are 500 wide at least, a frame has any width; what is found in it comes as a message.
FRAME = """<!DOCTYPE html><body><script>
addEventListener('message', (event) => {{ document.body.textContent = event.data; }});
</script><iframe style="border:0" width="{width}" height="{height}" src="probed.html"></iframe>"""


def browse(folder: Path, *arguments: str) -> str:
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=9000")
    command = [BROWSER, *options, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


@pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome is installed")
@pytest.mark.parametrize("width, height", [(1280, 900), (390, 844)])
def test_in_a_browser(page: str, tmp_path: Path, width: int, height: int) -> None:
    for name, text in {
        "report.html": page,
        "probed.html": page.replace("</body>", f"{PROBE}</body>"),
        "frame.html": FRAME.format(width=width, height=height),
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    picture = tmp_path / "report.png"
    place = (tmp_path / "report.html").as_uri()
    browse(tmp_path, f"--window-size={width},{height}", f"--screenshot={picture}", place)
    with Image.open(picture) as image:
        assert image.size == (width, height)
        assert len(image.convert("RGB").getcolors(2**20) or []) > 20  # not a blank page
    told = browse(tmp_path, "--dump-dom", (tmp_path / "frame.html").as_uri())
    found = json.loads(re.search(r"{.*}", unescape(told))[0])
    assert found["window"] == width
    assert found["width"] <= width and found["opened"] <= width
    assert found["before"] == ["FT", "EWC", "LwF"]
    assert found["sort"] == "descending"
    assert found["down"] == ["LwF", "EWC", "FT"] and found["up"] == ["FT", "EWC", "LwF"]
    assert found["names"] == ["EWC", "FT", "LwF"]
    assert found["cost"] == ["EWC", "FT", "LwF", "all together"]
