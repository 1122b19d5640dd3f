"""Time and memory of a fit as the data grow: python benchmarks/growth.py --help."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import report

Answer = dict[str, Any]

FORMULA = "y ~ x + (x | g)"
SIZES = (10**4, 10**5, 10**6, 10**7)
MOST_GROUPS = 10**5
CHUNK = 250_000  # rows simulated at once, so that simulating takes less memory than fitting
BETA = (2.0, 0.5)
SDS, CORRELATION = (1.0, 0.5), 0.3
SIGMA = 1.5
NEAR = 4.0  # standard errors
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    name: str
    truth: float
    value: float
    error: float  # standard error

    @property
    def distance(self) -> float:
        return abs(self.value - self.truth) / self.error


# ---- in the child process --------------------------------------------------------------------------------


def measure(rows: int, repeats: int) -> Answer:
    import bayeslmm

    bayeslmm.Model(FORMULA, simulate(1000)).fit_reml()  # imports and compiled loops are not what is measured
    data = simulate(rows)
    before = memory_now()
    designs, fits, totals = [], [], []
    for _ in range(repeats):
        model = fit = None  # memory of one fit, not of two
        begin = time.perf_counter()
        model = bayeslmm.Model(FORMULA, data)
        built = time.perf_counter()
        fit = model.fit_reml()
        end = time.perf_counter()
        designs.append(built - begin)
        fits.append(end - built)
        totals.append(end - begin)
    found = estimates(fit)
    return {
        "rows": rows,
        "groups": fit.ngroups["g"],
        "design": median(designs),
        "fit": median(fits),
        "total": median(totals),
        "frame": float(data.memory_usage().sum()),
        "extra": peak_memory() - before,
        "evaluations": fit.solution.evaluations,
        "status": fit.solution.status,
        "estimates": [estimate.value for estimate in found],
        "distance": max(estimate.distance for estimate in found),
        "versions": report.versions("numpy", "scipy", "numba", "pandas", "bayeslmm"),
        "blas": report.blas_of_python(),
    }


def simulate(rows: int) -> Any:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(20)
    groups = min(MOST_GROUPS, rows // 10)
    covariance = np.outer(SDS, SDS) * [[1.0, CORRELATION], [CORRELATION, 1.0]]
    b = rng.multivariate_normal([0.0, 0.0], covariance, size=groups)
    g, x, y = np.empty(rows, np.int64), np.empty(rows), np.empty(rows)
    for at in range(0, rows, CHUNK):
        part = slice(at, min(at + CHUNK, rows))
        size = part.stop - part.start
        g[part] = rng.integers(groups, size=size)
        x[part] = rng.normal(size=size)
        own = b[g[part]] + BETA
        y[part] = own[:, 0] + own[:, 1] * x[part] + SIGMA * rng.normal(size=size)
    return pd.DataFrame({"g": g, "x": x, "y": y}, copy=False)


def estimates(fit: Any) -> list[Estimate]:
    """Estimates beside the truth; standard errors of the variances as for balanced groups."""
    import numpy as np

    n, groups = fit.nobs, fit.ngroups["g"]
    covariance = fit.var_corr()["g"].to_numpy()
    sds = np.sqrt(np.diag(covariance))
    noise = 1.0 + SIGMA**2 / (n / groups) / np.square(SDS)  # variance of a group's own estimate / true variance
    correlation = covariance[0, 1] / sds.prod()
    return [
        *map(_estimate, ("intercept", "slope"), BETA, fit.solution.beta, np.sqrt(np.diag(fit.solution.vcov))),
        *map(_estimate, ("sd", "sd of slopes"), SDS, sds, SDS * noise / np.sqrt(2.0 * groups)),
        _estimate("correlation", CORRELATION, correlation, np.sqrt(noise.prod() / groups)),
        _estimate("sigma", SIGMA, fit.sigma, SIGMA / np.sqrt(2.0 * (n - 2 * groups))),
    ]


def _estimate(name: str, truth: float, value: float, error: float) -> Estimate:
    return Estimate(name=name, truth=truth, value=float(value), error=float(error))


def memory_now() -> float:
    """Bytes of memory this process occupies; its peak so far where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_memory()
    return float(pages * resource.getpagesize())


def peak_memory() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


# ---- the driver ------------------------------------------------------------------------------------------


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=float, default=max(SIZES), help="largest number of rows (such as 1e6)")
    parser.add_argument("--repeats", type=int, default=3, help="fits a size; the median counts")
    parser.add_argument("--no-write", action="store_true", help="print only, leave README.md alone")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def run_child(rows: int, repeats: int) -> Answer:
    run = subprocess.run(
        [sys.executable, __file__, "--child", str(rows), "--repeats", str(repeats)],
        env=report.one_thread(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


def row_of(answer: Mapping[str, Any]) -> dict[str, str]:
    rows = answer["rows"]
    return {
        "rows": f"{rows:,}",
        "groups": f"{answer['groups']:,}",
        "Model() s": report.number(answer["design"]),
        "fit_reml() s": report.number(answer["fit"]),
        "total s": report.number(answer["total"]),
        "µs a row": report.number(1e6 * answer["total"] / rows),
        "evaluations": str(answer["evaluations"]),
        "data frame MB": report.number(answer["frame"] / MEGABYTE),
        "on top at the peak MB": report.number(answer["extra"] / MEGABYTE),
        "bytes a row": report.number(answer["extra"] / rows),
        "largest distance from the truth, s.e.": f"{answer['distance']:.1f}",
    }


def verdict(answers: Sequence[Mapping[str, Any]]) -> str:
    far = [f"{a['rows']:,} rows" for a in answers if not a["distance"] < NEAR or a["status"] != "converged"]
    if far:
        return f"**Estimates that are not near the truth, or not converged: {', '.join(far)}.**"
    largest = ", ".join(f"{value:.4f}" for value in answers[-1]["estimates"])
    return (
        f"Every estimate lies within {NEAR:g} standard errors of the truth. Intercept, slope, their two sds over "
        f"groups, their correlation and sigma with {answers[-1]['rows']:,} rows: {largest}; the truth: "
        f"{', '.join(f'{value:g}' for value in (*BETA, *SDS, CORRELATION, SIGMA))}."
    )


def compose(answers: Sequence[Mapping[str, Any]], arguments: Sequence[str]) -> str:
    circumstances = {
        "Machine": report.machine(),
        "Threads": "one",
        "Versions": answers[0]["versions"],
        "BLAS": answers[0]["blas"],
        "Command": f"`{report.command('growth.py', arguments)}`",
    }
    rows = [row_of(answer) for answer in answers]
    return "\n\n".join([report.facts(circumstances), report.table(rows, left=0), verdict(answers)])


def main() -> None:
    options = parse_arguments()
    if options.child:
        print(json.dumps(measure(options.child, options.repeats)))
        return
    answers = []
    for rows in (size for size in SIZES if size <= options.most):
        answers.append(run_child(rows, options.repeats))
        print("  ".join(row_of(answers[-1]).values()), flush=True)
    if not answers:
        raise SystemExit(f"--most {options.most:g}: the smallest size is {min(SIZES):,} rows")
    text = compose(answers, sys.argv[1:])
    print(f"\n{text}")
    if not options.no_write:
        report.write_between("growth", text)


if __name__ == "__main__":
    main()
