"""BLAS has one thread while threads of ours call it, and what it had before afterwards."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm.engine import loo

# a process of its own: tests hold BLAS to one thread, and of such limits threadpoolctl lets none stand within another
HELD = """
import threadpoolctl
from bayeslmm.tools.blas import one_blas_thread
def threads():
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}
with one_blas_thread:
    with one_blas_thread:
        pass
    held = threads()
print(held, threads())
"""


def test_it_is_held_until_all_have_left():
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, env=env, check=True)
    assert run.stdout.split() == ["{1}", "{2}" if (os.cpu_count() or 1) > 1 else "{1}"]


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")
def test_leaving_out_beside_smooths_holds_it(monkeypatch):
    x = np.linspace(0.0, 1.0, 40)
    data = {"y": np.sin(6.0 * x) + 0.1 * np.cos(50.0 * x), "x": x}
    post = blm.Model("y ~ s(x, k=5)", data).fit(draws=50, tune=50, chains=2, random_seed=1, progressbar=False)
    seen, in_pieces = [], loo.in_pieces

    def watched(work, *args, **options):
        seen.append(loo.one_blas_thread._entered)
        in_pieces(work, *args, **options)

    monkeypatch.setattr(loo, "in_pieces", watched)
    post.loo()
    assert seen and min(seen) == 1
    assert loo.one_blas_thread._entered == 0
