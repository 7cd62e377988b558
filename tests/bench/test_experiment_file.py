"""Experiments as files: what `--save-as` writes, `bench run FILE.toml` carries out. A mistake in one is told with
the file, the key and the remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from commands import bench
from hypothesis import given, settings
from hypothesis import strategies as st
from small_folder import RECIPE, small_folder

from issbench import Experiment
from issbench.bench.experiment_file import ExperimentFile, read_experiments
from issbench.bench.sweep import Sweep, grid, union
from issbench.errors import UserError

GOOD = 'methods = ["ft", "plop"]\nscenarios = ["shapes_4-1"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "asked.toml"
    path.write_text(text)
    return path


def test_a_file_says_what_options_say(tmp_path: Path) -> None:
    text = GOOD + 'seeds = [0, 1]\norders = ["random:1"]\nimages = 0.5\nprotocol = "mib"\n[recipe]\nepochs = 3\n'
    common = {"order": "random:1", "images": 0.5, "protocol": "mib", "recipe": {"epochs": 3}}
    found = read_experiments(written(tmp_path, text))
    assert found == [Experiment(m, "shapes_4-1", seed=s, **common) for s in (0, 1) for m in ("ft", "plop")]
    assert read_experiments(written(tmp_path, text), Path("elsewhere"))[0].data == "elsewhere"


SWEEPS = (
    Sweep(
        methods=("gsc:sg=off", "ft"), scenarios=("shapes_4-1",), orders=("natural", "random:1"), seeds=(3,),
        axes=(grid("gsc:lambda1=1,0.25"),),
    ),
    Sweep(methods=("mib",), scenarios=("shapes_2-2", "voc_15-1"), settings=("disjoint",)),
)  # fmt: skip
COMMON = {
    "classes": (), "data": 'a "quoted" \\ näme\x7f', "allow_leak": True, "metrics": ("boundary-iou",),
    "images": "0.3:7", "protocol": None, "recipe": {"epochs": "3", "weight_decay": "0", "weights": "none"},
}  # fmt: skip


@pytest.mark.parametrize("sweeps", [SWEEPS[:1], SWEEPS[1:], SWEEPS])
def test_what_is_written_asks_for_the_same(tmp_path: Path, sweeps: tuple[Sweep, ...]) -> None:
    text = ExperimentFile(sweeps, COMMON).text()
    assert read_experiments(written(tmp_path, text)) == union(sweeps, **COMMON)
    assert tomllib.loads(text)["recipe"] == {"epochs": 3, "weight_decay": 0.0, "weights": "none"}


def test_the_file_of_an_order_is_written_out(tmp_path: Path) -> None:
    order = tmp_path / "order.txt"
    order.write_text("2 1 3 4 5 6 7 8")
    asked = ExperimentFile((Sweep(methods=("ft",), scenarios=("shapes_4-1",), orders=(str(order),)),), {})
    assert tomllib.loads(asked.text())["orders"] == ["2,1,3,4,5,6,7,8"]


def test_run_and_sweep_write_files_that_ask_for_the_same_runs(tmp_path: Path) -> None:
    small = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    place = ["--data", small_folder(tmp_path / "small"), "--out", tmp_path / "store", "--workers", "0"]
    file = tmp_path / "asked.toml"
    said = bench("run", "--methods", "ft", "--scenario", "folder_2-1", *place, *small, "--save-as", file)
    assert f"wrote {file}" in said
    again = bench("run", file, "--out", tmp_path / "store")
    assert "1  all done" in again and "FT" in again
    grids = ["--grid", "mib:distillation=1,5"]
    bench("sweep", "--scenarios", "folder_2-1", *grids, *place, *small, "--dry-run", "--save-as", file)
    assert tomllib.loads(file.read_text())["methods"] == ["mib:distillation=1", "mib:distillation=5"]
    assert "runs          2  0 done, 2 to do" in bench("run", file, "--out", tmp_path / "store", "--dry-run")


def test_a_file_that_bench_did_not_write_stays(tmp_path: Path) -> None:
    file = written(tmp_path, "# mine\n")
    asked = ["run", "--methods", "ft", "--scenario", "shapes_4-4", "--save-as", file, "--out", tmp_path / "store"]
    said = bench(*asked, code=2)
    assert str(file) in said and "another --save-as" in said and "--force" not in said
    assert file.read_text() == "# mine\n" and not (tmp_path / "store").exists()
    nowhere = tmp_path / "nowhere" / "asked.toml"
    assert f"--save-as {nowhere}" in bench(*asked[:-3], nowhere, "--out", tmp_path / "store", code=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("methods = [", ["experiment file", "not a valid TOML"]),
        (GOOD + "method = 1", ["unknown key 'method'", "did you mean methods"]),
        ('scenarios = ["shapes_4-1"]', ["methods is missing", 'methods = ["ft", "plop"]']),
        ('methods = ["ft"]', ["scenarios is missing"]),
        ('methods = "ft"\nscenarios = ["shapes_4-1"]', ["methods is not a list", 'methods = ["ft", "plop"]']),
        ('methods = []\nscenarios = ["shapes_4-1"]', ["methods is empty"]),
        ('methods = ["plob"]\nscenarios = ["shapes_4-1"]', ["methods: ", "plob", "did you mean plop"]),
        ('methods = ["ft"]\nscenarios = ["shaped_4-1"]', ["scenarios: ", "shaped", "did you mean shapes"]),
        (GOOD + 'settings = ["overlaped"]', ["settings: ", "overlaped", "overlapped"]),
        (GOOD + 'seeds = ["0"]', ["seeds[0] is '0', not a whole number", "seeds = [0, 1, 2]"]),
        (GOOD + "seeds = [-1]", ["seeds: ", "-1"]),
        (GOOD + "images = true", ["images is True"]),
        (GOOD + "images = 2", ["images: ", "2"]),
        (GOOD + 'protocol = "plob"', ["protocol: ", "plop"]),
        (GOOD + 'data = ""', ["data is empty", 'data = "DATA"']),
        (GOOD + "allow-leak = 1", ["allow-leak is 1, not true or false"]),
        (GOOD + "[recipe]\nepoch = 3", ["recipe: ", "epoch", "epochs"]),
        (GOOD + "[recipe]\nepochs = [3]", ["recipe: ", "epochs"]),
        (GOOD + 'recipe = "released:mib"', ["recipe is not a table", "[recipe]"]),
        (GOOD + '[[sweeps]]\nmethods = ["ft"]', ["methods stands beside [[sweeps]]"]),
        ("sweeps = []", ["sweeps is empty"]),
        ("sweeps = [1]", ["sweeps[0] is 1, not a table"]),
        ('[[sweeps]]\nmethods = ["ft"]', ["sweeps[0]: scenarios is missing"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_key_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    file = written(tmp_path, text)
    said = bench("run", file, "--out", tmp_path / "store", "--dry-run", code=2)
    assert str(file) in said and len(said.splitlines()) == 1
    assert all(word in said for word in words), said


def test_options_that_the_file_says_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    for words in (["--methods", "ft"], ["--seeds", "1"], ["--set", "epochs=1"], ["--save-as", tmp_path / "b.toml"]):
        assert f"{words[0]}: the file of experiments says that" in bench("run", file, *words, code=2)
    assert "--verify repeats records" in bench("run", file, "--verify", code=2)
    assert "either in one command" in bench("run", file, tmp_path / "run.json", code=2)
    assert "nowhere.toml cannot be read" in bench("run", tmp_path / "nowhere.toml", code=2)


VALUES = st.recursive(
    st.text(max_size=8) | st.integers() | st.floats() | st.booleans() | st.sampled_from(["ft", "shapes_4-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["methods", "scenarios", "settings", "orders", "seeds", "images", "recipe", "sweeps", "data", "metrics"]
)


@settings(max_examples=100, deadline=None)
@given(facts=st.dictionaries(KEYS, VALUES, max_size=6))
def test_whatever_a_file_holds_is_an_experiment_or_a_mistake(facts: dict[str, object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("issbench.bench.experiment_file.read_toml", lambda *_: facts)
        try:
            found = read_experiments(Path("any.toml"))
        except UserError as error:
            assert "any.toml" in str(error)
        else:
            assert all(isinstance(each, Experiment) for each in found)
