"""Class orders: the paper's five, literal ones, files and seeds, and messages for what is not a permutation."""

from __future__ import annotations

from pathlib import Path

import pytest

from issbench.scenarios.datasets import dataset_class
from issbench.scenarios.errors import ScenarioError
from issbench.scenarios.orders import NATURAL, canonical_order, resolve_order

# Table VI of the paper, step by step, with the background as the paper prints it.
PAPER = {
    "A": [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [16], [17], [18], [19], [20]],
    "B": [[0, 12, 9, 20, 7, 15, 8, 14, 16, 5, 19, 4, 1, 13, 2, 11], [17], [3], [6], [18], [10]],
    "C": [[0, 13, 19, 15, 17, 9, 8, 5, 20, 4, 3, 10, 11, 18, 16, 7], [12], [14], [6], [1], [2]],
    "D": [[0, 15, 3, 2, 12, 14, 18, 20, 16, 11, 1, 19, 8, 10, 7, 17], [6], [5], [13], [9], [4]],
    "E": [[0, 7, 5, 3, 9, 13, 12, 14, 19, 10, 2, 1, 4, 16, 8, 17], [15], [18], [6], [11], [20]],
}
VOC = tuple(range(1, 21))


def order_of(order: object, dataset: str = "voc") -> tuple[int, ...]:
    """An order of all classes of a dataset."""
    names = {name: label for label, name in enumerate(dataset_class(dataset).classes, 1)}
    return resolve_order(str(order), dataset_class(dataset).orders, tuple(names.values()), names)


def order_of_domains(order: object) -> tuple[int, ...]:
    """An order of the cities."""
    names = {name: index for index, name in enumerate(dataset_class("cityscapes").domains)}
    return resolve_order(str(order), dataset_class("cityscapes").orders, tuple(names.values()), names)


def refused(order: object, dataset: str = "voc") -> str:
    """The message of the error, which must end the command line with exit code 2."""
    with pytest.raises(ScenarioError) as info:
        order_of(order, dataset)
    assert info.value.exit_code == 2
    return str(info.value)


@pytest.mark.parametrize("name", PAPER)
def test_orders_of_the_paper(name: str) -> None:
    expected = tuple(label for step in PAPER[name] for label in step)
    assert (0, *order_of(name)) == expected
    assert order_of(PAPER[name]) == expected[1:]  # as printed in the paper, brackets and background included


def test_natural() -> None:
    assert order_of(NATURAL) == VOC
    assert order_of(NATURAL, "ade") == tuple(range(1, 151))
    assert order_of_domains(NATURAL) == tuple(range(21))
    assert resolve_order(NATURAL, {}, (12, 8), {"cat": 8, "dog": 12}) == (12, 8)


def test_literal_orders() -> None:
    backwards = tuple(reversed(VOC))
    for separator in (",", " ", ", ", ";", "\n"):
        text = separator.join(map(str, backwards))
        assert order_of(text) == backwards
        assert order_of("0" + separator + text) == backwards
    assert order_of(list(backwards)) == order_of(backwards) == backwards


def test_long_literal_orders() -> None:
    """Longer than a file name may be."""
    backwards = tuple(range(150, 0, -1))
    assert order_of(",".join(map(str, backwards)), "ade") == backwards
    assert "it lacks 1;" in refused(",".join(map(str, backwards)).removesuffix(",1") + ",151", "ade")


@pytest.mark.parametrize("dataset", ["voc", "ade", "camvid", "shapes"])
def test_orders_by_name(dataset: str) -> None:
    classes = dataset_class(dataset).classes
    backwards = tuple(range(len(classes), 0, -1))
    for separator in (",", ", ", "\n"):
        assert order_of(separator.join(reversed(classes)), dataset) == backwards
    mixed = [name if label % 2 else str(label) for label, name in enumerate(classes, 1)]
    assert order_of(", ".join(reversed(mixed)), dataset) == backwards


def test_names_separated_by_spaces() -> None:
    assert order_of(" ".join(reversed(dataset_class("voc").classes))) == tuple(reversed(VOC))


def test_orders_of_domains() -> None:
    cities = dataset_class("cityscapes").domains
    backwards = tuple(range(20, -1, -1))
    assert order_of_domains(",".join(reversed(cities))) == backwards
    assert order_of_domains(",".join(map(str, backwards))) == backwards
    # 0 is the first city here, not a background to be skipped
    assert order_of_domains(",".join(map(str, range(21)))) == tuple(range(21))
    with pytest.raises(ScenarioError, match=r"it lacks 0$"):
        order_of_domains(",".join(map(str, range(1, 21))))


@pytest.mark.parametrize("text", [", ".join(map(str, VOC[::-1])), "\n".join(map(str, (0, *VOC[::-1]))) + "\n"])
def test_order_from_a_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "my order.txt"
    path.write_text(text)
    assert order_of(path) == VOC[::-1]


@pytest.mark.parametrize("text", ["\ufeff{}", "{}\r\n", "\r\n{}\r\n\r\n"])
def test_files_of_other_editors(text: str, tmp_path: Path) -> None:
    path = tmp_path / "order.txt"
    path.write_text(text.format("\r\n".join(map(str, VOC[::-1]))), encoding="utf-8", newline="")
    assert order_of(path) == VOC[::-1]
    assert canonical_order(str(path), "voc", "overlapped", ()) == ",".join(map(str, VOC[::-1]))


def test_wrong_files(tmp_path: Path) -> None:
    path = tmp_path / "order.txt"
    path.write_text("1, 2, 3")
    message = refused(path)
    assert str(path) in message and "it lacks 4, 5, 6, " in message
    path.write_bytes(b"\xff\xfe\x00\x01")
    assert str(path) in refused(path) and "save it as UTF-8" in refused(path)
    path.write_text("1," * 600_000)
    assert f"the order in {path} is longer than 1,000,000 characters" in refused(path)
    path.write_text("\n \n")
    with pytest.raises(ScenarioError, match=r"order\.txt' names no class; write a permutation"):
        canonical_order(str(path), "voc", "overlapped", ())
    assert "nowhere.txt' is neither a number nor a known name" in refused(tmp_path / "nowhere.txt")


def test_random_orders() -> None:
    drawn = [order_of(f"random:{seed}") for seed in range(20)]
    assert drawn == [order_of(f"random:{seed}") for seed in range(20)]
    assert all(sorted(order) == list(VOC) for order in drawn)
    assert len(set(drawn)) == 20
    # Every class comes early in some order and late in another: the whole list is shuffled.
    assert len({order[0] for order in drawn}) > 5 and len({order[-1] for order in drawn}) > 5


def test_random_orders_stay_what_they_are() -> None:
    """A seed names an order in records and papers, so it must mean the same in every version."""
    assert order_of("random:3", "shapes") == (7, 8, 3, 2, 5, 6, 4, 1)


@pytest.mark.parametrize("seed", ["", "x", "-1", "1.5", "²", "1 2"])
def test_bad_seeds(seed: str) -> None:
    assert refused(f"random:{seed}") == f"order 'random:{seed}': the seed must be a whole number, as in random:3"


@pytest.mark.parametrize(
    "items, problem",
    [
        (VOC[:-1], "it lacks 20"),
        (VOC[2:], "it lacks 1, 2"),
        ((*VOC, 7), "it repeats 7"),
        ((*VOC[:-1], 1), "it lacks 20; it repeats 1"),
        ((*VOC, 21), "it has the unknown 21"),
        ((*VOC, 0), "it has the unknown 0"),
        ((0, 0, *VOC), "it has the unknown 0"),
        ((), "it lacks 1, 2, 3, "),
    ],
)
def test_no_permutations(items: tuple[int, ...], problem: str) -> None:
    message = refused(",".join(map(str, items)))
    assert "is not a permutation of the scenario's 20 classes or domains (1–20): " in message
    assert f": {problem}" in message


@pytest.mark.parametrize("word", ["F", "a", "person1", "-1", "1.5", "²"])
def test_unknown_words(word: str) -> None:
    message = refused(",".join(map(str, (*VOC[:-1], word))))
    assert f"{word!r} is neither a number nor a known name; give natural, A, B, C, D, E, random:SEED" in message


def test_orders_of_the_paper_are_for_voc() -> None:
    message = refused("A", "ade")
    assert "'A' is neither a number nor a known name; give natural, random:SEED, a permutation" in message


NAMES = ("bus (small)", "it's", "[x]", "猫", "two words", "wide  gap", "5", "a: b", "{}", '"quoted"')


@pytest.mark.parametrize("separator", [",", ", ", "\n"])
def test_names_with_signs_of_their_own(separator: str) -> None:
    labels = {name: label for label, name in enumerate(NAMES, 1)}
    asked = separator.join(reversed(NAMES))
    for text in (asked, canonical_order(asked, "folder", "overlapped", ())):
        assert resolve_order(text, {}, tuple(labels.values()), labels) == tuple(range(len(NAMES), 0, -1))


def test_a_list_of_python_with_names() -> None:
    labels = {"cat": 1, "bus (small)": 2}
    for text in ("['bus (small)', 'cat']", '("bus (small)", "cat")', "[2, 1]"):
        assert resolve_order(canonical_order(text, "folder", "overlapped", ()), {}, (1, 2), labels) == (2, 1)


@pytest.mark.parametrize("word", ["9" * 5000, "x" * 5000, "1" * 10])
def test_long_words_are_cut_in_the_message(word: str) -> None:
    assert "is neither a number nor a known name" in refused(f"1,2,{word}") and len(refused(f"1,2,{word}")) < 1000
    assert len(refused(f"random:{word}x")) < 400
