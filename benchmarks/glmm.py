"""Point fits of other families side by side with glmer and glmmTMB, where R has them: python benchmarks/glmm.py --help.

The references of the tests, and two larger simulated models; one thread, models made and fitted, medians of some runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import report

import bayeslmm as blm

REFERENCE = report.FOLDER.parent / "tests" / "reference"
R_FAMILIES = {
    "bernoulli": "binomial",
    "binomial": "binomial",
    "poisson": "poisson",
    "gamma": "Gamma",
    "negbinomial": "nbinom2",
    "beta": "beta_family",
}
R_SCRIPT = """
suppressMessages({{library(lme4); ok <- requireNamespace("glmmTMB", quietly = TRUE)}})
d <- read.csv({data!r}, stringsAsFactors = TRUE)
for (column in c({factors})) d[[column]] <- factor(d[[column]])  # numbers in a file that are categories here
timed <- function(f) {{
  seconds <- sapply(1:{repeats}, function(i) system.time(fit <<- suppressWarnings(f()))["elapsed"])
  c(median(seconds), as.numeric(logLik(fit)))
}}
say <- function(name, f) tryCatch(cat(name, timed(f), "\\n"), error = function(e) NULL)
formula <- {formula}
if ({glmer}) say("glmer", function() glmer(formula, d, family = {family}))
if (ok) say("glmmTMB", function() glmmTMB::glmmTMB(formula, d, family = {tmb}))
"""


def references() -> Iterator[tuple[str, dict[str, Any], pd.DataFrame]]:
    for name, fit in json.loads((REFERENCE / "glmm.json").read_text(encoding="utf-8")).items():
        data = pd.read_csv(REFERENCE / "glmm_data" / f"{fit['data']}.gz")
        for column, levels in fit["factors"].items():
            ordered = bool(fit["ordered"]) and column == fit["response"]
            data[column] = pd.Categorical(data[column].astype(str), categories=levels, ordered=ordered)
        if not fit["restricted"]:
            yield name, fit, data


def simulated() -> Iterator[tuple[str, dict[str, Any], pd.DataFrame]]:
    rng = np.random.default_rng(1)
    person, item = np.repeat(np.arange(316), 24), np.tile(np.arange(24), 316)
    eta = 1.3 * rng.normal(size=316)[person] + rng.normal(size=24)[item]
    d = pd.DataFrame({"y": rng.random(len(eta)) < 1.0 / (1.0 + np.exp(-eta)), "person": person, "item": item})
    d = d.assign(y=d.y.astype(int), x=rng.normal(size=len(d)))
    options = {"family": "bernoulli", "link": "logit", "offset": None}
    yield "7,584 rows, 316 x 24", {"formula": "y ~ x + (1 | person) + (1 | item)", **options}, d
    g, x = rng.integers(0, 2000, 50_000), rng.normal(size=50_000)
    y = rng.random(50_000) < 1.0 / (1.0 + np.exp(-0.5 * x - rng.normal(size=2000)[g]))
    yield (
        "50,000 rows, 2,000",
        {"formula": "y ~ x + (1 | g)", **options},
        pd.DataFrame({"y": y.astype(int), "x": x, "g": g}),
    )


def median_time(run: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    seconds, answer = [], run()  # the first loads the loops
    for _ in range(repeats):
        start = time.perf_counter()
        answer = run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), answer


def by_r(model: dict[str, Any], data: pd.DataFrame, repeats: int) -> dict[str, tuple[float, float]]:
    """Seconds and log likelihood by program, of those that R has and that take the family."""
    if not shutil.which("Rscript") or model["family"] not in R_FAMILIES:
        return {}
    family, left = R_FAMILIES[model["family"]], model["formula"]
    if left.startswith("p("):
        counts, right = left[2:].split(")", 1)
        successes, trials = (part.strip() for part in counts.split(","))
        left = f"cbind({successes}, {trials} - {successes}){right}"
    if model["offset"]:
        left += f" + offset({model['offset']})"
    link = f'("{model["link"]}")'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.csv")
        data.to_csv(path, index=False)
        script = R_SCRIPT.format(
            data=str(path),
            repeats=repeats,
            factors=", ".join(f'"{column}"' for column in model.get("factors", {})),
            formula=left,
            family=family + link,
            glmer=str(family not in ("nbinom2", "beta_family")).upper(),
            tmb=("glmmTMB::" if family in ("nbinom2", "beta_family") else "") + family + link,
        )
        told = subprocess.run(
            ["Rscript", "-e", script], capture_output=True, text=True, env=report.one_thread(), check=False
        )
    lines = [line.split() for line in told.stdout.splitlines()]
    return {line[0]: (float(line[1]), float(line[2])) for line in lines if len(line) == 3}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", default="", help="beginnings of names, separated by commas")
    options = parser.parse_args(arguments)
    wanted = tuple(part.strip() for part in options.models.split(",") if part.strip())
    if not shutil.which("Rscript"):
        print("R is not installed: our times alone.")
    print(f"{'model':28}{'seconds':>9}{'logLik':>13}  R: seconds (difference in logLik)")
    for name, model, data in (*references(), *simulated()):
        if wanted and not name.startswith(wanted):
            continue

        def fit(model: dict[str, Any] = model, data: pd.DataFrame = data) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", blm.errors.BayesLMMWarning)
                return blm.Model(
                    model["formula"], data, family=model["family"], link=model["link"], offset=model["offset"]
                ).fit_ml()

        seconds, answer = median_time(fit, options.repeats)
        others = by_r(model, data, options.repeats)
        told = ", ".join(f"{k} {s:.2f} ({value - answer.loglik:+.1e})" for k, (s, value) in others.items())
        print(f"{name:28}{seconds:9.3f}{answer.loglik:13.4f}  {told}", flush=True)


if __name__ == "__main__":
    main()
