"""Engines that cannot start or that die: who is told, once, and where their last words are kept."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING
from unittest import mock

import psutil
import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.engine import Engine
from XVRegistrationLib.jobs.interpreter import child_environment
from XVRegistrationLib.panel.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 120.0  # s; far more than anything here takes, so that a test ends


def test_an_engine_that_cannot_start_fails_with_its_last_words():
    engine = Engine(command=[sys.executable, "-c", "import sys; sys.exit('no such thing')"])
    engine.start()
    request = engine.request("read_xray", path="x")
    with pytest.raises(InputError, match="no such thing"):
        engine.wait(request, PATIENCE)
    assert engine.state == "failed"
    nowhere = Engine(command=["/nowhere/python"])
    nowhere.start()
    assert nowhere.state == "failed"
    with pytest.raises(InputError, match=r"cannot be started: .*nowhere"):
        nowhere.request("drr")


def test_an_engine_without_a_temporary_folder_fails_in_a_sentence_and_starts_when_there_is_one(monkeypatch):
    engine = Engine()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "mkdtemp", mock.Mock(side_effect=OSError("No space left on device")))
        engine.start()
    assert engine.state == "failed"
    with pytest.raises(InputError, match="cannot be started: No space left"):
        engine.request("fly")
    engine.start()
    with pytest.raises(InputError, match="no operation"):
        engine.wait(engine.request("fly"), PATIENCE)
    engine.close()


def test_the_log_holds_what_all_engines_of_a_session_said_and_each_ones_last_words_are_its_own(tmp_path):
    log = tmp_path / "made when needed" / "engine.log"
    engine = Engine(command=[sys.executable, "-c", "import sys; sys.exit('the first')"], log=log)
    for words in ("the first", "the second"):
        engine._command[-1] = f"import sys; sys.exit({words!r})"
        engine.start()
        with pytest.raises(InputError, match=words):
            engine.wait(engine.request("fly"), PATIENCE)
    engine._command[-1] = "pass"
    engine.start()
    with pytest.raises(InputError, match="ended unexpectedly") as told:
        engine.wait(engine.request("fly"), PATIENCE)
    assert "the second" not in str(told.value)
    assert log.read_text().split("\n") == ["the first", "the second", ""]
    unwritable = Engine(command=[sys.executable, "-c", "import sys; sys.exit('all the same')"], log=tmp_path)
    unwritable.start()
    with pytest.raises(InputError, match="all the same"):
        unwritable.wait(unwritable.request("fly"), PATIENCE)


def _poll_until(context: Context, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline
        context.poll()
        time.sleep(0.01)


def test_everyone_who_asked_an_engine_that_died_is_told_once(tmp_path):
    context = Context(None, None, tmp_path)
    told: list[str] = []

    def ask(name: str) -> None:
        context.ask("fly", pytest.fail, on_error=lambda text: told.append(name))

    ask("before")
    _poll_until(context, lambda: told == ["before"])
    process = psutil.Process(context._engine.process_id)
    process.suspend()
    ask("waiting")
    process.kill()
    process.wait(PATIENCE)
    ask("while it died")  # its pipe is broken: the engine is found dead by the first of these, and closed by the second
    ask("at once after")
    assert told == ["before"]  # later, not out of `ask`
    assert context.busy
    _poll_until(context, lambda: not context.busy)
    context.poll()
    assert sorted(told) == sorted(["before", "waiting", "while it died", "at once after"])
    assert context.generation == 1
    assert context.engine_log.parent == tmp_path
    assert context.engine_log.is_file()
    context.close()


def test_an_engine_that_cannot_be_started_says_why_and_has_not_died(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "mkdtemp", mock.Mock(side_effect=OSError("No space left on device")))
    context = Context(None, None, tmp_path)
    told: list[str] = []
    for _ in range(2):
        context.ask("fly", pytest.fail, on_error=told.append)
        context.poll()
    assert told == ["The engine cannot be started: No space left on device"] * 2
    assert (context.busy, context.generation) == (False, 0)


def test_the_engine_ends_with_its_parent(tmp_path):
    """Whatever way the parent ends, and whatever the engine is at."""
    code = (
        "import os, signal, sys\n"
        "from XVRegistrationLib.jobs.engine import Engine\n"
        "engine = Engine()\n"
        "engine.start()\n"
        "try:\n    engine.wait(engine.request('fly'))\nexcept ValueError:\n    pass\n"
        "print(engine.process_id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=child_environment())
    child = int(parent.stdout)
    deadline = time.monotonic() + PATIENCE
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
