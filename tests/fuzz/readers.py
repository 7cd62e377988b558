"""What reads files and words of strangers: each reader with sound inputs, and how it is called with others.

A reader understands its input or refuses it with a UserError. Any other exception is a fault.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_records import one_record
from PIL import Image
from small_folder import small_folder

from issbench.bench.engine.checkpoint import read_checkpoint, write_checkpoint
from issbench.bench.experiment import Experiment, split_methods
from issbench.bench.launching.profile import make_profile
from issbench.bench.launching.submissions import Submission, SubmittedRun, load_submission
from issbench.bench.outcome import read_outcome
from issbench.bench.position import read_position
from issbench.errors import UserError
from issbench.files import sealed, sha256_of, write_arrays, write_sealed
from issbench.results.image_counts import load_image_counts
from issbench.results.make_tables import measured_tables
from issbench.results.plop_csv import read_plop
from issbench.results.runs import Run, load_runs
from issbench.results.show import class_table, run_summary, step_table
from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.images import read_image, read_indices

RUN = "voc_15-1-overlapped-gsc-A-seed0-00000000"


@dataclass(frozen=True)
class Reader:
    """A reader; `read` gets the bytes and a folder to put them into, or a folder that `prepare` made."""

    seeds: Sequence[bytes]
    read: Callable[[Path, bytes], object]
    prepare: Callable[[Path], object] = lambda folder: None


def attempt(reader: Reader, folder: Path, content: bytes) -> str:
    """Read the content: "understood", or the message with which it was refused. Other exceptions pass."""
    try:
        reader.read(folder, content)
    except UserError as error:
        assert str(error).strip(), "an error without a message"
        return str(error)
    return "understood"


def _file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    def call(folder: Path, content: bytes) -> object:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return read(path)

    return call


def _text(read: Callable[[str], object]) -> Callable[[Path, bytes], object]:
    return lambda folder, content: read(content.decode("utf-8", errors="replace"))


def _made(write: Callable[[Path], object]) -> bytes:
    """The bytes of a file that `write` makes."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "file")
        return (Path(folder) / "file").read_bytes()


def _show(run: Run) -> None:
    run_summary(run), step_table(run), class_table(run)


def _read_records(path: Path) -> None:
    runs = load_runs(path.parents[2])
    for run in runs:
        _show(run)
    for kind in ("main", "steps", "forgetting"):
        with suppress(UserError):
            measured_tables(kind, runs)


def _edited_record(folder: Path, content: bytes) -> None:
    """A record of which a stranger changed values, and made the checksum anew. The content has the edits: a place
    among all values of the record, and what is put there, as JSON."""
    record: Any = one_record()
    for line in content.split(b"\n"):
        place, _, text = line.partition(b" ")
        with suppress(ValueError, RecursionError):
            _edit(record, int(place), json.loads(text))
    _file(f"store/runs/{RUN}/run.json", _read_records)(folder, _sealed(record))


def _sealed(record: Any) -> bytes:
    """With the right checksum, and numbers that the suite would not write."""
    body = json.dumps(record | {"key": RUN}, indent=1).encode().removesuffix(b"\n}")
    return body + b',\n "sha256": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def _edit(value: Any, place: int, by: Any) -> None:
    """Replace the value at one of all places in nested values; `remove` removes it."""
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in [*pairs]:
            places.append((node, key))
            collect(child)

    collect(value)
    node, key = places[place % len(places)]
    if by == "remove":
        del node[key]
    else:
        node[key] = by


def _read_counts(folder: Path, content: bytes) -> None:
    record = one_record()
    key, facts = record["steps"][-1]["key"] or "", (record["steps"][-1]["evaluations"] or {})["confusion"]
    path = folder / facts["images"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    write_sealed(path.with_suffix(".json"), {"counts_sha256": sha256_of(path)}, key)
    load_image_counts(Run(folder / "runs" / RUN, record))


def _png(mode: str, values: np.ndarray) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(values.astype(np.uint16)) if mode == "I;16" else Image.fromarray(values).convert(mode)
    image.save(file, "PNG")
    return file.getvalue()


_PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
_PNGS = [_png(mode, _PIXELS) for mode in ("L", "P", "1", "RGB", "RGBA", "LA", "I;16")]
_JPEG = _made(lambda path: Image.fromarray(_PIXELS).convert("RGB").save(path, "JPEG"))
_RECORD = sealed(dict(one_record()), RUN)
_SUBMITTED = SubmittedRun(RUN, "gsc", {"method": "gsc"}, (("key", "evaluation-1"),), None, "7_0")
_SWEEP = Submission("sweep-1", 0.0, "slurm", ("bench",), "/home", {}, {}, (_SUBMITTED,))
_SUBMISSION = sealed({"format": 2} | asdict(_SWEEP), "sweep-1")
_PLOP = b"0,0.9,0.5,0.5,x,0.6333333333\n1,0.9,0.5,0.5,0.1,0.5\n"
_CHECKPOINT = _made(
    lambda path: write_checkpoint(path, "key", {"iteration": 1, "student": {"weight": torch.ones(2)}})
)
_COUNTS = _made(lambda path: write_arrays(path, {"counts": np.ones((2, 3, 21), np.int64)}))
_TOML = b'partition = "gpu"\ngpus = 2\ntime = "1d12h"\nsetup = ["module load x"]\n[extra]\nrequeue = true\n'


def _dataset(path: Path) -> None:
    dataset = load_dataset("folder", path.parent)
    for sample in dataset.ids("train"):
        dataset.label(sample)


def _experiment(**given: str) -> None:
    Experiment(**({"method": "gsc", "scenario": "shapes_4-1"} | given)).describe()  # type: ignore[arg-type]


def _methods(text: str) -> None:
    for method in split_methods(text):
        _experiment(method=method)


READERS: Mapping[str, Reader] = {
    "record": Reader([_RECORD], _file(f"store/runs/{RUN}/run.json", _read_records)),
    "edited record": Reader(
        [b'3 "x"', b"40 null\n7 []", b'90 "remove"', b"25 NaN\n26 1e999", b"60 {}"], _edited_record
    ),
    "counts": Reader([_COUNTS], _read_counts),
    "checkpoint": Reader([_CHECKPOINT], _file("key.checkpoint", lambda path: read_checkpoint(path, "key", 3))),
    "submission": Reader([_SUBMISSION], _file("sweep-1/sweep.json", load_submission)),
    "outcome": Reader([b'{"state": "failed", "reason": "x", "time": 0.0}'], _file("outcome.json", read_outcome)),
    "position": Reader([b'{"step": 1}'], _file("progress.json", lambda path: read_position(path.parent))),
    "TOML": Reader([_TOML], _file("profile.toml", lambda path: make_profile(path, {}))),
    "CSV of PLOP": Reader([_PLOP], _file("plop.csv", lambda path: read_plop(path, (3, 4)))),
    "mask": Reader(_PNGS, _file("mask.png", read_indices)),
    "image": Reader([*_PNGS, _JPEG], _file("image.png", read_image)),
    "list": Reader(
        [b"0\n1\n2\n", b"\xef\xbb\xbf0\r\n1\r\n", "0\n1\n".encode("utf-16"), b"images/0.png masks/0.png\n"],
        _file("train.txt", _dataset),
        lambda folder: (small_folder(folder), (folder / "test.txt").write_text("3\n4\n")),
    ),
    "names of classes": Reader([b"background\nleft\nright\ntop\n"], _file("classes.txt", _dataset), small_folder),
    "methods": Reader([b"gsc:lambda1=0.3,plop+sg", b"rcil+gsc, mib"], _text(_methods)),
    "scenario": Reader([b"shapes_4-1", b"voc_15-5"], _text(lambda text: _experiment(scenario=text))),
    "order": Reader([b"natural", b"B", b"seed7", b"4,3,2,1"], _text(lambda text: _experiment(order=text))),
}
