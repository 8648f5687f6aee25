"""Jobs as files: the folder, its progress, the data folder's models, and wishes that are refused before anything starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.jobs import home, process, training_job
from XVRegistrationLib.jobs.folder import JOB, PROGRESS, ProgressReader, ProgressWriter
from XVRegistrationLib.jobs.interpreter import child_environment, interpreter
from XVRegistrationLib.jobs.job_status import Job, curve, status
from XVRegistrationLib.jobs.run_training import CancelledError, StopRequest, read_job_volume
from XVRegistrationLib.jobs.train_patient import resume_training, start_patient, train_patient
from XVRegistrationLib.jobs.training_job import find_job, find_jobs, forget, resume, start_training
from XVRegistrationLib.registration.card import read_card
from XVRegistrationLib.registration.model import load_model, save_model
from XVRegistrationLib.training.trainer import Progress


def _line(elapsed: float, validation: float | None = None, loss: float = 5.0) -> str:
    row = {"elapsed": elapsed, "budget": 60.0, "steps": 1, "images": 16, "loss": loss, "validation": validation}
    return json.dumps(row) + "\n"


@pytest.fixture(scope="module")
def bank_folder(phantom, camera, tmp_path_factory) -> Path:
    """A model that has a bank and no network, in the library of a data folder."""
    folder = home.new_model_folder(tmp_path_factory.mktemp("home"), phantom.fingerprint, "AP")
    start_patient(folder, phantom, camera, pose_range=PoseRange((15.0,) * 3, (20.0,) * 3))
    return folder


def _job(root: Path, model: Path, **entries: object) -> Job:
    """The folder of a job that this test writes instead of a child."""
    folder = home.jobs_folder(root) / str(entries.get("id", "260101-aaaaaa"))
    content = {
        "format": "xvregistration job", "version": 1, "id": folder.name, "model": str(model), "volume": None,
        "minutes": 1.0, "device": None, "seed": 0, "created": "2026-01-01T00:00:00+00:00", "state": "running",
        "message": "Training.", "pid": None, "process_created": None, "launched": 0.0,
    }  # fmt: skip
    write_json(folder / JOB, {**content, **entries})
    return Job(folder)


def test_a_curve_is_read_on_and_a_half_written_line_waits_for_its_end(tmp_path):
    job, path = Job(tmp_path), tmp_path / PROGRESS
    assert curve(job) == []
    path.write_text(_line(1.0) + _line(2.0, 9.0) + _line(3.0)[:20])
    assert curve(job) == [(1.0, 5.0, None), (2.0, 5.0, 9.0)]
    with path.open("a") as f:
        f.write(_line(3.0)[20:] + _line(4.0))
    assert [row[0] for row in curve(job)] == [1.0, 2.0, 3.0, 4.0]


def test_a_line_that_a_killed_process_cut_short_spoils_no_other(tmp_path):
    path = tmp_path / PROGRESS
    path.write_text(_line(1.0) + _line(2.0)[:30])
    ProgressWriter(tmp_path, 60.0).write(Progress(3.0, 60.0, 2, 32, 4.0, None))
    assert [row.elapsed for row in ProgressReader(tmp_path).read()] == [1.0, 3.0]


def test_a_run_that_went_back_to_its_checkpoint_replaces_what_came_after_it(tmp_path):
    reader, path = ProgressReader(tmp_path), tmp_path / PROGRESS
    path.write_text(_line(1.0, 9.0) + _line(1.0) + _line(2.0) + _line(3.0))
    assert len(reader.read()) == 4
    with path.open("a") as f:
        f.write(_line(1.5) + _line(2.5))
    assert [(row.elapsed, row.validation) for row in reader.read()] == [
        (1.0, 9.0),
        (1.0, None),
        (1.5, None),
        (2.5, None),
    ]


def test_every_validation_is_kept_and_of_other_reports_few(tmp_path):
    writer = ProgressWriter(tmp_path, 60.0)
    for i in range(200):
        writer.write(Progress(float(i), 60.0, i, 16 * i, 5.0, 1.0 if i % 50 == 0 else None))
    rows = ProgressReader(tmp_path).read()
    assert [row.elapsed for row in rows if row.validation is not None] == [0.0, 50.0, 100.0, 150.0]
    assert len(rows) < 50


def test_a_process_that_is_gone_or_whose_number_is_another_ones_is_an_interrupted_job(bank_folder, tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert status(_job(tmp_path, bank_folder, pid=gone.pid, process_created=1.0)).state == "interrupted"
    other = _job(tmp_path, bank_folder, pid=os.getpid(), process_created=1.0)
    assert status(other).state == "interrupted"
    assert "registers by its bank" in status(other).message
    training_job.kill(other)  # must not be this process
    assert status(other).state == "cancelled"
    mine = _job(tmp_path, bank_folder, **process.identity(os.getpid()))
    (mine.folder / "cancel").unlink()
    assert status(mine).state == "running"


def test_a_job_stops_when_its_folder_says_so_and_at_a_signal(tmp_path):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        by_file = StopRequest(tmp_path)
        by_file.check()
        training_job.request_cancel(Job(tmp_path))
        with pytest.raises(CancelledError):
            by_file.check()
        by_signal = StopRequest(tmp_path / "another")
        by_signal.check()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(CancelledError):
            by_signal.check()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_jobs_are_found_latest_first_by_the_beginning_or_end_of_their_id(bank_folder, tmp_path, caplog):
    assert find_jobs(tmp_path) == []
    _job(tmp_path, bank_folder, id="260101-aaaaaa")
    _job(tmp_path, bank_folder, id="260102-bbbbbb", created="2026-01-02T00:00:00+00:00")
    (home.jobs_folder(tmp_path) / "damaged").mkdir()
    (home.jobs_folder(tmp_path) / "damaged" / JOB).write_text("{")
    assert [job.id for job in find_jobs(tmp_path)] == ["260102-bbbbbb", "260101-aaaaaa"]
    assert "damaged" in caplog.text
    assert find_job("bbb", tmp_path).id == find_job("260102", tmp_path).id == "260102-bbbbbb"
    with pytest.raises(InputError, match="2 jobs"):
        find_job("2601", tmp_path)
    with pytest.raises(InputError, match="no job"):
        find_job("x", tmp_path)
    forget(find_job("bbb", tmp_path))
    assert [job.id for job in find_jobs(tmp_path)] == ["260101-aaaaaa"]
    assert (bank_folder / "model.json").is_file()


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"minutes": -1.0}, "time budget"),
        ({"minutes": float("nan")}, "time budget"),
        ({"minutes": 0.0}, "more than 0"),
        ({"minutes": 1.0, "device": "gpu"}, "no device 'gpu'"),
        ({"minutes": 1.0, "volume": Path("absent.nii.gz")}, "is not there"),
        ({"minutes": 1.0}, "does not know where its volume is"),
    ],
)
def test_a_training_that_cannot_begin_is_refused_and_leaves_nothing(bank_folder, tmp_path, wish, reason):
    with pytest.raises(InputError, match=reason):
        start_training(bank_folder, root=tmp_path, **wish)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_model_and_one_that_is_being_trained_are_refused(bank_folder, tmp_path):
    with pytest.raises(InputError, match="holds no model"):
        start_training(tmp_path / "nothing", minutes=1.0, root=tmp_path)
    job = _job(tmp_path, bank_folder, **process.identity(os.getpid()))
    with pytest.raises(InputError, match="being trained already"):
        start_training(bank_folder, minutes=1.0, volume=bank_folder, root=tmp_path)
    for refused in (resume, forget):
        with pytest.raises(InputError, match="still running"):
            refused(job)


def test_a_device_that_is_not_here_is_refused_before_anything_is_written(bank_folder, phantom):
    before = {path: path.stat().st_mtime_ns for path in bank_folder.iterdir()}
    for name in ("cuda:99", "quantum"):
        with pytest.raises(InputError, match=r"device|cannot train"):
            resume_training(bank_folder, volume=phantom, minutes=0.1, device=name)
        with pytest.raises(InputError, match=r"device|cannot train"):
            train_patient(bank_folder, load_model(bank_folder, phantom), minutes=0.1, device=name)
    assert before == {path: path.stat().st_mtime_ns for path in bank_folder.iterdir()}


def test_the_library_tells_its_models_apart_and_leaves_out_what_is_damaged(bank_folder, phantom, caplog):
    root = bank_folder.parent.parent
    entry = home.list_models(root)[0]
    assert (entry.folder, entry.view, entry.minutes, entry.error) == (bank_folder, "AP", 0.0, None)
    assert entry.fingerprint == phantom.fingerprint
    assert entry.size == sum(path.stat().st_size for path in bank_folder.iterdir())
    empty = home.new_model_folder(root, phantom.fingerprint, "AP")
    damaged = home.new_model_folder(root, phantom.fingerprint, "AP")
    write_json(damaged / "model.json", {**read_card(bank_folder), "volume": None})
    assert len({bank_folder, empty, damaged}) == 3
    assert [e.folder for e in home.list_models(root)] == [bank_folder]
    assert str(damaged) in caplog.text
    assert home.list_models(root / "nothing") == []


def test_the_data_folder_is_the_one_named_or_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XVREGISTRATION_HOME", str(tmp_path / "here"))
    assert home.data_folder() == tmp_path / "here"
    monkeypatch.delenv("XVREGISTRATION_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for system, variables, folder in [
        ("linux", {"XDG_DATA_HOME": str(tmp_path / "data")}, tmp_path / "data"),
        ("linux", {"XDG_DATA_HOME": "relative"}, tmp_path / ".local/share"),
        ("linux", {"XDG_DATA_HOME": ""}, tmp_path / ".local/share"),
        ("darwin", {}, tmp_path / "Library/Application Support"),
        ("win32", {"LOCALAPPDATA": str(tmp_path / "Local")}, tmp_path / "Local"),
        ("win32", {"LOCALAPPDATA": ""}, tmp_path / "AppData/Local"),
    ]:
        monkeypatch.setattr(sys, "platform", system)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert home.data_folder() == folder / "XVRegistration"


def test_a_child_finds_the_library_from_any_folder(tmp_path):
    script = (
        "import XVRegistrationLib.jobs.training_job, sys; print(sorted({'torch', 'warp', 'scipy'} & set(sys.modules)))"
    )
    environment = {**child_environment(), "PYTHONPATH": child_environment()["PYTHONPATH"].split(os.pathsep)[0]}
    out = subprocess.run(
        [*interpreter(), "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]", "what the panel imports must not load torch"


def test_a_model_is_read_while_a_training_replaces_its_files(bank_folder, phantom, tmp_path, monkeypatch):
    """The card is read, the training saves, and the files that this card names are gone."""
    import XVRegistrationLib.registration.model as model_module

    folder = tmp_path / "model"
    model = load_model(bank_folder, phantom)
    save_model(folder, model)
    stale = read_card(folder)
    model.bank.features[0] = 0.0  # another bank, so another file
    save_model(folder, model)
    cards = [stale, read_card(folder)]
    monkeypatch.setattr(model_module, "read_card", lambda _: cards.pop(0))
    assert float(load_model(folder, phantom).bank.features[0].abs().max()) == 0.0
    assert cards == []
    cards = [stale, stale]
    with pytest.raises(InputError, match="is missing"):
        load_model(folder, phantom)


def test_a_volume_read_from_a_file_of_voxels_lies_where_the_card_says(bank_folder, phantom, tmp_path):
    np.save(tmp_path / "voxels.npy", phantom.array)
    volume = read_job_volume({"volume": str(tmp_path / "voxels.npy")}, read_card(bank_folder))
    assert isinstance(volume, Volume)
    assert volume.fingerprint == phantom.fingerprint
    np.testing.assert_array_equal(volume.ijk_to_ras, phantom.ijk_to_ras)
    (tmp_path / "voxels.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_job_volume({"volume": str(tmp_path / "voxels.npy")}, read_card(bank_folder))


def test_a_copy_of_the_volume_that_is_gone_is_told_apart_from_a_file_that_is_gone(bank_folder, tmp_path):
    for volume, sentence in [
        (bank_folder / "volume.npy", "has been removed, as it always is"),
        (tmp_path / "volume.npy", "is not there"),
    ]:
        job = _job(tmp_path, bank_folder, state="cancelled", volume=str(volume))
        with pytest.raises(InputError, match=sentence):
            resume(job)
        assert status(job).state == "cancelled"


def test_the_command_lists_and_forgets_jobs(bank_folder, tmp_path, capsys):
    root = ["--root", str(tmp_path)]
    assert main(["jobs", *root]) == 0
    assert "no jobs" in capsys.readouterr().out
    job = _job(tmp_path, bank_folder)
    assert main(["jobs", "list", *root]) == 0
    out = capsys.readouterr().out
    assert job.id in out
    assert "interrupted" in out
    assert main(["jobs", "forget", "aaaaaa", *root]) == 0
    assert find_jobs(tmp_path) == []
    for bad in (["jobs", "cancel", *root], ["jobs", "cancel", "x", *root], ["jobs", "list", "x", *root]):
        assert main(bad) == 2
