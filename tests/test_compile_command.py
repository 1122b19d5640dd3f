"""``bayeslmm compile`` shares its work between two processes, and says what it does."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from bayeslmm.cli import compile_loops

WORDS = dict.fromkeys(compile_loops.LOOPS)


@pytest.fixture
def compiled(monkeypatch):
    """Which loops this process has compiled, with nothing to do in place of it."""
    done = []
    loops = {name: (words, lambda name=name: done.append(name)) for name, (words, _) in compile_loops.LOOPS.items()}
    monkeypatch.setattr(compile_loops, "LOOPS", loops)
    return done


class Child:
    """A second process that has ended."""

    def __init__(self, code):
        self.code, self.killed = code, False

    def wait(self):
        return self.code

    def kill(self):
        self.killed = True


def test_alone_it_compiles_everything_once(compiled, monkeypatch, capsys):
    monkeypatch.setattr(compile_loops, "_beside", lambda names: None)
    assert compile_loops.run_compile(argparse.Namespace()) == 0
    assert sorted(compiled) == sorted(WORDS)
    shown = capsys.readouterr().out
    for words, _ in compile_loops.LOOPS.values():
        assert f"... {words}\n" in shown
        assert f"    {words}: 0.0 s\n" in shown


@pytest.mark.parametrize(("code", "again"), [(0, False), (1, True)])
def test_a_second_process_takes_a_part_and_what_it_leaves_is_done_here(compiled, monkeypatch, code, again):
    taken = []
    monkeypatch.setattr(compile_loops, "_beside", lambda names: taken.extend(names) or Child(code))
    compile_loops.run_compile(argparse.Namespace())
    assert taken
    assert set(compiled) == (set(WORDS) if again else set(WORDS) - set(taken))


def test_an_interrupt_stops_the_second_process(compiled, monkeypatch):
    child = Child(0)

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(compile_loops, "_beside", lambda names: child)
    monkeypatch.setitem(compile_loops.LOOPS, "search", ("the search", interrupted))
    with pytest.raises(KeyboardInterrupt):
        compile_loops.run_compile(argparse.Namespace())
    assert child.killed


def test_the_second_process_finds_its_part(monkeypatch):
    started = []
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", lambda command: started.append(command))
        compile_loops._beside(["nuts", "quadrature"])
    code = started[0][2].replace("loops.compile_each(", "print(")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert shown.strip() == "['nuts', 'quadrature']"


def test_one_processor_starts_none(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert compile_loops._beside(["nuts"]) is None
