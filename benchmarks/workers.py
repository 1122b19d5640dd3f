"""The Python processes that reml.py measures, each named by an argument: ours, statsmodels, cold or bootstrap.

`ours` and `statsmodels` stay alive: a line of JSON for each model on standard input, a line back on standard output.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

Task = Mapping[str, Any]
Answer = dict[str, Any]

SLOW = 0.5  # seconds from which on a fit is repeated less often
REPEATS_FAST, REPEATS_SLOW = 21, 5


def repeats_for(seconds: float, wanted: int | None) -> int:
    return wanted or (REPEATS_FAST if seconds < SLOW else REPEATS_SLOW)


def timed(
    run: Callable[[], Any], wanted: int | None, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, int, Any]:
    """Median seconds, number of runs, and what the last one returned; one more run before goes unmeasured."""
    run()
    seconds: list[float] = []
    while not seconds or len(seconds) < repeats_for(seconds[0], wanted):
        start = clock()
        result = run()
        seconds.append(clock() - start)
    return median(seconds), len(seconds), result


# ---- ours ------------------------------------------------------------------------------------------------


def ours() -> Iterator[Answer]:
    import report

    import bayeslmm

    warnings.simplefilter("ignore", bayeslmm.errors.BayesLMMWarning)
    _sleepstudy_fit(bayeslmm)
    yield {
        "versions": report.versions("numpy", "scipy", "numba", "pandas", "bayeslmm"),
        "blas": report.blas_of_python(),
    }
    yield from answers(lambda task: fit_ours(bayeslmm, task))


def fit_ours(bayeslmm: Any, task: Task) -> Answer:
    data = bayeslmm.load_dataset(task["data"])

    def run() -> Any:
        model = bayeslmm.Model(task["formula"], data)
        return model.fit_reml() if task["reml"] else model.fit_ml()

    seconds, runs, fit = timed(run, task["repeats"])
    return {
        "seconds": seconds,
        "runs": runs,
        "criterion": fit.criterion,
        "evaluations": fit.solution.evaluations,
        "rows": fit.nobs,
        "status": fit.solution.status,
    }


def _sleepstudy_fit(bayeslmm: Any) -> Any:
    return bayeslmm.Model("Reaction ~ Days + (Days | Subject)", bayeslmm.load_dataset("sleepstudy")).fit_reml()


# ---- statsmodels -----------------------------------------------------------------------------------------


def statsmodels() -> Iterator[Answer]:
    import statsmodels as package
    import statsmodels.formula.api as smf

    import bayeslmm

    warnings.simplefilter("ignore")
    yield {"versions": f"statsmodels {package.__version__}"}
    yield from answers(lambda task: fit_statsmodels(smf.mixedlm, bayeslmm.load_dataset, task))


def fit_statsmodels(mixedlm: Any, load_dataset: Any, task: Task) -> Answer:
    data, group = load_dataset(task["data"]), task["group"]
    if ":" in group:  # MixedLM takes a column, so the levels of an interaction are pasted beforehand
        columns = group.split(":")
        data["pasted"] = data[columns].astype(str).agg(":".join, axis=1)
        group = "pasted"

    def run() -> Any:
        model = mixedlm(task["fixed"], data, groups=group, re_formula=task["random"], missing="drop")
        fit = model.fit(reml=task["reml"])
        fit.bse, fit.random_effects  # noqa: B018  (computed when first asked for)
        return fit

    seconds, runs, fit = timed(run, task["repeats"])
    return {"seconds": seconds, "runs": runs, "criterion": -2.0 * float(fit.llf)}


# ---- processes that answer once --------------------------------------------------------------------------


def cold() -> Iterator[Answer]:
    """First steps of a new process; the driver decides whether the cache of compiled loops is empty."""
    marks = [time.perf_counter()]
    import bayeslmm

    marks.append(time.perf_counter())
    bayeslmm.load_dataset("sleepstudy")
    marks.append(time.perf_counter())
    for _ in range(2):
        _sleepstudy_fit(bayeslmm)
        marks.append(time.perf_counter())
    steps = ("import", "data", "first", "second")
    yield {name: end - start for name, start, end in zip(steps, marks, marks[1:], strict=False)}


def bootstrap() -> Iterator[Answer]:
    import bayeslmm

    task = json.loads(sys.stdin.readline())
    warnings.simplefilter("ignore", bayeslmm.errors.BayesLMMWarning)
    fit = bayeslmm.Model(task["formula"], bayeslmm.load_dataset(task["data"])).fit_reml()
    start = time.perf_counter()
    try:
        table = fit.confint(method="boot", draws=task["draws"], random_seed=1, cores=task["cores"], progressbar=False)
    except (AttributeError, TypeError) as error:
        yield {"error": f"this version has no bootstrap intervals ({error})"}
        return
    seconds = time.perf_counter() - start
    slope = table[table["term"] == task["term"]].iloc[0]
    yield {"seconds": seconds, "low": float(slope["conf_low"]), "high": float(slope["conf_high"])}


# ---- the conversation ------------------------------------------------------------------------------------


def answers(handle: Callable[[Task], Answer]) -> Iterator[Answer]:
    for line in sys.stdin:
        try:
            yield handle(json.loads(line))
        except Exception as error:  # one model that a package cannot fit must not end the run
            yield {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    run = {"ours": ours, "statsmodels": statsmodels, "cold": cold, "bootstrap": bootstrap}[sys.argv[1]]
    replies, channel = run(), sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what a library prints must not look like an answer
        for reply in replies:
            channel.write(json.dumps(reply) + "\n")
            channel.flush()


if __name__ == "__main__":
    main()
