"""Wrong commands, one after the other: each ends with its exit code and one message that names the thing and the
remedy, without a traceback, and writes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import command
from made_records import one_record, write_run
from small_folder import small_folder

RUN = "run --methods ft --scenario shapes_4-4 --out STORE"
GSC = "run --scenario shapes_4-4 --out STORE --methods"
SWEEP = "sweep --methods ft --scenarios shapes_4-4 --out STORE"
IMPORT = "import plop FILE --method RCIL --setting overlapped --out STORE"
SCENARIO = "run --methods ft --out STORE --scenario"

CASES = [
    # options of methods
    *((f"{GSC} gsc:lambda1={value}", "lambda1", "finite") for value in ("nan", "inf", "-inf", "1e999")),
    *((f"{GSC} gsc:{name}=-1", name, "0 or more") for name in ("lambda1", "lambda2", "pod", "pod_logits")),
    *((f"{GSC} gsc:temperature={value}", "temperature", "above 0") for value in ("0", "-1", "-0.0")),
    *((f"{GSC} plop:least_threshold={value}", "least_threshold", "from 0 to 1") for value in ("1.5", "-0.1")),
    *((f"{GSC} ewc:alpha={value}", "alpha", "from 0 to 1") for value in ("2", "-1")),
    *(
        (f"{GSC} rw:interval={value}", "interval", "whole number")
        for value in ("0", "-3", "1.5", "1e3", "9999999999")
    ),
    *((f"{GSC} {name}:distillation=-1", "distillation", "0 or more") for name in ("mib", "lwf", "lwf-mc", "rcil")),
    (f"{GSC} pi:penalty=-0.1", "penalty", "0 or more"),
    (f"{GSC} sdr:repulsion=-2", "repulsion", "0 or more"),
    (f"{GSC} gsc:lambda1=", "lambda1", "a number"),
    (f"{GSC} gsc:lambda1=0,3", "'3'"),
    (f"{GSC} gsc:lambda1=.1,lambda1=.2", "lambda1 is given twice", "give it once"),
    (f"{GSC} gsc:sg=off,sg=off", "sg is given twice", "give it once"),
    (f"{GSC} gsc:sg=2", "sg=2", "on or off"),
    (f"{GSC} gsc:=3", "no option ''", "it has"),
    (f"{GSC} plop:thresholds=median", "thresholds=median", "paper, released"),
    (f"{GSC} ft:lambda1=1", "no option 'lambda1'", "no options"),
    (f"{GSC} gsc+gsc", "gsc has pr already", "on or off"),
    (f"{GSC} mib+sg+sg", "sg is there twice"),
    (f"{GSC} sg", "sg is a part", "METHOD+sg"),
    (f"{GSC} joint+sg", "joint"),
    (f"{GSC} ,", "names no method", "bench list methods"),
    (f"{GSC} ''", "--methods is empty", "leave it out"),
    (f"{GSC} 'f\x1bt'", "unknown method", "known"),
    # the recipe
    *((f"{RUN} --set lr={value}", "lr=", "above 0") for value in ("-1", "0")),
    *((f"{RUN} --set {name}=nan", name, "finite") for name in ("lr", "power", "momentum", "scale_max", "first_lr")),
    *((f"{RUN} --set {name}=inf", name, "finite") for name in ("scale_max", "weight_decay")),
    *(
        (f"{RUN} --set {name}=0", name, "whole number")
        for name in ("epochs", "first_epochs", "crop", "aspp_channels")
    ),
    *(
        (f"{RUN} --set batch={value}", f"batch={value}", "whole number")
        for value in ("0", "1", "-2", "2.0", "true")
    ),
    *((f"{RUN} --set momentum={value}", "momentum", "below 1") for value in ("1", "2", "-0.1")),
    (f"{RUN} --set weight_decay=-1", "weight_decay", "0 or more"),
    (f"{RUN} --set optimizer=adam", "optimizer=adam", "sgd, adamw"),
    (f"{RUN} --set warmup=1", "warmup=1", "below 1"),
    (f"{RUN} --set activation=relu", "activation=relu", "own, leaky_relu"),
    (f"{RUN} --recipe released:plob", "released:plob", "did you mean released:plop"),
    (f"{RUN} --set output_stride=12", "output_stride=12", "8, 14, 16, 32"),
    (f"{RUN} --set scale_min=3", "scale_min=3.0 is above scale_max=", "exchange"),
    (f"{RUN} --set precision=fp16", "precision=fp16", "auto, fp32, bf16"),
    (f"{RUN} --set lr=1 --set lr=2", "--set lr is given twice", "give it once"),
    (f"{RUN} --set backbone=tiny --backbone tiny", "backbone is given twice", "give it once"),
    (f"{RUN} --set =1", "unknown recipe setting ''", "settings:"),
    (f"{RUN} --set epochs", "--set epochs", "name=value"),
    (f"{RUN} --set epochs=1e400", "epochs", "whole number"),
    (f"{RUN} --set epochs={'9' * 5000}", "epochs", "whole number"),
    # other numbers
    *((f"{RUN} --workers {value}", "--workers", "bench run --help") for value in ("-1", "1.5", "many", "99999999")),
    *(
        (f"{RUN} --checkpoint-every {value}", "--checkpoint-every", "bench run --help")
        for value in ("nan", "inf", "-1")
    ),
    *(
        (f"{RUN} --seeds {value}", "--seeds", "whole number")
        for value in ("-1", "1.5", "0-3", "a", "9" * 30, "9" * 5000)
    ),
    (f"{RUN} --seeds ,", "names nothing", "with commas between"),
    *((f"{RUN} --jobs={value}", "--jobs=", "or auto") for value in ("0", "-1", "1.5", "many", "9" * 5000)),
    (f"{RUN} --slurm --jobs 2", "--jobs is for processes on this machine", "--max-parallel"),
    (f"{RUN} --gpus 2", "--gpus is for a cluster", "--slurm"),
    (f"{RUN} --slurm --gpus -1", "--gpus -1", "at least 0"),
    (f"{RUN} --slurm --nodes 0", "--nodes 0", "at least 1"),
    *((f"{RUN} --slurm --time {value}", f"--time {value}", "write 8h") for value in ("soon", "0h", "-1h")),
    ("speed --batch 0", "batch=0", "from 2"),
    ("speed --crop 0", "crop=0", "from 1"),
    ("speed --rounds 0", "--rounds", "bench speed --help"),
    ("speed --classes 2", "--classes 2", "raise --classes"),
    ("speed --crop 1000000", "--crop", "bench speed --help"),
    # given twice, empty, unknown
    (f"{RUN} --scenario shapes_2-1", "--scenario is given 2 times", "give it once"),
    (f"{RUN} --out STORE", "--out is given 2 times", "give it once"),
    (f"{RUN} --device cpu --device auto", "--device is given 2 times", "give it once"),
    *(
        (f"{SCENARIO.replace('STORE', place)} shapes_4-4", "FILE is not a folder", "choose another")
        for place in ("FILE", "FILE/a")
    ),
    ("run --methods ft --scenario shapes_4-4 --out ''", "--out is empty", "leave it out"),
    (f"{RUN} --data ' '", "--data is empty", "leave it out"),
    (f"{RUN} --device gpu", "gpu", "cpu"),
    (f"{RUN} --data NOWHERE", "--data NOWHERE", "no such directory"),
    (f"{RUN} --data FILE", "--data FILE", "no such directory"),
    (f"{RUN} --protocol plopp", "plopp", "did you mean plop"),
    (f"{RUN} --metrics boundary", "boundary"),
    (f"{RUN} --tabel I", "--tabel", "bench run --help"),
    ("frobnicate", "frobnicate", "bench --help"),
    (f"{SWEEP} --grid gsc:lambda1=1,2", "gsc is not among the methods", "add it"),
    (f"{SWEEP} --grid gsc:lambda1", "--grid gsc:lambda1", "METHOD:OPTION=VALUE"),
    (f"{SWEEP} --table IX", "--table IX", "the paper's are"),
    (f"{SWEEP} --ablation plop", "--ablation plop", "gsc has them"),
    # scenarios, splits and orders
    *(
        (f"{SCENARIO} {name}", name, "BASE-INC")
        for name in ("voc_0-1", "voc_15-0", "voc_15--1", "voc_15", "voc_1٣-1")
    ),
    (f"{SCENARIO} voc_{'9' * 5000}-1", "BASE-INC"),
    (f"{SCENARIO} shapes_999-1", "starts with 999", "there are 8"),
    (f"{SCENARIO} shapes_8-1", "learns all 8", "shapes_7-1"),
    (f"{SCENARIO} 'shapes_4-4;rm'", "BASE-INC"),
    (f"{SCENARIO} shape_4-4", "did you mean shapes_4-4"),
    (f"{RUN} --setting domains", "did you mean domain"),
    (f"{RUN} --order 1,2,3,4,5,6,7", "it lacks 8", "not a permutation"),
    (f"{RUN} --order 1,2,3,4,5,6,7,7", "it repeats 7", "not a permutation"),
    (f"{RUN} --order 1,2,3,4,5,6,7,9", "the unknown 9", "not a permutation"),
    (f"{RUN} --order 1,2,3,0,4,5,6,7,8", "the unknown 0", "not a permutation"),
    (f"{RUN} --order 1,2,dog", "'dog' is neither a number nor a known name", "permutation"),
    (f"{RUN} --order 1;rm", "neither a number nor a known name", "permutation"),
    (f"{RUN} --order random:-1", "whole number", "random:3"),
    (f"{RUN} --order random:{'9' * 5000}", "whole number", "random:3"),
    (f"{RUN} --order []", "names no class", "3,1,2"),
    (f"{RUN} --order {'9' * 5000}", "neither a number nor a known name", "permutation"),
    (f"{RUN} --classes disk,disk", "names a class twice"),
    (f"{RUN} --classes disk,dog", "dog", "disk"),
    (f"{RUN} --classes ,", "names nothing", "leave the option out"),
    (f"{RUN} --setting domain --classes disk,star", "every step has all"),
    # reading and writing results
    ("table --out NOWHERE", "NOWHERE is not a run store", "--out"),
    ("table --out FILE", "FILE is not a run store", "--out"),
    ("table nonsense --out MADE", "nonsense"),
    ("table --format pdf --out MADE", "--format", "bench table --help"),
    ("table --scenario voc_19-1 --out MADE", "no run of scenario voc_19-1", "bench run"),
    ("table --output MINE.tex --out MADE", "MINE.tex is there", "--force"),
    ("table --format parquet --out MADE", "parquet holds one tidy table", "long"),
    ("table --standalone --out MADE", "--standalone", "--format latex"),
    ("table --format latex --standalone --output a%b.tex --out MADE", "a%b.tex", "letters, digits"),
    ("table --published --both --out MADE", "--published", "give one of them"),
    ("report --output MINE.html --out MADE", "MINE.html is there", "--force"),
    ("report --output NOWHERE/a.html --out MADE", "cannot be written", "choose another place"),
    ("figure steps --output MINE.svg --out MADE", "MINE.svg is there", "--force"),
    ("figure steps --output a.gif --out MADE", "a.gif", ".pdf, .png, .svg"),
    ("figure stepps --output a.pdf --out MADE", "stepps", "did you mean steps"),
    ("figure steps --output a.pdf --out MADE --seed x", "--seed", "bench figure --help"),
    ("figure predictions --output a.pdf --out MADE --count 0", "--count", "bench figure --help"),
    ("show '' --out MADE", "is empty", "leave it out"),
    ("show nothing --out MADE", "no run 'nothing'", "it has"),
    ("compare ft --out MADE", "two methods"),
    ("compare ft nix --out MADE", "nix"),
    ("compare ft gsc --group novel --out MADE", "novel"),
    ("predict NOWHERE FILE --out MADE", "NOWHERE"),
    ("logs nothing --out MADE", "nothing"),
    ("cancel nothing --out MADE", "nothing"),
]

CSV: list[tuple[str | bytes, str, str]] = [
    ("", "is empty", "pass the CSV"),
    ("0,0.5,x\n", "2 values after the step", "--scenario"),
    ("0;0.5;0.5\n", "semicolons", "write commas"),
    ("0;0,5;0,5\n", "semicolons", "write commas"),
    ("step,miou\n", "it begins with 'step'", "--scenario"),
    ("19,0.5\n", "it begins with '19'", "--scenario"),
    ("9" * 5000, "it begins with", "--scenario"),
    ("0," + "nan," * 11 + "x," * 10 + "0.5", "'nan' is not an IoU", "between 0 and 1"),
    ("0," + "50.0," * 11 + "x," * 10 + "50.0", "'50.0' is not an IoU", "between 0 and 1"),
    ("0," + "0.5," * 11 + "x," * 10 + "0.6", "is not the mean", "damaged"),
    ("0,0.5\n".encode("utf-16"), "cannot be read as CSV", "utf-8"),
    (b"\x89PNG\r\n\x1a\n\x00\xff", "cannot be read as CSV", "utf-8"),
]

TOML: list[tuple[str | bytes, str, str]] = [
    ("epochs = 'few'", "epochs=few", "whole number"),
    ("epochs = 3.0", "epochs=3.0", "whole number"),
    ("epochs = true", "epochs=True", "whole number"),
    ("lr = nan", "lr=nan", "finite"),
    ("lr = -inf", "lr=-inf", "finite"),
    ("epochs = [1]", "epochs=[1]", "whole number"),
    ("[epochs]\nfirst = 1", "epochs=", "whole number"),
    ("epoch = 1", "epoch", "did you mean epochs"),
    ("epochs = 1\nepochs = 2", "not a valid TOML file", "overwrite"),
    ("epochs: 1", "not a valid TOML file", "line 1"),
    ("epochs = 0,5", "not a valid TOML file", "line 1"),
    ("a = " + "[" * 100_000, "not a valid TOML file", "recursion"),
    ("epochs = " + "9" * 5000, "not a valid TOML file", "digits"),
    ("epochs = 1".encode("utf-16"), "not a valid TOML file", "utf-8"),
    ("#" * 1_000_001, "longer than 1,000,000", "the right file"),
]


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str], list[str]]:
    """The words of a command line, with places of this test in place of their names."""
    made = tmp_path / "MADE"
    for method in ("ft", "gsc"):
        write_run(made, f"{method}-1", one_record(method))
    for name in ("FILE", "MINE.tex", "MINE.html", "MINE.svg"):
        (tmp_path / name).write_text("mine")

    def words(line: str) -> list[str]:
        return [_placed(word, tmp_path) for word in shlex.split(line)]

    return words


def _placed(word: str, root: Path) -> str:
    first = word.partition("/")[0]
    return str(root / word) if first in ("STORE", "MADE", "NOWHERE", "FILE") or word.startswith("MINE.") else word


def assert_refused(words: list[str], said: tuple[str, ...], root: Path) -> None:
    """The command ends with 2 and one message with these words, and leaves everything as it was."""
    before = contents(root)
    done = command(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1, done.stderr
    plain = done.stderr.replace(f"{root}/", "")
    assert all(part in plain for part in said), plain
    assert "Traceback" not in plain and "\x1b" not in plain
    assert contents(root) == before


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0][:60])
def test_a_wrong_command(case: tuple[str, ...], place: Callable[[str], list[str]], tmp_path: Path) -> None:
    line, *said = case
    assert_refused(place(line), tuple(said), tmp_path)


@pytest.mark.parametrize("case", CSV, ids=lambda case: repr(case[0][:30]))
def test_a_wrong_csv(case: tuple[str | bytes, str, str], place: Callable[[str], list[str]], tmp_path: Path) -> None:
    content, *said = case
    (tmp_path / "FILE").write_bytes(content.encode() if isinstance(content, str) else content)
    assert_refused(place(f"{IMPORT} --scenario voc_10-1"), tuple(said), tmp_path)


@pytest.mark.parametrize("option", ["--recipe", "--slurm-profile"])
@pytest.mark.parametrize("case", TOML, ids=lambda case: repr(case[0][:30]))
def test_a_wrong_toml(
    case: tuple[str | bytes, str, str], option: str, place: Callable[[str], list[str]], tmp_path: Path
) -> None:
    content, *said = case
    (tmp_path / "FILE").write_bytes(content.encode() if isinstance(content, str) else content)
    if option == "--recipe":
        assert_refused(place(f"{RUN} --recipe FILE"), tuple(said), tmp_path)
    else:  # a profile knows none of these settings
        assert_refused(place(f"{RUN} --slurm-profile FILE"), ("FILE",), tmp_path)


def test_a_run_store_among_the_data(tmp_path: Path) -> None:
    data = small_folder(tmp_path / "data")
    (tmp_path / "link").symlink_to(data / "masks")
    where = ["run", "--methods", "ft", "--scenario", "folder_2-1", "--data", str(data), "--dry-run", "--out"]
    for out in (data, data / "images", data / "masks" / "a" / "b", tmp_path / "link" / "runs", data / "x" / ".."):
        assert_refused([*where, str(out)], (f"--out {out}".replace(f"{tmp_path}/", ""), "beside"), tmp_path)
    (data / "notes").write_text("mine")  # beside images and masks, a run store may lie, but this is none
    assert_refused([*where, str(data / "notes")], ("data/notes is not a folder", "choose another place"), tmp_path)


def test_there_are_many() -> None:
    assert len(CASES) + len(CSV) + 2 * len(TOML) >= 150
