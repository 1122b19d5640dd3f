"""Settings shared by all tests."""

import functools
import os
import pathlib
import sys

import pytest
from hypothesis import HealthCheck, settings

# one thread a worker of pytest-xdist: small problems, and more threads than cores only wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

TESTS = pathlib.Path(__file__).parent
sys.path.insert(0, str(TESTS))  # plain.py, strategies.py

import shifted  # noqa: E402

if shifted.SHIFT:  # before anything takes a seed
    shifted.install()

# the one data set that is not bundled: tests that need it skip where this folder is absent
SHARED_DATA = TESTS.parent.parent / "shared" / "data"
if SHARED_DATA.is_dir():
    os.environ.setdefault("BAYESLMM_DATA", str(SHARED_DATA))

settings.register_profile(
    "bayeslmm",
    deadline=None,  # the first example loads the compiled kernel
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is not a broken law
    derandomize="LAWS" not in os.environ,  # the same examples in every run, but for `make laws`
    print_blob=True,
)
settings.load_profile("bayeslmm")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """Mark what slow.txt lists, which `make slow-tests` writes; one in four is tried before a change is taken."""
    names = set((TESTS / "slow.txt").read_text(encoding="utf-8").splitlines())
    for item in items:
        if item.nodeid in names:
            item.add_marker(pytest.mark.slow)
    for item in sorted((each for each in items if each.get_closest_marker("slow")), key=lambda each: each.nodeid)[::4]:
        item.add_marker(pytest.mark.thinned)


def _processor_seconds():
    """What this process and those it waited for have computed: the same on a busy machine, unlike the wall's."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Remember when a test began, fixtures that it is the first to need included."""
    item.processor_start = _processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    """Write beside each test of a report what it computed, for `make slow-tests`."""
    item.user_properties.append(("processor_seconds", round(_processor_seconds() - item.processor_start, 3)))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Count the examples of a law."""
    law = getattr(getattr(item, "obj", None), "hypothesis", None)
    if law is None:
        return (yield)
    test, tried = law.inner_test, [0]

    @functools.wraps(test)
    def counted(*arguments, **named):
        tried[0] += 1
        return test(*arguments, **named)

    law.inner_test = counted
    try:
        return (yield)
    finally:
        law.inner_test = test
        item.user_properties.append(("examples", tried[0]))


def pytest_terminal_summary(terminalreporter, config):
    """Under `make laws` say which law was tried on how many examples, and from which seed."""
    if "LAWS" not in os.environ:
        return
    tried = {
        report.nodeid: dict(report.user_properties)["examples"]
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call" and "examples" in dict(report.user_properties)
    }
    terminalreporter.section("examples of every law")
    for law in sorted(tried):
        terminalreporter.write_line(f"{tried[law]:7,d}  {law.removeprefix('tests/')}")
    seed = config.getoption("--hypothesis-seed", default=None)
    terminalreporter.write_line(f"{sum(tried.values()):7,d}  in all, of {len(tried)} laws; seed {seed}")
