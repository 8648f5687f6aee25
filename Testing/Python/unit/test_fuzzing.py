"""Whatever a file holds, it ends in a result or in one sentence that names it: no traceback, no hang, no blow-up, no stray file."""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from Testing.Python.unit import mutations
from Testing.Python.unit.fuzz_worker import work

SECONDS = 30.0  # a case; a good file takes a fiftieth of one
KINDS = ("dx", "xa", "run", "exa", "ct", "nii", "nii.gz", "nrrd", "mha", "mhd", "png", "tif", "jpg")
_RUNS = ("run", "exa")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its limit on memory is Linux's")


class Worker:
    """Inspects files in a process of its own, which is ended where it hangs."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self._folders = str(folder), str(cache)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._mine, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, *self._folders), daemon=True)
        self._process.start()
        theirs.close()
        assert self._mine.poll(120), "the worker did not start"
        assert self._mine.recv() == "ready"

    def inspect(self, *arguments: str) -> str:
        """What is wrong with how the command ended; empty for a result or one clear sentence."""
        self._mine.send(["inspect", *arguments])
        try:
            if not self._mine.poll(SECONDS):
                self.end()
                self._start()
                return f"hung for {SECONDS:g} s"
            code, out, err = self._mine.recv()
        except EOFError:
            self._process.join()
            died = f"the process died ({self._process.exitcode})"
            self._start()
            return died
        return complaint(code, out, err, arguments)

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._mine.close()


def complaint(code: object, out: str, err: str, arguments: tuple[str, ...]) -> str:
    """What is wrong with an ending."""
    if code == 0:
        if "--json" in arguments:
            with contextlib.suppress(ValueError):
                values = json.loads(out)["values"]
                return "" if all(_finite(v["value"]) for v in values.values()) else f"a value is no number: {out}"
            return f"no JSON: {out[:300]}"
        return "" if out else "nothing was said"
    if code != 2:
        return f"ended with {code}: {err[-1500:]}"
    text = err.strip()
    if not text.startswith("xvregistration: ") or "Traceback" in text:
        return f"no sentence: {text[:1000]}"
    name = Path(arguments[0]).name
    if name not in text and Path(name).stem not in text:
        return f"does not name the file: {text[:500]}"
    without = text.replace(str(Path(arguments[0])), "").replace(name, "")
    if "\n" in without.strip() or len(without) > 600:
        return f"not one sentence: {text[:1500]}"
    return ""


def _finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(_finite(v) for v in value.values())
    if isinstance(value, list):
        return all(_finite(v) for v in value)
    return not isinstance(value, float) or math.isfinite(value)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return mutations.good_files(tmp_path_factory.mktemp("fuzz") / "good")


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker")
    one = Worker(folder, tmp_path_factory.mktemp("cache"))
    yield one
    one.end()
    assert list(folder.iterdir()) == [], "something was written where the command was started"


def damaged(good, kind: str, number: int, folder: Path) -> Path:
    """The file of a kind that belongs to a number, in a folder of its own."""
    rng = np.random.default_rng([KINDS.index(kind), number])
    source = good[kind]
    target = folder / f"case {kind} {number}{'' if source.is_dir() else source.name[len(source.name.split('.')[0]) :]}"
    if kind in ("dx", "xa", "ct") and number % 2:
        keywords = mutations.GEOMETRY + mutations.PIXELS
        keyword = keywords[number // 2 % len(keywords)]
        values = mutations.absurd_values(keyword)
        value = values[(number // 2 // len(keywords) + rng.integers(len(values))) % len(values)]
        if kind != "ct":
            mutations.absurd(source, target, keyword, value)
            return target
        shutil.copytree(source, target)
        for slice_ in sorted(source.iterdir())[: rng.integers(1, 7)]:
            mutations.absurd(slice_, target / slice_.name, keyword, value)
        return target
    if kind == "ct":
        shutil.copytree(source, target)
        one = target / f"{rng.integers(6)}.dcm"
        one.write_bytes(mutations.mutated(one.read_bytes(), rng))
        return target
    target.write_bytes(mutations.mutated(source.read_bytes(), rng))
    if kind == "mhd" and number % 3:
        shutil.copy(source.with_suffix(".raw"), folder)
    return target


def run_cases(worker, good, tmp_path: Path, numbers: range) -> tuple[int, list[str]]:
    """How many cases there were, and what is wrong with some."""
    wrong, count = [], 0
    for number in numbers:
        for kind in KINDS:
            folder = tmp_path / f"{kind}-{number}"
            folder.mkdir()
            path = damaged(good, kind, number, folder)
            before = {str(p) for p in folder.rglob("*")}
            picture = ["-o", str(tmp_path / "out" / "steps.png")] if number % 12 == 5 else ["--json"]
            given = ["--sid", "1000", "--spacing", "0.3", "0.3"] if number % 3 == 1 else []
            frame = ["--frame", ("1", "mean", "min")[number % 3]] if kind in _RUNS else []
            if said := worker.inspect(str(path), *given, *frame, *picture):
                wrong.append(f"{kind} {number}: {said}")
            if {str(p) for p in folder.rglob("*")} != before:
                wrong.append(f"{kind} {number}: something was written beside the file")
            shutil.rmtree(folder)
            count += 1
    left = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    if left - {"steps.png"}:
        wrong.append(f"written: {sorted(left)}")
    return count, wrong


def test_good_files_are_understood(worker, good):
    for kind, path in good.items():
        assert worker.inspect(str(path), "--json", *(["--frame", "2"] if kind in _RUNS else [])) == ""


def test_a_sample_of_damaged_files_ends_in_results_or_sentences(worker, good, tmp_path):
    count, wrong = run_cases(worker, good, tmp_path, range(10))
    assert count > 100
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("dimensions", ["1e9", "-1", "0", "11", "x", ""])
def test_an_absurd_number_of_dimensions_does_not_end_the_process(worker, good, tmp_path, dimensions):
    """ITK's reader of MetaImages aborts on some."""
    path = tmp_path / "absurd.mha"
    path.write_bytes(good["mha"].read_bytes().replace(b"NDims = 3", b"NDims = " + dimensions.encode()))
    assert worker.inspect(str(path), "--json") == ""


def test_hostile_names_and_what_is_no_file(worker, good, tmp_path):
    wrong = []
    for name in mutations.NAMES:
        path = tmp_path / name
        path.write_bytes(good["xa"].read_bytes()[: None if "a" in name else 900])
        if said := worker.inspect(str(path), "--json"):
            wrong.append(f"{name!r}: {said}")
        path.unlink()
    ends = {path: worker.inspect(str(path), "--json") for path in mutations.special(tmp_path)}
    wrong += [f"{path.name!r}: {said}" for path, said in ends.items() if said]
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.long
def test_two_thousand_damaged_files_end_in_results_or_sentences(worker, good, tmp_path):
    count, wrong = run_cases(worker, good, tmp_path, range(100, 260))
    assert count >= 2000
    assert not wrong, f"{len(wrong)} of {count}\n\n" + "\n\n".join(wrong[:40])
