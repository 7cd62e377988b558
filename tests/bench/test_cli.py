"""The command line as a user meets it: good commands, and one clear message for each mistake."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import bench, command
from PIL import Image
from small_folder import RECIPE, small_folder

RUN = ["run", "--methods", "ft", "--scenario", "shapes_4-4"]
SMALL = ["--set", "first_epochs=1", "--set", "epochs=1", "--set", "crop=32", "--set", "aspp_channels=16"]


def refused(code: int, *arguments: object) -> str:
    """The message of a command that must fail with this exit code."""
    message = bench(*arguments, code=code).strip()
    assert message
    return message


def small_run(tmp_path: Path) -> list[object]:
    """The options of a run of a second."""
    settings = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    data = small_folder(tmp_path / "small")
    return ["--scenario", "folder_2-1", "--data", data, "--out", tmp_path / "store", "--workers", "0", *settings]


def test_run_table_and_show(tmp_path):
    out = ["--out", tmp_path / "store"]
    said = bench("run", "--methods", "ft,mib:distillation=5", *small_run(tmp_path))
    assert "epoch 1/1" in said and "MiB (distillation=5.0)" in said
    assert "protocol plop" in said.lower()
    rows = [*csv.DictReader(bench("table", *out, "--format", "csv").splitlines())]
    assert [row["column"] for row in rows] == ["0-2", "3", "all", "hIoU", "mean over steps"] * 2
    run = next((tmp_path / "store" / "runs").glob("*-mib-*")).name
    shown = bench("show", run[-8:], *out)
    assert "right" in shown and "forgotten" in shown
    compared = bench("compare", "ft", "mib:distillation=5", *out, "--format", "csv")
    assert "95% of images" in compared and " to " in compared
    assert compared.splitlines()[1].split(",")[1:5] == ["folder_2-1", "overlapped", "natural", "0"]


def test_a_mistake_ends_the_process_with_one_message():
    command = [sys.executable, "-m", "issbench", "run", "--methods", "plob", "--scenario", "shapes_4-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--methods", "plob", "--scenario", "shapes_4-1"], ["plob", "did you mean plop"]),
        (["run", "--methods", "gsc:lamda1=1", "--scenario", "shapes_4-1"], ["lamda1", "did you mean lambda1"]),
        (["run", "--methods", "gsc:sg=maybe", "--scenario", "shapes_4-1"], ["on or off"]),
        (["run", "--methods", "gsc:lambda1=much", "--scenario", "shapes_4-1"], ["a number"]),
        (["run", "--methods", "ft", "--scenario", "shape_4-1"], ["did you mean shapes_4-1"]),
        (["run", "--methods", "ft", "--scenario", "shapes_41"], ["BASE-INC"]),
        (["run", "--methods", "ft", "--scenario", "shapes_9-1"], ["starts with 9"]),
        ([*RUN, "--setting", "overlaped"], ["did you mean overlapped"]),
        ([*RUN, "--order", "1,2,3,4,5,6,7,7"], ["is not a permutation", "lacks 8", "repeats 7"]),
        ([*RUN, "--order", "random:x"], ["whole number"]),
        ([*RUN, "--classes", "disk,sqare"], ["did you mean square"]),
        ([*RUN, "--protocol", "plopp"], ["did you mean plop"]),
        ([*RUN, "--set", "epoch=3"], ["epoch", "epochs"]),
        ([*RUN, "--set", "epochs"], ["--set name=value"]),
        ([*RUN, "--set", "epochs=few"], ["a whole number"]),
        ([*RUN, "--seeds", "a"], ["whole number"]),
        ([*RUN, "--backbone", "resnet1o1", "--weights", "none"], ["resnet1o1", "did you mean"]),
        ([*RUN, "--device", "gpu"], ["gpu"]),
        (["run", "--methods", "ft", "--scenario", "voc_15-1"], ["--data"]),
        (
            ["run", "--methods", "ft", "--scenario", "voc_15-1", "--data", "/no/such/place"],
            ["/no/such/place"],
        ),
        (["run", "--scenario", "shapes_4-1"], ["--methods"]),
        (["data", "check", "vok"], ["did you mean voc"]),
        (["table", "--out", "/no/such/store"], ["is not a run store"]),
        (["compare", "gsc", "plop", "--out", "/no/such/store"], ["is not a run store"]),
    ],
)
def test_wrong_command(arguments, words, tmp_path):
    out = [] if "--out" in arguments or arguments[0] == "data" else ["--out", tmp_path / "store"]
    message = refused(2, *arguments, *out)
    for word in words:
        assert word in message


def test_directory_without_the_layout(tmp_path):
    message = refused(2, "run", "--methods", "ft", "--scenario", "voc_15-1", "--data", tmp_path)
    assert "JPEGImages" in message


def run_folder(tmp_path: Path) -> list[object]:
    return [
        "run", "--methods", "ft", "--scenario", "folder_1-1", "--data", tmp_path / "data",
        "--out", tmp_path / "store",
        "--backbone", "tiny", "--weights", "none", "--set", "batch=2", *SMALL,
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    """A user's own data: ten images of two classes."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "classes.txt").write_text("background\nleft\nright\n")
    rng = np.random.default_rng(0)
    for index in range(10):
        mask = np.zeros((40, 50), np.uint8)
        mask[5:20, 5:20], mask[20:35, 25:45] = 1, 2
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(root / "images" / f"{index}.jpg")
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")
    return root


def test_own_images(tmp_path, folder):
    bench(*run_folder(tmp_path))
    bench("data", "check", "folder", "--root", folder)
    stats = bench("data", "stats", "folder_1-1", "--root", folder)
    assert "step 1: 8 training images, 2 test images" in stats


def test_broken_image(tmp_path, folder):
    picture = folder / "images" / "3.jpg"
    picture.write_bytes(picture.read_bytes()[:200])
    message = refused(1, *run_folder(tmp_path))
    (told,) = message.splitlines()
    assert told.startswith("error: ") and str(picture) in told
    assert not list(tmp_path.rglob("run.json"))  # it is told before anything is trained
    checked = command("data", "check", "folder", "--root", folder)
    assert checked.returncode == 1 and str(picture) in checked.stdout


def test_label_out_of_range(tmp_path, folder):
    path = folder / "masks" / "4.png"
    Image.fromarray(np.full((40, 50), 7, np.uint8)).save(path)
    message = refused(1, *run_folder(tmp_path))
    assert str(path) in message and "7" in message and "0–2" in message


def test_step_without_images(tmp_path, folder):
    (folder / "classes.txt").write_text("background\nleft\nright\nnowhere\n")
    message = refused(2, *run_folder(tmp_path))
    assert "step 2" in message and "no training image" in message


def test_order_from_a_file(tmp_path):
    (tmp_path / "order").write_text("3 2 1")
    bench("run", "--methods", "ft", "--order", tmp_path / "order", *small_run(tmp_path))
    shown = bench("show", "folder", "--out", tmp_path / "store")
    assert re.findall(r"^(left|right|top)\b", shown, flags=re.MULTILINE) == ["top", "right", "left"]
