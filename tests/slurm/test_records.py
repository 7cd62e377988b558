"""Records of submissions."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from issbench.errors import RunError
from issbench.slurm.submissions import (
    Submission,
    SubmittedRun,
    latest,
    load_submissions,
    save_submission,
    submission_dir,
)

RUN = SubmittedRun("r", "ft shapes_4-1 seed 0", {"method": "ft"}, ("a", "b"), ("e", "f"), "7_0", "8_0")


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


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1, "runs": []}'])
def test_a_damaged_record_is_told(tmp_path, text):
    save_submission(tmp_path, submission())
    (submission_dir(tmp_path, "sweep-1") / "sweep.json").write_text(text)
    with pytest.raises(RunError, match=r"sweep-1/sweep\.json is no record"):
        load_submissions(tmp_path)


def test_a_record_of_another_version_is_refused(tmp_path):
    save_submission(tmp_path, submission())
    path = submission_dir(tmp_path, "sweep-1") / "sweep.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(RunError, match="another version"):
        load_submissions(tmp_path)


def test_the_last_submission_that_was_handed_over_counts():
    first, second, refused = submission(), submission("sweep-2", 2.0), submission("sweep-3", 3.0, job=None)
    assert latest([first, second, refused])["r"][0] == second
    assert latest([refused])["r"][0] == refused


def test_records_and_queue_need_no_torch():
    code = "import issbench.slurm.submissions, slurm.queue, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
