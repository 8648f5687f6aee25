"""A session that is used at random, for a few seconds here and for ten minutes in `make test-long`."""

from __future__ import annotations

import os
import sys
import time

import pytest

from Testing.Python.panel.patients import dsa_run
from Testing.Python.panel.random_use import TIMEOUT, Walk, observers_of, python_objects, resident_mb

SEED = int(os.environ.get("XVREGISTRATION_SEED", "20"))
STEPS = 60
"""In a scene, before it is closed."""


@pytest.fixture
def walk_of(session, files, tmp_path):
    run = dsa_run(tmp_path / "run.dcm")
    return lambda seed: Walk(session, seed, [*files, run], tmp_path)


def _scene(walk, steps):
    walk.begin()
    for _ in range(steps):
        walk.step()
    walk.end()
    walk.session.wait(TIMEOUT)


def test_no_order_of_steps_does_anything_but_work_or_say_why_not(session, walk_of):
    observers = observers_of(session.scene)
    walk = walk_of(SEED)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        _scene(walk, 25)
    assert len(walk.log) > 20
    assert observers_of(session.scene) == observers


@pytest.mark.long
def test_ten_minutes_of_random_use_leave_no_trace(session, walk_of):
    minutes = float(os.environ.get("XVREGISTRATION_MINUTES", "10"))
    listeners = len(session.changed._listeners)
    begin, scenes, modules = time.monotonic(), 0, 0
    warm: list[float] = []
    while time.monotonic() < begin + 60 * minutes:
        _scene(walk_of(SEED + scenes), STEPS)
        scenes += 1
        now = [observers_of(session.scene), session.scene.GetNumberOfNodes(), python_objects()]
        now += [resident_mb(), resident_mb(of_children=True)]
        print(scenes, round(time.monotonic() - begin), [round(number) for number in now], flush=True)
        # What a module takes that is imported when it is first used is no leak.
        if time.monotonic() < begin + 60 * minutes / 3 or len(sys.modules) != modules:
            warm, modules = now, len(sys.modules)
    assert now[0] == warm[0], "observers"
    assert now[1] <= warm[1] + 3, "nodes"  # singletons come with what needs them
    assert now[2] < warm[2] * 1.01, "Python's objects"
    assert now[3] < warm[3] + 60, "memory, MB"
    assert now[4] < warm[4] + 200, "memory of the engine, MB"
    assert len(session.changed._listeners) == listeners
