"""Records of submissions."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from issbench.bench.launching.submissions import (
    Submission,
    SubmittedRun,
    latest,
    load_submissions,
    save_submission,
    submission_dir,
    submissions_dir,
)
from issbench.errors import RunError
from issbench.files import write_sealed

RUN = SubmittedRun("r", "ft shapes_4-1 seed 0", {"method": "ft"}, (("a", "e"), ("b", "f")), "7_0", "8_0")


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    """As `submitting` makes it."""
    submissions_dir(tmp_path).mkdir()


def submission(name="sweep-1", created=1.0, **changes):
    profile, settings = {"time": "8h"}, {"device": "auto"}
    runs = (replace(RUN, **changes),)
    return Submission(name, created, "slurm", ("bench", "sweep"), "/home", profile, settings, runs)


def test_a_record_reads_as_it_was_written(tmp_path):
    second = submission("sweep-2", 2.0)
    for each in (second, submission()):
        save_submission(tmp_path, each)
    assert load_submissions(tmp_path) == [submission(), second]


def test_no_submission_is_no_error(tmp_path):
    assert load_submissions(tmp_path) == []


@pytest.mark.parametrize(
    "change", [lambda text: text[:-40], lambda text: text.replace("8_0", "9_0"), lambda text: "{}"]
)
def test_a_damaged_record_is_named(tmp_path, change):
    save_submission(tmp_path, submission())
    path = submission_dir(tmp_path, "sweep-1") / "sweep.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(RunError, match=r"sweep-1/sweep\.json does not have the checksum .* move the folder"):
        load_submissions(tmp_path)


def test_a_record_of_another_version_is_refused(tmp_path):
    path = submission_dir(tmp_path, "sweep-1") / "sweep.json"
    write_sealed(path, {"format": 99}, "sweep-1")
    with pytest.raises(RunError, match="another version of bench"):
        load_submissions(tmp_path)
    path.write_text(json.dumps({"format": 1, "executor": "slurm", "runs": []}))
    with pytest.raises(RunError, match=r"written by bench 0\.1"):
        load_submissions(tmp_path)


def test_the_last_submission_that_was_taken_counts():
    first, second, refused = submission(), submission("sweep-2", 2.0), submission("sweep-3", 3.0, job=None)
    assert latest([first, second, refused])["r"][0] == second
    assert latest([replace(refused, name="run-1"), refused])["r"][0] == refused


@pytest.mark.parametrize(
    "module",
    [f"bench.launching.{each}" for each in ("submissions", "status", "cancel")]
    + [f"slurm.{each}" for each in ("queue", "cluster", "local")],
)
def test_what_watches_needs_neither_torch_nor_submitit(module):
    code = f"import issbench.{module}, sys; sys.exit(bool({{'torch', 'submitit'}} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
