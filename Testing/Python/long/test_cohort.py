"""Cohorts whose workers are lost: nothing is lost with them, and what ends its worker again and again becomes a row."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from Testing.Python.cohorts import NEAR, found, workers, write_cases
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.cohort import register_cohort
from XVRegistrationLib.jobs.cohort_table import read_rows
from XVRegistrationLib.jobs.cohort_workers import Trouble, workers_of
from XVRegistrationLib.jobs.interpreter import child_environment

pytestmark = pytest.mark.long

CASES = 60
GIVE_UP = 120.0  # seconds


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A folder with a table of sixty cases of two volumes, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("cohort")
    write_cases(folder, CASES)
    return folder, register_cohort(folder / "cases.csv", folder / "out", everywhere=NEAR)


def test_sixty_cases_on_two_workers_of_which_one_is_killed_twice(cohort, tmp_path):
    folder, alone = cohort
    killed = []

    def progress(done, total):
        if done in (15, 35) and len(killed) < 2:
            there = workers()
            assert len(there) == 2
            os.kill(there[0].pid, signal.SIGKILL)
            killed.append(there[0].pid)
            began = time.monotonic()
            while there[0].is_running() and time.monotonic() - began < GIVE_UP:
                time.sleep(0.05)

    outcomes = register_cohort(folder / "cases.csv", tmp_path, everywhere=NEAR, workers=2, progress=progress)
    assert len(killed) == 2
    assert len(found(outcomes)) == CASES
    assert found(outcomes) == found(alone)
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "cases").rglob("case.json")}
    again = register_cohort(folder / "cases.csv", tmp_path, everywhere=NEAR, workers=2)
    assert all(outcome.kept for outcome in again)
    assert {path: path.stat().st_mtime_ns for path in records} == records
    assert not workers()


def test_a_run_that_was_killed_goes_on(cohort, tmp_path):
    folder, alone = cohort
    everywhere = [f"{name}={value}" for name, value in NEAR.items()]
    command = [
        sys.executable,
        "-m",
        "XVRegistrationLib.cli.main",
        "batch",
        str(folder / "cases.csv"),
        "-o",
        str(tmp_path),
    ]
    process = subprocess.Popen([*command, "--workers", "2", "--all", *everywhere], env=child_environment())
    began = time.monotonic()
    while len(list(tmp_path.glob("cases/*/case.json"))) < 10:
        assert time.monotonic() - began < GIVE_UP
        time.sleep(0.05)
    process.kill()
    process.wait()
    kept = len(list(tmp_path.glob("cases/*/case.json")))
    outcomes = register_cohort(folder / "cases.csv", tmp_path, everywhere=NEAR)
    assert kept <= sum(outcome.kept for outcome in outcomes) < CASES
    assert found(outcomes) == found(alone)


def test_what_ends_its_worker_again_and_again_is_said_and_the_others_are_done():
    with workers_of(2) as team:
        team.submit("bad", os._exit, 1)
        team.submit("good", abs, -1)
        results = dict([team.next(), team.next()])
    assert results["good"] == 1
    assert isinstance(results["bad"], Trouble)
    assert "again and again" in results["bad"].reason


def test_a_scheduler_of_ones_own_does_the_work(cohort, tmp_path):
    folder, alone = cohort
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard"]
    scheduler = subprocess.Popen(dask, env=child_environment())
    worker = None
    try:
        _wait_for(address)
        with pytest.raises(InputError, match="has no workers"), workers_of(0, address):
            pass
        dask = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
        worker = subprocess.Popen([*dask, "--local-directory", str(tmp_path)], env=child_environment())
        few = [
            {**row, "volume": folder / row["volume"], "xray": folder / row["xray"]}
            for row in read_rows(folder / "cases.csv")[:5]
        ]
        outcomes = register_cohort(few, tmp_path / "out", everywhere=NEAR, scheduler=address)
        assert found(outcomes) == found(alone)[:5]
        with workers_of(0, address) as team:
            team.submit("long", time.sleep, 60)
            scheduler.kill()
            with pytest.raises(InputError, match="scheduler"):
                team.next()
    finally:
        for process in (worker, scheduler):
            if process is not None:
                process.terminate()
                process.wait()


def _wait_for(address: str) -> None:
    host, port = address.removeprefix("tcp://").split(":")
    began = time.monotonic()
    while time.monotonic() - began < GIVE_UP:
        with socket.socket() as s:
            if s.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)
