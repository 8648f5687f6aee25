"""What an operation of the engine leaves to a thread beside, in the engine's real process with operations of its own."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 60.0  # s
PROGRAM = """
import sys, time, types, warnings
from pathlib import Path
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs import engine_server

class Operations:
    def run(self, request):
        f = request.fields
        if request.operation == "quick":
            return {"said": f["said"]}, {}
        if request.operation == "warn":
            warnings.warn_explicit("Mustermann", UserWarning, "values.py", 1, module="pydicom.values")
            warnings.warn_explicit("harmless", UserWarning, "other.py", 1, module="other")
            return {}, {}
        def rest():
            Path(f["begun"]).touch()
            while not Path(f["until"]).exists():
                request.check()
                time.sleep(0.01)
            if f.get("fails"):
                raise InputError("It cannot be written.")
            return {"said": "written"}, {}
        return rest

operations = sys.modules["XVRegistrationLib.jobs.engine_operations"] = types.ModuleType("engine_operations")
operations.Operations = Operations
del sys.argv[1:3]  # -m and the module
engine_server.main()
"""


@pytest.fixture
def engine(tmp_path) -> Iterator[Engine]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, "utf-8")
    engine = Engine([sys.executable, str(program)], log=tmp_path / "log.txt")
    engine.start()
    engine.wait(engine.request("quick", said="ready"), PATIENCE)
    yield engine
    engine.close()


def ask_for_rest(engine: Engine, folder: Path, name: str, **more) -> tuple[int, Path, Path]:
    """The request, and the files that say that the rest has begun, and that it may end."""
    begun, until = folder / f"{name}-begun", folder / f"{name}-until"
    return engine.request("rest", begun=str(begun), until=str(until), **more), begun, until


def wait_for(path: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.01)


def test_the_next_request_is_answered_while_the_rest_of_the_one_before_is_done(engine, tmp_path):
    slow, begun, until = ask_for_rest(engine, tmp_path, "slow")
    quick = engine.request("quick", said="hello")
    assert engine.wait(quick, PATIENCE).fields == {"said": "hello"}
    wait_for(begun)
    assert engine.pending == [slow]
    until.touch()
    assert engine.wait(slow, PATIENCE).fields == {"said": "written"}


def test_rests_are_done_one_after_the_other_and_each_can_be_cancelled_or_fail(engine, tmp_path):
    first, first_begun, first_until = ask_for_rest(engine, tmp_path, "first", fails=True)
    second, second_begun, _ = ask_for_rest(engine, tmp_path, "second")
    third = engine.request("quick", said="third")
    wait_for(first_begun)
    time.sleep(0.5)  # in which the second would have begun
    assert not second_begun.exists()
    engine.cancel(second)
    first_until.touch()
    with pytest.raises(InputError, match=r"^It cannot be written\.$"):
        engine.wait(first, PATIENCE)
    with pytest.raises(InputError, match=r"^Cancelled\.$"):
        engine.wait(second, PATIENCE)
    assert engine.wait(third, PATIENCE).fields == {"said": "third"}

    fourth, begun, _ = ask_for_rest(engine, tmp_path, "fourth")
    wait_for(begun)
    engine.cancel(fourth)
    with pytest.raises(InputError, match=r"^Cancelled\.$"):
        engine.wait(fourth, PATIENCE)


def test_warnings_of_what_reads_dicom_files_which_quote_patients_are_in_no_log(engine, tmp_path):
    engine.wait(engine.request("warn"), PATIENCE)
    log = (tmp_path / "log.txt").read_text("utf-8")
    assert "harmless" in log
    assert "Mustermann" not in log
