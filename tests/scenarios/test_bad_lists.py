"""Lists of samples and classes as other programs write them: read right, or refused before any training."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_files import IDS, NAMES, labels, small_set, write_list, write_masks
from commands import command
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some
from PIL import Image
from small_folder import RECIPE

from issbench import Experiment, run
from issbench.results.runs import load_runs
from issbench.results.show import run_summary
from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.lists import read_ids
from issbench.scenarios.errors import DataError

RUN = ["--methods", "ft", "--backbone", "tiny", "--weights", "none", "--dry-run", "--workers", "0"]
SETTINGS = ["--set", "epochs=1", "--set", "crop=16", "--set", "batch=2"]
Change = Callable[[Path], object]
TRAIN, TEST = IDS[:7], IDS[7:]


def train(form: str = "{}\n", encoding: str = "utf-8", names: tuple[str, ...] = TRAIN, more: str = "") -> Change:
    return lambda root: write_list(root, "train", names, form, encoding, more)


def classes(content: bytes) -> Change:
    return lambda root: (root / "classes.txt").write_bytes(content)


def without(label: int, ids: tuple[str, ...]) -> Change:
    """No mask of some images holds a class."""
    return lambda root: write_masks(root, lambda m: np.where(m == label, 0, m).astype(np.uint8), ids)


def copied(root: Path) -> None:
    (root / "images/s8.png").write_bytes((root / "images/s1.png").read_bytes())


GOOD: dict[str, Change] = {
    "a byte order mark": train(encoding="utf-8-sig"),
    "UTF-16": train(encoding="utf-16"),
    "CRLF": train("{}\r\n"),
    "CR alone": train("{}\r"),
    "UTF-16 and CRLF": train("{}\r\n", "utf-16"),
    "blanks around": train("  {} \t\n"),
    "empty lines": train("\n{}\n\n"),
    "no end of the last line": lambda root: (root / "train.txt").write_text("\n".join(TRAIN)),
    "extensions": train("{}.png\n"),
    "other extensions": train("{}.JPG\n"),
    "paths": train("images/{}.png\n"),
    "paths from the root": train("/data/set/images/{}.png\n"),
    "backslashes": train("images\\{}.png\r\n"),
    "pairs": train("images/{0}.png masks/{0}.png\n"),
    "pairs with backslashes": train("images\\{0}.jpg  masks\\{0}.png\r\n"),
    "classes with a byte order mark": classes("\ufeffbackground\r\none\r\ntwo\r\nthree\r\n".encode()),
    "classes in UTF-16": classes("background\none\ntwo\nthree\n".encode("utf-16")),
    "classes with empty lines": classes(b"background\n\none\n two \n\nthree\n\n"),
}
BAD: dict[str, tuple[Change, str]] = {
    "Latin-1": (
        train(names=("größe", *TRAIN[1:]), encoding="latin-1"),
        "cannot be read as text: .*save it as UTF-8",
    ),
    "UTF-16 without its mark": (
        train(encoding="utf-16-le"),
        "holds characters that cannot be seen, first in .*; replace them, or save it as UTF-8",
    ),
    "a picture": (
        lambda root: (root / "images/s0.png").rename(root / "train.txt"),
        "train.txt cannot be read as text",
    ),
    "a folder": (
        lambda root: ((root / "train.txt").unlink(), (root / "train.txt").mkdir()),
        "train.txt cannot be read as text: Is a directory",
    ),
    "pairs of two names": (
        train("images/{0}.png masks/{0}_m.png\n"),
        "pairs images/s0.png with masks/s0_m.png, but",
    ),
    "one twice": (
        train(more="s3\n"),
        "the train split of folder in .* lists 1 sample.* more than once: s3; list each",
    ),
    "all twice": (train("{0}\n{0}\n"), "lists 7 sample.* more than once: s0, s1, s2, s3, s4, …; list each once"),
    "twice in other spellings": (train(more="images/s3.png\n"), "more than once: s3"),
    "one in both": (
        train(more="s8\n"),
        "1 image.* of the train split .* are test images, too: s8; take .*--allow-leak",
    ),
    "all in both": (train(names=IDS), "3 image.*are test images, too: s7, s8, s9; take them out of one split"),
    "a copy under another name": (
        copied,
        r"1 image.* are test images, too: s1 \(a copy of s8\); take .*--allow-leak",
    ),
    "an empty list": (train(names=()), "the train split of folder in .* is empty; it needs at least one image"),
    "blanks alone": (train(names=(), more=" \n\t\n"), "the train split of folder in .* is empty"),
    "an id without files": (train(more="s77\n"), "s77"),
    "many ids without files": (train("x{}\n"), "7 sample.*xs0, xs1, xs2, xs3, xs4, …|xs0.png does not exist"),
    "a comment": (train(more="# the end\n"), "# the end"),
    "ids in quotes": (train('"{}"\n'), '"s0"'),
    "commas": (train("{},1\n"), "s0,1"),
    "another case": (train("S{}\n"), "Ss0"),
    "classes twice": (
        classes(b"background\none\none\ntwo\n"),
        "classes.txt names one more than once; give every class",
    ),
    "no class": (classes(b"background\n"), "classes.txt has 1 names; it needs the background and"),
    "no classes at all": (classes(b""), "classes.txt has 0 names"),
    "classes in Latin-1": (classes("background\nStraße\n".encode("latin-1")), "cannot be read as text: .*UTF-8"),
    "a class too few": (classes(b"background\none\ntwo\n"), "holds 3; folder has the label values 0–2, 255"),
    "classes without background": (classes(b"one\ntwo\nthree\n"), "holds 3; folder has the label values 0–2, 255"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_set(tmp_path / "data")


def check(root: Path) -> tuple[int, str]:
    done = command("data", "check", "folder", "--root", root)
    return done.returncode, done.stdout + done.stderr


def plan(root: Path, *more: str, scenario: str = "folder_2-1") -> tuple[int, str]:
    out = root.parent / "out"
    words = [*RUN, *SETTINGS, "--scenario", scenario, "--data", root, "--out", out]
    done = command("run", *words, *more)
    assert not out.exists()
    return done.returncode, done.stderr if done.returncode else done.stdout


@pytest.mark.parametrize("name", GOOD)
def test_lists_of_other_programs_are_read(name: str, root: Path) -> None:
    GOOD[name](root)
    assert check(root)[0] == plan(root)[0] == 0
    data = load_dataset("folder", root)
    assert data.ids("train") == TRAIN and data.ids("test") == TEST
    assert (data.background, *data.classes) == NAMES


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_before_the_training(name: str, root: Path) -> None:
    change, says = BAD[name]
    change(root)
    for code, text in (check(root), plan(root)):
        assert code == 1, text
        assert re.search(says, text), text
        assert "Traceback" not in text
    assert text.startswith("error: ") and text.count("\n") == 1


def test_classes_without_images(root: Path) -> None:
    without(3, TRAIN)(root)
    code, text = check(root)
    assert code == 0 and "note: no image of the train split of folder" in text and "holds three" in text
    code, text = plan(root)
    assert code == 2 and "no training image of step 1 of folder_2-1 holds three in the train split" in text
    assert "--classes" in text and text.count("\n") == 1
    assert plan(root, "--classes", "one,two", scenario="folder_1-1")[0] == 0
    code, text = plan(root, scenario="folder_1-2")
    assert code == 0
    assert "note: no training image of its step of folder_1-2 holds three: it cannot be" in " ".join(text.split())


def test_a_class_without_test_images_is_noted(root: Path) -> None:
    without(2, TEST)(root)
    code, text = plan(root)
    assert code == 0
    assert "note: no test image of folder_2-1 holds two: there will be no IoU for it" in " ".join(text.split())


def test_a_leak_that_is_allowed_is_recorded(root: Path, tmp_path: Path) -> None:
    train(more="s8\n")(root)
    assert plan(root, "--allow-leak")[0] == 0
    out = tmp_path / "runs"
    with pytest.raises(DataError, match="are test images, too: s8"):
        run(Experiment("ft", "folder_2-1", data=root, recipe=RECIPE), out=out, device="cpu", workers=0)
    run(Experiment("ft", "folder_2-1", data=root, recipe=RECIPE, allow_leak=True), out=out, device="cpu", workers=0)
    (found,) = load_runs(out)
    assert found.record["leaks"] == 1 and found.record["experiment"]["allow_leak"]
    assert ("leak", "1 training images are test images, too") in run_summary(found)
    said = " ".join(command("table", "--out", out).stdout.split())
    assert "Trained on test images (--allow-leak): 1 of the runs" in said


def test_voc_lists_of_other_spellings(tiny_voc: Path) -> None:
    lists = tiny_voc / "ImageSets/Segmentation"
    (lists / "train_aug.txt").rename(lists / "trainaug.txt")
    assert load_dataset("voc", tiny_voc).ids("train") == ("b", "a", "c")
    assert "3 training and 1 test" in command("data", "prepare", "voc", "--root", tiny_voc.parents[1]).stdout
    (lists / "trainaug.txt").unlink()
    done = command("data", "check", "voc", "--root", tiny_voc)
    assert done.returncode == 2 and "lacks ImageSets/Segmentation/train_aug.txt or" in done.stderr


def test_a_name_in_the_other_unicode_form(root: Path) -> None:
    for place in ("images", "masks"):
        (root / place / "s0.png").rename(root / place / (unicodedata.normalize("NFD", "é") + ".png"))
    write_list(root, "train", ("é", *TRAIN[1:]))
    assert plan(root)[0] == 0
    assert np.array_equal(load_dataset("folder", root).label("é"), labels(0))


NAME = some.text(some.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=8).filter(
    lambda name: not {"/", "\\", "\ufeff"} & {*name} and not name.startswith(".")  # hidden files are no images
)


@given(
    names=some.lists(NAME, min_size=1, max_size=6, unique=True),
    encoding=some.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    form=some.sampled_from(["{}\n", "{}\r\n", "  {}\t\n\n", "images/{}.png\n", "a\\b\\{}.jpg\r\n"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_names_in_any_form_are_read(names: list[str], encoding: str, form: str, tmp_path: Path) -> None:
    names = [unicodedata.normalize("NFC", name) for name in names]
    path = tmp_path / "list.txt"
    path.write_bytes("".join(form.format(name) for name in names).encode(encoding))
    assert read_ids(path, known={*names}) == names


@example(content=b"images/\n")
@given(content=some.binary(max_size=60))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_list_or_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    try:
        assert all(name and name.isprintable() for name in read_ids(path))
    except DataError as error:
        assert (str(path) in str(error) and "save it as UTF-8" in str(error)) or "name them alike" in str(error)


def test_images_that_are_listed_but_broken_are_told_for_their_steps_alone(root: Path) -> None:
    """An image that no step reads may be broken, as one that is missing."""
    write_masks(root, lambda m: np.zeros_like(m), ("s0",))
    (root / "images/s0.png").write_bytes(b"")
    assert check(root)[0] == 1
    assert plan(root)[0] == 0
    Image.new("RGB", (12, 10)).save(root / "images/s0.png")
    assert check(root)[0] == 0
