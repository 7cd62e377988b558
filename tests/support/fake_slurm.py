"""A Slurm of programs that play its commands, with the moods of real ones. State and calls lie in one folder.

`FakeSlurm` puts them in the place of the real ones. Run as `python fake_slurm.py FOLDER COMMAND …` this is such a
command; it imports as little as it can, to start fast.
"""

import json
import os
import sys
import time

AWAY = "Unable to contact slurm controller (connect failure)"
LIMIT = "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"  # noqa: E501
ANSWERS = {
    "plain": "Submitted batch job {n}",
    "cluster": "Submitted batch job {n} on cluster alpha2",
    "number": "{n}",
    "parsable": "{n};alpha2",
    "banner": "Welcome to job 7 of the day\n42\n--> Verifying ... OK\n{n}",
    "greeting": "Welcome to job 7 of the day\n--> Verifying ... OK\nSubmitted batch job {n}",
    "epilogue": "Submitted batch job {n}\nYou have used 17 of 99 hours",
    "garbage": "See you at job 7!",
    "empty": "",
}


class FakeSlurm:
    """Slurm's commands in `place/bin`, which is to be put on the PATH."""

    def __init__(self, place, **moods):
        self.place = place
        (place / "bin").mkdir(parents=True, exist_ok=True)
        self.set(**moods)

    def set(self, **moods):
        """Change the moods: how `sbatch` answers (a key of ANSWERS; nothing: it takes no job and does not say so;
        killed, hang, timed-out: it takes the job and does not say so; away, away-twice), how `squeue`, `sacct` and
        `scontrol` do (away, away-twice, disabled, late, hang, absent), `scancel` (unknown: it knows no job), the
        `limit` of jobs, the `size` of arrays, with which words sbatch `refuse`s, and `after` how many arrays that
        begins."""
        _write(self.place / "moods.json", {"sbatch": "plain", "size": 1001, **moods})
        for name in ("sbatch", "squeue", "sacct", "scontrol", "scancel"):
            program = self.place / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {__file__} {self.place} {name} "$@"\n')
            program.chmod(0o755)
            if moods.get(name) == "absent":
                program.unlink()

    @property
    def jobs(self):
        """What Slurm has: number, name, count, state and script of each array."""
        return _read(self.place / "jobs.json", [])

    def become(self, state, number=None):
        """Let an array, or all, end in a state (or begin to run)."""
        changed = [job | ({"state": state} if number in (None, job["number"]) else {}) for job in self.jobs]
        _write(self.place / "jobs.json", changed)

    @property
    def calls(self):
        """The commands that were given, in order."""
        path = self.place / "calls"
        return path.read_text().splitlines() if path.exists() else []


def _read(path, otherwise):
    try:
        with open(path) as file:  # noqa: PTH123
            return json.load(file)
    except FileNotFoundError:
        return otherwise


def _write(path, value):
    with open(path, "w") as file:  # noqa: PTH123
        json.dump(value, file)


def _fail(program, words):
    print(f"{program}: error: {words}", file=sys.stderr)
    sys.exit(1)


def _mood(place, moods, program):
    mood = moods.get(program)
    if mood == "hang":
        time.sleep(600)
    if mood == "disabled":
        print("Slurm accounting storage is disabled", file=sys.stderr)
        sys.exit(1)
    _away(place, mood, program)


def _away(place, mood, program):
    if mood == "away":
        _fail(program, AWAY)
    if mood == "away-twice":
        count = _read(f"{place}/{program}.count", 0) + 1
        _write(f"{place}/{program}.count", count)
        if count <= 2:
            _fail(program, AWAY)


def sbatch(place, moods, arguments):
    """Submit an array, or not, and say so, or not."""
    jobs, mood = _read(f"{place}/jobs.json", []), moods["sbatch"]
    with open(arguments[-1]) as file:  # noqa: PTH123
        script = file.read()
    options = dict(line[10:].partition("=")[::2] for line in script.splitlines() if line.startswith("#SBATCH --"))
    last = options.get("array", "0-0").partition("%")[0].partition("-")[2]
    alive = sum(job["count"] for job in jobs if job["state"] in ("PENDING", "RUNNING"))
    _away(place, mood, "sbatch")
    if int(last) >= moods["size"]:
        _fail("sbatch", "Batch job submission failed: Invalid job array specification")
    if alive + int(last) + 1 > moods.get("limit", 10**6):
        print("sbatch: error: AssocMaxSubmitJobLimit", file=sys.stderr)
        _fail("sbatch", LIMIT)
    if "refuse" in moods and len(jobs) >= moods.get("after", 0):
        _fail("sbatch", moods["refuse"])
    moody = len(jobs) >= moods.get("after", 0)
    number = 101 + len(jobs)
    if not (mood == "nothing" and moody):
        new = {"number": number, "name": options["job-name"], "count": int(last) + 1, "state": "PENDING"}
        _write(f"{place}/jobs.json", [*jobs, new | {"script": script}])
    if moody and mood == "killed":
        os.kill(os.getpid(), 9)
    if moody and mood == "hang":
        time.sleep(600)
    if moody and mood == "timed-out":
        _fail("sbatch", "Batch job submission failed: Socket timed out on send/recv operation")
    print(ANSWERS.get(mood if moody else "plain", "See you at job 7!").format(n=number))


def _asked(arguments, option):
    return next((each.partition("=")[2] for each in arguments if each.startswith(f"--{option}=")), None)


def _rows(place, arguments):
    name, numbers = _asked(arguments, "name"), _asked(arguments, "jobs")
    for job in _read(f"{place}/jobs.json", []):
        if name in (None, job["name"]) and (numbers is None or str(job["number"]) in numbers.split(",")):
            ids = [f"{job['number']}_{index}" for index in range(job["count"])]
            yield job, ids if job["count"] > 1 else [str(job["number"])]


def squeue(place, moods, arguments):
    """Jobs that wait or run, unless the queue is late."""
    for job, ids in _rows(place, arguments) if moods.get("squeue") != "late" else ():
        if job["state"] in ("PENDING", "RUNNING"):
            for each in ids:
                row = {"%i": each, "%j": job["name"], "%T": job["state"], "%S": "N/A", "%r": "None"}
                print("|".join(row[field] for field in _asked(arguments, "format").split("|")))


def sacct(place, moods, arguments):
    """All jobs, unless accounting is late."""
    for job, ids in _rows(place, arguments) if moods.get("sacct") != "late" else ():
        for each in ids:
            row = {"JobID": each, "JobName%200": job["name"], "State": job["state"], "ExitCode": "0:9"}
            print("|".join(row[field] for field in _asked(arguments, "format").split(",")))


def scontrol(place, moods, arguments):
    """The configuration."""
    print(f"Configuration data\nMaxArraySize            = {moods['size']}")


def scancel(place, moods, arguments):
    """End whole arrays, or none that it does not know yet."""
    if moods.get("scancel") == "unknown":
        _fail("scancel", f"Kill job error on job id {arguments[0]}: Invalid job id specified")
    ended = {each.partition("_")[0] for each in arguments}
    jobs = _read(f"{place}/jobs.json", [])
    _write(
        f"{place}/jobs.json",
        [job | ({"state": "CANCELLED by 1"} if str(job["number"]) in ended else {}) for job in jobs],
    )


def _main(place, program, *arguments):
    with open(f"{place}/calls", "a") as file:  # noqa: PTH123
        file.write(" ".join([program, *arguments]) + "\n")
    moods = _read(f"{place}/moods.json", {})
    if program != "sbatch":
        _mood(place, moods, program)
    globals()[program](place, moods, arguments)


if __name__ == "__main__":
    _main(*sys.argv[1:])
