"""Ctrl-C, killed workers, full disks, and several processes that compile at once: each in processes of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bayeslmm as blm

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and limits of Linux")

BEGIN = """
import os, resource, signal, sys, threading, time, warnings
import numpy as np
import pandas as pd
import bayeslmm as blm

warnings.simplefilter("ignore")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have told what it starts to ignore it
model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
reml = model.fit_reml()
few = {"draws": 100, "chains": 2, "random_seed": 1, "progressbar": False}
post = model.fit(**few)
"""

INTERRUPTED = """
long = {"cores": 2, "random_seed": 1, "progressbar": False}
data = pd.DataFrame({"g": np.arange(4000) % 200, "y": np.random.default_rng(1).integers(0, 2, 4000)})
yes_or_no = blm.Model("y ~ 1 + (1 | g)", data, family="bernoulli")
yes_or_no.fit(tune=50, **few)
reml.bootstrap(2, cores=2, progressbar=False)
calls = {
    "exact": lambda: model.fit(draws=2_000_000, **long),
    "nuts": lambda: yes_or_no.fit(draws=1_000_000, **long),
    "bootstrap": lambda: reml.bootstrap(1_000_000, **long),
}
threads, answer = threading.active_count(), signal.getsignal(signal.SIGINT)
threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
started = time.perf_counter()
try:
    calls[sys.argv[1]]()
except KeyboardInterrupt:
    print("interrupted after", round(time.perf_counter() - started), "s")
assert signal.getsignal(signal.SIGINT) is answer
assert np.array_equal(model.fit(**few).draws("b_Subject"), post.draws("b_Subject"))
assert model.fit_reml().tidy().equals(reml.tidy())
assert len(yes_or_no.fit(tune=50, **few).draws("beta"))
two, one = (reml.bootstrap(4, cores=cores, random_seed=3, progressbar=False) for cores in (2, 1))
assert two.equals(one)
print("usable")
"""

KILLED = """
def kill_one():
    for _ in range(300):
        time.sleep(0.1)
        for name in os.listdir("/proc"):
            try:
                parent = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[1] if name.isdigit() else ""
                command = open(f"/proc/{name}/cmdline").read() if parent == str(os.getpid()) else ""
            except OSError:  # it has ended meanwhile
                continue
            if "popen_loky" in command:
                time.sleep(1.0)
                os.kill(int(name), signal.SIGKILL)
                return

threading.Thread(target=kill_one, daemon=True).start()
try:
    reml.bootstrap(1_000_000, cores=2, random_seed=1, progressbar=False)
except blm.errors.BayesLMMError as error:
    print(type(error).__name__, error)
assert len(reml.bootstrap(4, cores=2, random_seed=3, progressbar=False)) == 4
print("usable")
"""

FULL = """
path = sys.argv[1]
before = open(path, "rb").read()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))  # of any file, as a full disk would
for write in (blm.save, blm.report):
    try:
        write(post, path)
    except blm.errors.BayesLMMError as error:
        print(type(error).__name__, error)
    assert open(path, "rb").read() == before
assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
"""

KILLED_WHILE_SAVING = """
write_on = os.fsync
def fsync(descriptor):
    write_on(descriptor)
    print("written", flush=True)
    time.sleep(float(sys.argv[2]))
os.fsync = fsync
blm.save(post, sys.argv[1])
"""

COMPILE = """
import bayeslmm as blm
print(repr(blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy")).loglik))
"""


def run(program, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"} | environment,
    )


def said(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out


@pytest.mark.parametrize("call", ["exact", "nuts", "bootstrap"])
def test_an_interrupt_leaves_a_usable_session(call):
    out = said(run(BEGIN + INTERRUPTED, call))
    assert out.startswith("interrupted after") and out.endswith("usable\n"), out


def test_a_killed_worker_is_told():
    out = said(run(BEGIN + KILLED))
    assert out.startswith("FitError") and "killed" in out and out.endswith("usable\n"), out


def test_what_does_not_fit_on_the_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "fit.nc"
    path.write_text("the old one")
    told = said(run(BEGIN + FULL, str(path))).splitlines()
    assert len(told) == 2 and all("fit.nc" in line and "File too large" in line for line in told), told


def test_a_killed_save_leaves_nothing_behind_once_the_file_is_saved_again(tmp_path):
    """What another process is writing at that moment, or what other files are called, stays."""
    path = tmp_path / "fit.nc"
    others = [tmp_path / name for name in (".fit.nc.12345678.part.txt", ".fit_nc.12345678.part", ".fit.nc.part")]
    for other in others:
        other.write_text("of somebody else")
    killed, busy = (run(BEGIN + KILLED_WHILE_SAVING, str(path), seconds) for seconds in ("600", "20"))
    try:
        assert killed.stdout.readline() == busy.stdout.readline() == "written\n"
        killed.kill()
        killed.communicate()
        assert len(list(tmp_path.glob(".fit.nc.*.part"))) == 2
        blm.save(blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")), path)
        assert len(list(tmp_path.glob(".fit.nc.*.part"))) == 1
        said(busy)
    finally:
        killed.kill()
        busy.kill()
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])
    assert "Days" in str(blm.load(path).summary())


@pytest.fixture
def package(tmp_path):
    """A copy of the package that has compiled nothing."""
    whole = Path(blm.__file__).parent
    shutil.copytree(whole, tmp_path / "bayeslmm", ignore=shutil.ignore_patterns("*.nb?"))
    return tmp_path


def test_processes_that_compile_at_once_and_a_cache_that_was_damaged(package):
    """What one writes, another may read half-way; what a crash left behind is compiled anew."""
    where = {"PYTHONPATH": str(package), "NUMBA_CACHE_DIR": str(package / "cache")}
    both = [run(COMPILE, **where) for _ in range(2)]
    answers = {said(process) for process in both}
    assert len(answers) == 1
    kept = sorted((package / "cache").rglob("*.nb?"))
    assert len(kept) > 4
    for k, file in enumerate(kept):
        content = file.read_bytes()
        file.write_bytes((content[: len(content) // 2], b"", b"nonsense" * 100)[k % 3])
    answers |= {said(run(COMPILE, **where)), said(run(COMPILE, **where))}
    assert len(answers) == 1
