"""Images and masks as they come: `bench data check` and `bench run` say before training what is wrong with them,
or they are read right."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_files import HEIGHT, WIDTH, bomb, labels, pixels, png, saved, small_set, turned, write_masks
from commands import command
from PIL import Image

from issbench.scenarios.datasets import load_dataset

RUN = ["--methods", "ft", "--scenario", "folder_2-1", "--backbone", "tiny", "--weights", "none", "--dry-run"]
SETTINGS = ["--set", "epochs=1", "--set", "crop=16", "--set", "batch=2", "--workers", "0"]
Change = Callable[[Path], object]


def image(content: bytes, name: str = "s0.png") -> Change:
    return lambda root: (root / "images" / name).write_bytes(content)


def mask(content: bytes, name: str = "s0.png") -> Change:
    return lambda root: (root / "masks" / name).write_bytes(content)


def masks(change: Callable[[np.ndarray], np.ndarray], **some: object) -> Change:
    return lambda root: write_masks(root, change, **some)


def renamed(place: str, old: str, new: str) -> Change:
    return lambda root: (root / place / old).rename(root / place / new)


def replaced(place: str, name: str, make: Callable[[Path], object]) -> Change:
    def change(root: Path) -> None:
        (root / place / name).unlink()
        make(root / place / name)

    return change


def everywhere(suffix: str) -> Change:
    """All masks are called NAME + suffix."""
    return lambda root: [p.rename(p.with_name(f"{p.stem}{suffix}")) for p in (root / "masks").iterdir()]


RGB, GRAY = Image.fromarray(pixels(0)), Image.fromarray(labels(0))
WHOLE = saved(RGB, "png")
COLOURED = Image.fromarray(np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]], np.uint8)[labels(0)])
DEEP = Image.fromarray((pixels(0)[..., 0] * 200).astype(np.uint16))
LONG = Image.new("RGB", (4000, 2))
FILM = [Image.fromarray(pixels(number)) for number in (0, 50, 60)]
ANOTHER = np.random.default_rng(9).integers(0, 255, (HEIGHT, WIDTH), np.uint8)

BAD: dict[str, tuple[Change, str]] = {
    # images
    "zero bytes": (image(b""), "images/s0.png is not a readable image (an empty file); replace"),
    "text": (image(b"no image"), "images/s0.png is not a readable image (in no known format); replace"),
    "a web page": (image(b"<html>404 not found</html>", "s0.png"), "s0.png is not a readable image"),
    "a PNG cut in the middle": (image(WHOLE[: len(WHOLE) // 2]), "s0.png is not a readable image"),
    "a PNG cut near its end": (image(WHOLE[:-14]), "s0.png is not a readable image"),
    "a PNG's signature alone": (image(WHOLE[:8]), "s0.png is not a readable image"),
    "a PNG with a flipped bit": (
        image(WHOLE[:60] + bytes([WHOLE[60] ^ 1]) + WHOLE[61:]),
        "s0.png is not a readable",
    ),
    "a JPEG cut": (image(saved(RGB, "jpeg")[:-150]), "s0.png is not a readable image"),
    "a TIFF cut": (image(saved(RGB, "tiff")[:200]), "s0.png is not a readable image"),
    "a WebP cut": (image(saved(RGB, "webp", lossless=True)[:-100]), "s0.png is not a readable image"),
    "a BMP cut": (image(saved(RGB, "bmp")[:-100]), "s0.png is not a readable image"),
    "16 bits": (image(saved(DEEP, "png")), "s0.png has mode I;16; save it with 8 bits a channel"),
    "16 bits in a TIFF": (image(saved(DEEP, "tiff")), "s0.png has mode I;16; save it with 8 bits a channel"),
    "floating point": (image(saved(Image.new("F", (WIDTH, HEIGHT)), "tiff")), "has mode F; save it with 8 bits"),
    "32 bits": (image(saved(Image.new("I", (WIDTH, HEIGHT)), "tiff")), "has mode I; save it with 8 bits"),
    "a bomb": (image(bomb()), "s0.png has more than the 178 million pixels that are read; make it smaller"),
    "an animated GIF": (
        image(saved(FILM[0], "gif", save_all=True, append_images=FILM[1:])),
        "s0.png holds 3 pictures; save the one that is meant",
    ),
    "an animated PNG": (image(saved(FILM[0], "png", save_all=True, append_images=FILM[1:])), "holds 3 pictures"),
    "an animated WebP": (image(saved(FILM[0], "webp", save_all=True, append_images=FILM[1:])), "holds 3 pictures"),
    "a TIFF of pages": (image(saved(FILM[0], "tiff", save_all=True, append_images=FILM[1:])), "holds 3 pictures"),
    "a TIFF on its side": (image(turned(pixels(0), 6, "tiff")), "stored lying on its side; save it upright"),
    "a strip": (image(saved(LONG, "png")), "image s0 has 4000×2 pixels; one side may be at most 100 times"),
    "another size": (
        image(saved(RGB.resize((13, 10)), "png")),
        "image s0 has 13×10 pixels, but its label map 12×10",
    ),
    "one pixel": (image(saved(RGB.resize((1, 1)), "png")), "image s0 has 1×1 pixels, but its label map 12×10"),
    "turned, its mask not": (
        image(turned(pixels(0), 6)),
        "has 10×12 pixels as its EXIF data turn it, but its label map 12×10; both must agree, turned alike",
    ),
    "turned in JPEG": (image(turned(pixels(0), 8, "jpeg")), "has 10×12 pixels as its EXIF data turn it"),
    "a link to itself": (
        replaced("images", "s0.png", lambda p: p.symlink_to(p)),
        "symbolic links; see to its rights",
    ),
    "a link to nothing": (
        replaced("images", "s0.png", lambda p: p.symlink_to("nowhere.png")),
        "s0; add the missing files|images/s0.png does not exist",
    ),
    "a folder": (replaced("images", "s0.png", Path.mkdir), "images/s0.png is a folder, where an image is expected"),
    "a pipe": (replaced("images", "s0.png", os.mkfifo), "images/s0.png is not a regular file; put an image"),
    "two of one name": (image(saved(RGB, "jpeg"), "s0.jpg"), "images holds both s0.jpg and s0.png; remove one"),
    "two by case": (image(WHOLE, "s0.PNG"), "images holds both s0.PNG and s0.png; remove one"),
    "a newline in a name": (image(WHOLE, "s\n0.png"), "whose name has control characters, 's\\n0.png'; rename it"),
    "no UTF-8 name": (
        lambda root: (root / "images" / os.fsdecode(b"s\xff.png")).write_bytes(WHOLE),
        "whose name has control characters",
    ),
    "an image missing": (lambda root: (root / "images/s0.png").unlink(), "s0; add the missing files|not exist"),
    "images is a file": (
        lambda root: ((root / "images").rename(root / "old"), (root / "images").write_text("x")),
        "images cannot be listed: Not a directory",
    ),
    # masks
    "a mask of zero bytes": (mask(b""), "masks/s0.png is not a readable image (an empty file); replace the file"),
    "a mask cut": (mask(saved(GRAY, "png")[:60]), "masks/s0.png is not a readable image"),
    "a mask in colours": (
        mask(saved(COLOURED, "png")),
        "masks/s0.png is not an 8-bit single-channel image (it has mode RGB, the colours #000000, ",
    ),
    "a mask in gray RGB": (mask(saved(GRAY.convert("RGB"), "png")), "mode RGB, the colours #000000, "),
    "a mask with alpha": (mask(saved(COLOURED.convert("RGBA"), "png")), "it has mode RGBA, the colours #000000"),
    "a gray mask with alpha": (mask(saved(GRAY.convert("LA"), "png")), "it has mode LA"),
    "a photograph as mask": (mask(saved(Image.fromarray(pixels(3, (40, 40))), "png")), "more than 256 colours"),
    "a JPEG mask": (mask(saved(GRAY, "jpeg")), "masks/s0.png is a JPEG image; JPEG and the like change the values"),
    "a JPEG in a TIFF mask": (mask(saved(GRAY, "tiff", compression="jpeg")), "save the class indices as a gray"),
    "a WebP mask": (mask(saved(GRAY.convert("RGB"), "webp", lossless=True)), "masks/s0.png is a WEBP image"),
    "a BMP mask": (mask(saved(GRAY, "bmp")), "masks/s0.png is a BMP image"),
    "a mask of 16 bits": (mask(png(labels(0).astype(np.uint16) * 1000, 16)), "has 16 bits, and values up to 3000"),
    "a mask of floats": (mask(saved(GRAY.convert("F"), "tiff")), "it has mode F"),
    "an animated mask": (mask(saved(FILM[0], "png", save_all=True, append_images=FILM[1:])), "holds 3 pictures"),
    "a mask turned": (mask(turned(labels(0), 6)), "has 12×10 pixels, but its label map 10×12"),
    "a mask of another size": (mask(saved(GRAY.resize((6, 5), 0), "png")), "its label map 6×5; both must agree"),
    "values that are no class": (
        masks(lambda m: m * 60),
        "holds 60, 120, 180; folder has the label values 0–3, 255",
    ),
    "a 4-bit mask's values stretched": (masks(lambda m: m * 17), "holds 17, 34, 51; folder has the label values"),
    "foreign values in one": (masks(lambda m: m + 1, ids=("s8",)), "masks/s8.png holds 4; folder has the label"),
    "noise": (mask(saved(Image.fromarray(ANOTHER), "png")), "masks/s0.png holds "),
    "0 and 255": (
        masks(lambda m: np.where(m > 0, 255, 0).astype(np.uint8)),
        "hold nothing but 0 and 255, and so no class: 255 means ignore, so write 1, 2 … for the classes",
    ),
    "all 255": (masks(lambda m: np.full_like(m, 255)), "hold nothing but 255, and so no class"),
    "all 0": (masks(lambda m: np.zeros_like(m)), "hold nothing but 0, and so no class: write 1, 2 …"),
    "NAME_mask.png": (everywhere("_mask.png"), "there is 's0_mask.png': rename it to 's0.png'"),
    "NAME-labels.png": (everywhere("-labels.png"), "there is 's0-labels.png': rename it to 's0.png'"),
    "one mask missing": (lambda root: (root / "masks/s3.png").unlink(), "s3; add the missing files|does not exist"),
    "a mask twice": (mask(saved(GRAY, "tiff"), "s0.tif"), "masks holds both s0.png and s0.tif; remove one"),
    "a mask that is a folder": (replaced("masks", "s0.png", Path.mkdir), "masks/s0.png is a folder"),
    "a mask that is a pipe": (replaced("masks", "s0.png", os.mkfifo), "masks/s0.png is not a regular file"),
    "a bomb as mask": (mask(bomb()), "masks/s0.png has more than the 178 million pixels"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_set(tmp_path / "data")


def check_and_run(root: Path, *more: str) -> list[tuple[int, str]]:
    """Exit code and text of `bench data check`, and of `bench run` up to the training."""
    out = root.parent / "out"
    checked = command("data", "check", "folder", "--root", root)
    planned = command("run", *RUN, *SETTINGS, "--data", root, "--out", out, *more)
    assert not out.exists()
    found = [(checked.returncode, checked.stdout + checked.stderr), (planned.returncode, planned.stderr)]
    assert not any("Traceback" in text for _, text in found)
    return found


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_before_the_training(name: str, root: Path) -> None:
    change, says = BAD[name]
    change(root)
    for code, text in check_and_run(root):
        assert code == 1, text
        assert any(words in text for words in says.split("|")), text
    assert text.startswith("error: ") and text.count("\n") == 1  # one message


GOOD: dict[str, Change] = {
    ".PNG": renamed("images", "s0.png", "s0.PNG"),
    ".TIF": replaced("images", "s0.png", lambda p: RGB.save(p.with_suffix(".TIF"), "tiff")),
    ".bmp": replaced("images", "s0.png", lambda p: RGB.save(p.with_suffix(".bmp"))),
    "a mask .PNG": renamed("masks", "s0.png", "s0.PNG"),
    "a mask .tif": replaced("masks", "s0.png", lambda p: GRAY.save(p.with_suffix(".tif"))),
    "a mask of 2 bits": mask(png(labels(0), 2)),
    "a mask of 4 bits": mask(png(labels(0), 4)),
    "a palette of 2 bits": mask(png(labels(0), 2, palette=True)),
    "a palette of 4 bits": mask(png(labels(0), 4, palette=True)),
    "a palette of foreign colours": mask(png(labels(0), 8, palette=True)),
    "16 bits, small values": mask(png(labels(0), 16)),
    "both turned": lambda root: (
        mask(turned(np.rot90(labels(0)), 6))(root),
        image(turned(np.rot90(pixels(0)), 6))(root),
    ),
    "turned, and its mask as it is seen": image(turned(np.rot90(pixels(0), 2), 3)),
    "on its side, and its mask as it is seen": image(turned(np.rot90(pixels(0)), 6)),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_unusual_is_read_right(name: str, root: Path) -> None:
    GOOD[name](root)
    for code, text in check_and_run(root):
        assert code == 0, text
    data = load_dataset("folder", root)
    assert np.array_equal(data.label("s0"), labels(0))
    assert np.array_equal(np.asarray(data.image("s0")), pixels(0))


def test_names_of_any_letters(root: Path, tmp_path: Path) -> None:
    for old, new in (("s0", "#1 100% $x"), ("s1", "größe"), ("s2", "写真"), ("s3", "e\u0301")):
        for place in ("images", "masks"):
            (root / place / f"{old}.png").rename(root / place / f"{new}.png")
    names = ["#1 100% $x", "größe", "写真", "é", "s4"]
    (root / "train.txt").write_text("".join(f"{name}\n" for name in names))
    moved = root.rename(tmp_path / "a set #1, 100% ü")
    assert [code for code, _ in check_and_run(moved)] == [0, 0]
    data = load_dataset("folder", moved)
    assert data.ids("train") == tuple(names)
    assert np.array_equal(data.label("é"), labels(3))


def test_rights_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file that may not be read; tests may run as root, who may read everything."""
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "s0.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    for code, text in check_and_run(root):
        assert code == 1 and "s0.png cannot be read: Permission denied; see to its rights" in text


def test_what_is_transparent_is_white_for_all(root: Path) -> None:
    clear = Image.fromarray(pixels(0)).convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(labels(0) == 1, 0, 255).astype(np.uint8)))
    expected = np.where((labels(0) == 1)[..., None], 255, pixels(0))
    image(saved(clear, "png"))(root)
    data = load_dataset("folder", root)
    assert np.array_equal(np.asarray(data.image("s0")), expected)
    pale = Image.new("P", (WIDTH, HEIGHT))
    pale.putpalette([9, 9, 9] * 256)
    for content in (
        saved(pale, "png", transparency=0),
        saved(Image.new("LA", (WIDTH, HEIGHT)), "png"),
        saved(Image.new("RGB", (WIDTH, HEIGHT)), "png", transparency=(0, 0, 0)),
        saved(Image.new("CMYK", (WIDTH, HEIGHT)), "jpeg"),
    ):
        image(content)(root)
        assert np.asarray(load_dataset("folder", root).image("s0")).min() == 255


def test_turned_images_are_counted_and_mixed_masks_noted(root: Path) -> None:
    image(turned(np.rot90(pixels(0)), 6))(root)
    masks(lambda m: np.where(m == 1, 255, m).astype(np.uint8), ids=("s0", "s1", "s2", "s3", "s7"))(root)
    masks(lambda m: np.full_like(m, 255), ids=("s4",))(root)
    checked = command("data", "check", "folder", "--root", root)
    assert checked.returncode == 0
    assert "note: 1 image(s) are turned as their EXIF data say: s0\n" in checked.stdout
    assert "note: 4 label maps of folder hold one, 6 hold 255 (ignore), and none holds both" in checked.stdout
    assert "hold nothing but 255 (ignore): s4" in checked.stdout


def test_masks_of_ade_that_were_shifted(tree) -> None:
    """1 subtracted from all values, and 0 became 255: each value is valid, each class another."""
    for folder, name, values in (
        ("training", "a", (0, 2, 255)),
        ("training", "b", (4, 7, 2)),
        ("validation", "v", (2, 255)),
    ):
        tree.image(f"images/{folder}/{name}.jpg")
        tree.label(f"annotations/{folder}/{name}.png", values)
    words = ["--methods", "ft", "--scenario", "ade_1-1", "--classes", "building,floor", "--dry-run"]
    for arguments in (
        ["data", "check", "ade", "--root", tree.root],
        ["run", *words, "--data", tree.root, "--out", tree.root / "out"],
    ):
        done = command(*arguments)
        assert done.returncode == 1
        assert "none holds 150: it seems that 1 was subtracted from all values" in done.stdout + done.stderr
    tree.label("annotations/training/b.png", (4, 150))
    assert command("data", "check", "ade", "--root", tree.root).returncode == 0
