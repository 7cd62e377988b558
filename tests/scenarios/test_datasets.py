"""The datasets: layouts, lists, label values, domains, and messages for wrong requests and broken files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from issbench.scenarios.datasets import dataset_class, dataset_names, load_dataset
from issbench.scenarios.errors import DataError, ScenarioError
from issbench.scenarios.presence import presence

CITIES = (
    "aachen, bremen, darmstadt, erfurt, hanover, krefeld, strasbourg, tubingen, weimar, bochum, cologne, "
    "dusseldorf, hamburg, jena, monchengladbach, stuttgart, ulm, zurich, frankfurt, lindau, munster"
)
NEEDED = {
    "voc": [
        "SegmentationClassAug",
        "ImageSets/Segmentation/train_aug.txt or ImageSets/Segmentation/trainaug.txt",
        "ImageSets/Segmentation/val.txt",
    ],
    "ade": ["images/training", "images/validation", "annotations/training", "annotations/validation"],
    "cityscapes": ["leftImg8bit/train", "leftImg8bit/val", "gtFine/train", "gtFine/val"],
    "camvid": ["train", "trainannot", "test", "testannot"],
    "folder": ["images", "masks", "classes.txt"],
}


def values(dataset, sample: str) -> list[int]:
    return np.unique(dataset.label(sample)).tolist()


# Every dataset


def test_registry() -> None:
    assert dataset_names() == ("voc", "ade", "cityscapes", "camvid", "shapes", "folder")
    assert all(dataset_class(name).name == name for name in dataset_names())
    with pytest.raises(ScenarioError, match=r"unknown dataset 'cityscape'; did you mean cityscapes") as info:
        dataset_class("cityscape")
    assert info.value.exit_code == 2


@pytest.mark.parametrize("name, count", [("voc", 20), ("ade", 150), ("cityscapes", 19), ("camvid", 11)])
def test_classes_are_known_without_data(name: str, count: int) -> None:
    classes = dataset_class(name).classes
    assert len(classes) == len(set(classes)) == count
    assert all(entry and entry == entry.strip() for entry in classes)


def test_places_of_some_classes() -> None:
    assert dataset_class("voc").classes[14] == "person"
    ade = dataset_class("ade").classes
    picked = [ade[i - 1] for i in (1, 13, 50, 51, 100, 101, 128, 150)]
    assert picked == ["wall", "person", "fireplace", "refrigerator", "buffet", "poster", "bicycle", "flag"]


def test_importing_datasets_is_light() -> None:
    code = (
        "import sys, issbench.scenarios.check, issbench.scenarios.prepare\n"
        "from issbench.scenarios.datasets import dataset_class, dataset_names\n"
        "for name in dataset_names(): dataset_class(name)\n"
        "others = ('torch', 'torchvision', *(f'issbench.{room}' for room in ('bench', 'methods', 'results')))\n"
        "print([name for name in others if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NEEDED)
def test_wrong_directory(name: str, tree) -> None:
    with pytest.raises(ScenarioError, match=f"dataset {name} needs --data DIR.*Expected: ") as info:
        load_dataset(name, None)
    assert info.value.exit_code == 2
    with pytest.raises(ScenarioError, match=f"nowhere does not exist; pass --data DIR with the {name} data"):
        load_dataset(name, tree.root / "nowhere")
    with pytest.raises(ScenarioError) as info:
        load_dataset(name, tree.root)
    message = str(info.value)
    assert message.startswith(f"no {name} data in {tree.root}: looked for {', '.join(NEEDED[name])} in ")
    assert "Expected: " in message

    here, *missing = NEEDED[name]
    (tree.root / here).mkdir(parents=True)
    with pytest.raises(ScenarioError) as info:
        load_dataset(name, tree.root)
    assert str(info.value).startswith(f"{tree.root} lacks {', '.join(missing)} ")


# VOC


def test_voc_lists_images_and_labels(tiny_voc: Path) -> None:
    voc = load_dataset("voc", tiny_voc)
    assert voc.ids("train") == ("b", "a", "c")
    assert voc.ids("test") == ("v",)
    assert voc.image("b").mode == "RGB"
    assert voc.image("b").size == (4, 3)
    label = voc.label("b")
    assert (label.dtype, label.shape) == (np.uint8, (3, 4))
    assert label.ravel()[:4].tolist() == [0, 1, 255, 255]
    assert (voc.background, voc.default_setting, voc.domains) == ("background", "overlapped", ())
    with pytest.raises(ScenarioError, match="dataset voc has no domains; use the setting overlapped or disjoint"):
        voc.domain("b")


def test_voc_accepts_the_directories_above(tiny_voc: Path) -> None:
    for root in (tiny_voc, tiny_voc.parent, tiny_voc.parent.parent, str(tiny_voc)):
        assert load_dataset("voc", root).root.resolve() == tiny_voc.resolve()


def test_palette_masks_are_read_as_indices(tiny_voc: Path) -> None:
    path = tiny_voc / "SegmentationClassAug/b.png"
    mask = Image.open(path)
    mask.putpalette([200, 100, 50] * 256)
    mask.save(path)
    assert values(load_dataset("voc", tiny_voc), "b") == [0, 1, 255]


def test_label_out_of_range(tiny_voc: Path, tree) -> None:
    tree.label("VOCdevkit/VOC2012/SegmentationClassAug/a.png", (3, 21, 22, 23, 250))
    with pytest.raises(
        DataError, match=r"a\.png holds 21–23, 250; voc has the label values 0–20, 255: correct"
    ) as info:
        load_dataset("voc", tiny_voc).label("a")
    assert info.value.exit_code == 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_label_of_wrong_mode(mode: str, tiny_voc: Path, tree) -> None:
    tree.image("VOCdevkit/VOC2012/SegmentationClassAug/a.png", mode=mode)
    with pytest.raises(
        DataError, match=r"a\.png is not an 8-bit single-channel image .*; save the class indices as"
    ):
        load_dataset("voc", tiny_voc).label("a")


def test_broken_image_files(tiny_voc: Path) -> None:
    voc = load_dataset("voc", tiny_voc)
    mask, photo = voc.label_path("a"), voc.image_path("a")
    for keep in (45, 20, 3, 0):
        mask.write_bytes(mask.read_bytes()[:keep])
        with pytest.raises(DataError, match=r"a\.png is not a readable image .*; replace the file"):
            voc.label("a")
    photo.write_bytes(photo.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"a\.jpg is not a readable image"):
        voc.image("a")
    photo.unlink()
    with pytest.raises(DataError, match=r"a\.jpg does not exist, although the dataset lists it"):
        voc.image("a")


def test_damage_anywhere_in_a_mask_is_a_data_error_or_harmless(tiny_voc: Path) -> None:
    voc = load_dataset("voc", tiny_voc)
    path = voc.label_path("a")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            voc.label("a")
        except DataError:
            continue


def test_image_of_more_than_8_bits(tiny_voc: Path) -> None:
    Image.new("I;16", (4, 3)).save(tiny_voc / "JPEGImages/a.png")
    (tiny_voc / "JPEGImages/a.png").rename(tiny_voc / "JPEGImages/a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg has mode I;16; save it with 8 bits a channel"):
        load_dataset("voc", tiny_voc).image("a")


def test_list_that_is_no_text(tiny_voc: Path) -> None:
    (tiny_voc / "ImageSets/Segmentation/val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"the list .*val\.txt cannot be read as text"):
        load_dataset("voc", tiny_voc).ids("test")


# ADE20K


def test_ade(tree) -> None:
    for folder, stem in (
        ("training", "ADE_train_2"),
        ("training", "ADE_train_1"),
        ("validation", "ADE_val_1"),
    ):
        tree.image(f"ADEChallengeData2016/images/{folder}/{stem}.jpg", mode="L")
        tree.label(f"ADEChallengeData2016/annotations/{folder}/{stem}.png", (0, 1, 150, 255))
    for root in (tree.root, tree.root / "ADEChallengeData2016"):
        ade = load_dataset("ade", root)
        assert ade.ids("train") == ("training/ADE_train_1", "training/ADE_train_2")
        assert ade.ids("test") == ("validation/ADE_val_1",)
    assert ade.image("training/ADE_train_1").mode == "RGB"
    assert values(ade, "validation/ADE_val_1") == [0, 1, 150, 255]
    assert ade.background == "other"
    tree.label("ADEChallengeData2016/annotations/training/ADE_train_1.png", (151,))
    with pytest.raises(DataError, match=r"ADE_train_1\.png holds 151; ade has the label values 0–150, 255"):
        ade.label("training/ADE_train_1")


# Cityscapes


@pytest.fixture
def tiny_cityscapes(tree) -> Path:
    for stem in (
        "train/zurich/zurich_000000_000001",
        "train/aachen/aachen_000000_000019",
        "val/lindau/lindau_000000_0",
    ):
        tree.image(f"leftImg8bit/{stem}_leftImg8bit.png")
        tree.label(f"gtFine/{stem}_gtFine_labelIds.png", range(34), size=(7, 5))
        tree.label(f"gtFine/{stem}_gtFine_instanceIds.png")
    return tree.root


def test_cityscapes(tiny_cityscapes: Path, tree) -> None:
    city = load_dataset("cityscapes", tiny_cityscapes)
    assert city.ids("train") == ("train/aachen/aachen_000000_000019", "train/zurich/zurich_000000_000001")
    assert city.ids("test") == ("val/lindau/lindau_000000_0",)
    assert city.domain_ids() == city.ids("train") + city.ids("test")
    assert [city.domain(sample) for sample in city.domain_ids()] == ["aachen", "zurich", "lindau"]
    assert ", ".join(city.domains) == CITIES
    assert (city.background, city.default_setting) == (None, "domain")
    mapped = dict(enumerate(city.label("train/aachen/aachen_000000_000019").ravel()[:34].tolist()))
    evaluated = {raw: city.classes[label - 1] for raw, label in mapped.items() if label != 255}
    assert sorted(set(mapped.values())) == [*range(1, 20), 255]
    assert (evaluated[7], evaluated[11], evaluated[24], evaluated[26], evaluated[33]) == (
        "road",
        "building",
        "person",
        "car",
        "bicycle",
    )
    assert [mapped[raw] for raw in (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)] == [255] * 15


def test_cityscapes_reads_licence_plates_as_ignore_and_refuses_unknown_values(tiny_cityscapes: Path, tree) -> None:
    city = load_dataset("cityscapes", tiny_cityscapes)
    tree.label("gtFine/val/lindau/lindau_000000_0_gtFine_labelIds.png", (7, 255))
    assert values(city, "val/lindau/lindau_000000_0") == [1, 255]
    tree.label("gtFine/val/lindau/lindau_000000_0_gtFine_labelIds.png", (7, 34))
    with pytest.raises(DataError, match="holds 34; cityscapes has the label values 0–33, 255"):
        city.label("val/lindau/lindau_000000_0")


def test_cityscapes_lists_labels_without_an_image(tiny_cityscapes: Path, tree) -> None:
    tree.label("gtFine/train/ulm/ulm_1_2_gtFine_labelIds.png")
    city = load_dataset("cityscapes", tiny_cityscapes)
    assert "train/ulm/ulm_1_2" in city.ids("train")
    with pytest.raises(DataError, match=r"ulm_1_2_leftImg8bit\.png does not exist"):
        city.image("train/ulm/ulm_1_2")


# CamVid


def test_camvid(tree) -> None:
    tree.image("CamVid/train/0016E5_1.jpg")
    tree.image("CamVid/train/0001TP_2.png")
    tree.image("CamVid/test/Seq05VD_f1.png")
    tree.image("CamVid/val/0016E5_9.png")
    for name in ("train/0016E5_1", "train/0001TP_2", "test/Seq05VD_f1", "val/0016E5_9"):
        tree.label(f"CamVid/{name.replace('/', 'annot/')}.png", range(12))
    for root in (tree.root, tree.root / "CamVid"):
        camvid = load_dataset("camvid", root)
        assert camvid.ids("train") == ("train/0001TP_2", "train/0016E5_1")
        assert camvid.ids("test") == ("test/Seq05VD_f1",)
    label = camvid.label("train/0016E5_1")
    assert label.ravel().tolist() == [*range(1, 12), 255]
    assert {camvid.image(sample).size for sample in camvid.ids("train")} == {(4, 3)}
    assert camvid.domain("test/Seq05VD_f1") == "Seq05VD"
    assert camvid.domains == ("0001TP", "0006R0", "0016E5")
    assert (camvid.background, camvid.default_setting) == (None, "overlapped")
    tree.label("CamVid/trainannot/0016E5_1.png", (12,))
    with pytest.raises(DataError, match="holds 12; camvid has the label values 0–11"):
        camvid.label("train/0016E5_1")
    tree.image("CamVid/train/0016E5_1.png")
    with pytest.raises(DataError, match=r"holds both 0016E5_1\.jpg and 0016E5_1\.png; remove one"):
        load_dataset("camvid", tree.root).ids("train")


# A folder of the user's own


@pytest.fixture
def own(tree) -> Path:
    tree.text("classes.txt", "nothing", "cat ", "", "garden dog")
    for index, suffix in enumerate(("jpg", "png", "bmp", "jpeg", "png", "webp")):
        tree.image(f"images/i{index}.{suffix}")
        tree.label(f"masks/i{index}.png", (0, 2, 255))
    tree.text("images/.hidden.png")
    tree.text("images/notes.txt")
    return tree.root


def test_folder(own: Path) -> None:
    folder = load_dataset("folder", own)
    assert (folder.background, folder.classes) == ("nothing", ("cat", "garden dog"))
    assert folder.ids("train") == ("i0", "i1", "i2", "i3", "i5")
    assert folder.ids("test") == ("i4",)
    assert {folder.image(sample).size for sample in folder.ids("train")} == {(4, 3)}
    assert values(folder, "i4") == [0, 2, 255]


def test_folder_with_lists(own: Path, tree) -> None:
    tree.text("train.txt", "i5", "i0")
    with pytest.raises(
        ScenarioError, match=r"has train\.txt alone; write both train\.txt and test\.txt, or neither"
    ):
        load_dataset("folder", own)
    tree.text("test.txt", "i3")
    folder = load_dataset("folder", own)
    assert (folder.ids("train"), folder.ids("test")) == (("i5", "i0"), ("i3",))


@pytest.mark.parametrize("lost, what", [("images/i1.png", "image"), ("masks/i1.png", "label")])
def test_folder_with_a_single_file(lost: str, what: str, own: Path) -> None:
    (own / lost).unlink()
    folder = load_dataset("folder", own)
    assert "i1" in folder.ids("train")
    with pytest.raises(
        DataError, match=rf"1 sample\(s\) have no {what} file in the train split of folder in .*: i1"
    ):
        presence(folder, "train").content(folder.ids("train"))


def test_folder_names(own: Path, tree) -> None:
    tree.text("classes.txt", "nothing", "cat", "dog", "cat")
    with pytest.raises(DataError, match=r"classes\.txt names cat more than once; give every class its own name"):
        load_dataset("folder", own)
    tree.text("classes.txt", "nothing")
    with pytest.raises(DataError, match=r"classes\.txt has 1 names; it needs the background and 1–253 classes"):
        load_dataset("folder", own)
    tree.text("classes.txt", *(f"c{i}" for i in range(255)))
    with pytest.raises(DataError, match="has 255 names"):
        load_dataset("folder", own)
    tree.text("classes.txt", *(f"c{i}" for i in range(254)))
    tree.label("masks/i0.png", (253, 255))
    assert values(load_dataset("folder", own), "i0") == [253, 255]
    tree.label("masks/i0.png", (254,))
    with pytest.raises(DataError, match="holds 254; folder has the label values 0–253, 255"):
        load_dataset("folder", own).label("i0")


# Real data


def test_real_voc_subset(data_dir: Path) -> None:
    voc = load_dataset("voc", data_dir)
    train, test = presence(voc, "train"), presence(voc, "test")
    assert (len(train.ids), len(test.ids)) == (3131, 445)
    expected = """
        3127 0 6 14 5 44 1 67 1000 105 262 19 1177 444 6 588 59 299 90 1 38
        441 0 1 1 0 3 1 5 119 16 71 4 128 79 3 89 6 57 18 0 4
    """
    counts = [*train.table.sum(0), *test.table.sum(0)]
    assert counts == [int(count) for count in expected.split()]
    assert voc.image(train.ids[0]).size == voc.label(train.ids[0]).shape[::-1]


def test_real_camvid(data_dir: Path) -> None:
    camvid = load_dataset("camvid", data_dir)
    train, test = presence(camvid, "train"), presence(camvid, "test")
    assert (len(train.ids), len(test.ids)) == (367, 233)
    assert train.table.sum(0).tolist() == [0, 366, 365, 366, 367, 349, 319, 351, 173, 360, 317, 201]
    assert test.table.sum(0).tolist() == [0, 232, 233, 232, 233, 233, 228, 226, 90, 223, 222, 77]
    count = {domain: [0, 0] for domain in (*camvid.domains, "Seq05VD")}
    for split, ids in enumerate((train.ids, test.ids)):
        for sample in ids:
            count[camvid.domain(sample)][split] += 1
    assert count == {"0001TP": [62, 62], "0006R0": [101, 0], "0016E5": [204, 0], "Seq05VD": [0, 171]}
    assert camvid.image(test.ids[0]).size == (480, 360)


def test_all_voc_masks(voc_aug_root: Path, data_dir: Path) -> None:
    voc = load_dataset("voc", voc_aug_root)
    found = [presence(voc, split) for split in ("train", "test")]
    assert [len(part.ids) for part in found] == [10582, 1449]
    with np.load(data_dir / "voc_aug_labels/presence.npz") as stored:
        expected = dict(zip(stored["ids"].tolist(), stored["present"], strict=True))
    for part in found:
        assert np.array_equal(part.table, [expected[sample] for sample in part.ids])
