"""The first fit shares its compiling between two processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bayeslmm.engine import first_time


@pytest.fixture
def started(monkeypatch):
    """Processes that are started, with some harmless code in place of the compiling."""
    children, start = [], subprocess.Popen

    def instead(command, **options):
        assert command[0] == sys.executable and "import bayeslmm.engine.joint" in command[2]
        children.append(start([sys.executable, "-c", "import time; time.sleep(0.3)"], **options))
        return children[-1]

    monkeypatch.setattr(subprocess, "Popen", instead)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    return children


def test_what_is_compiled_already_starts_nothing(started, monkeypatch):
    monkeypatch.setattr(first_time, "_is_cached", lambda: True)
    with first_time.joint_compiled_beside():
        pass
    assert started == []


def test_the_other_process_is_waited_for(started, monkeypatch):
    monkeypatch.setattr(first_time, "_is_cached", lambda: False)
    with first_time.joint_compiled_beside():
        assert started[0].poll() is None
    assert started[0].returncode == 0


def test_an_interrupt_stops_it(started, monkeypatch):
    monkeypatch.setattr(first_time, "_is_cached", lambda: False)
    with pytest.raises(KeyboardInterrupt), first_time.joint_compiled_beside():
        raise KeyboardInterrupt
    assert started[0].returncode not in (None, 0)


def test_one_processor_or_no_python_to_start_is_no_trouble(started, monkeypatch):
    monkeypatch.setattr(first_time, "_is_cached", lambda: False)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    with first_time.joint_compiled_beside():
        assert started == []
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(sys, "executable", "")
    with first_time.joint_compiled_beside():
        assert started == []

    def none(*_, **__):
        raise OSError("no such program")

    monkeypatch.setattr(sys, "executable", "python")
    monkeypatch.setattr(subprocess, "Popen", none)
    with first_time.joint_compiled_beside():
        pass


def test_the_cache_is_where_it_looks():
    import bayeslmm.engine.joint  # noqa: F401  compiles it, or finds it

    assert first_time._is_cached()
