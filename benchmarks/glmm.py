"""Point fits of other families beside glmer, glmmTMB and Python packages, where they are: benchmarks/glmm.py --help.

The references of the tests, and two larger simulated models; one thread, models made and fitted, medians of some runs.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import report
from peers import Peer

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
  processor <- function(i) sum(system.time(fit <<- suppressWarnings(f()))[c("user.self", "sys.self")])
  seconds <- sapply(1:{repeats}, processor)
  c(median(seconds), as.numeric(logLik(fit)))
}}
say <- function(name, f) tryCatch({{
  setTimeLimit(elapsed = {patience}, transient = TRUE)
  cat(name, timed(f), "\\n")
}}, error = function(e) if (grepl("time limit", conditionMessage(e))) cat(name, "Inf NaN\\n"))
formula <- {formula}
if ({glmer}) say("glmer", function() glmer(formula, d, family = {family}))
if ({glmer} && {scalar}) say("glmer25", function() glmer(formula, d, family = {family}, nAGQ = 25))
if (ok) say("glmmTMB", function() glmmTMB::glmmTMB(formula, d, family = {tmb}))
"""
PEERS = ("mixedlm", "lme-python")  # of families that they have
OF_PEERS = {"bernoulli": "binomial", "binomial": "binomial", "poisson": "poisson"}
NODES = 25
CLOSE = 0.05  # log likelihoods of another optimum, or another function, are not compared


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
        start = time.process_time()
        answer = run()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), answer


def by_r(model: dict[str, Any], data: pd.DataFrame, repeats: int, patience: float) -> dict[str, tuple[float, float]]:
    """Seconds and log likelihood by program, of those that R has and that take the family; infinite beyond patience."""
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
            patience=patience,
            factors=", ".join(f'"{column}"' for column in model.get("factors", {})),
            formula=left,
            family=family + link,
            scalar=str(is_scalar(model)).upper(),
            glmer=str(family not in ("nbinom2", "beta_family")).upper(),
            tmb=("glmmTMB::" if family in ("nbinom2", "beta_family") else "") + family + link,
        )
        # R looks at its limit between calls of compiled code, which may not end
        everything = ["timeout", f"{4 * patience:g}", "Rscript", "-e", script]
        printed = subprocess.run(everything, capture_output=True, text=True, env=report.one_thread(), check=False)
    lines = [line.split() for line in printed.stdout.splitlines()]
    return {line[0]: (float(line[1]), float(line[2])) for line in lines if len(line) == 3}


def is_scalar(model: dict[str, Any]) -> bool:
    """Whether there is one bar with one effect a level, which all programs integrate out by quadrature."""
    bars = re.findall(r"\(([^()|]*)\|", model["formula"])
    return len(bars) == 1 and bars[0].strip() == "1" and "/" not in model["formula"]


def by_peers(
    peers: dict[str, Peer], model: dict[str, Any], data: pd.DataFrame, repeats: int
) -> dict[str, tuple[float, float]]:
    """Seconds and log likelihood by Python package, of those that answer."""
    if model["family"] not in OF_PEERS:
        return {}
    trials = re.match(r"p\(\w+,\s*(\w+)\)", model["formula"])
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.csv")
        data.to_csv(path, index=False)
        columns = re.findall(r"\|\s*(\w+)", model["formula"])
        task = {
            "formula": model["formula"],
            "family": OF_PEERS[model["family"]],
            "link": model["link"],
            "offset": model["offset"],
            "trials": trials and trials[1],
            "factors": sorted({*model.get("factors", {}), *columns} - {model.get("response")}),
            "file": str(path),
            "repeats": repeats,
            "nodes": 1,
        }
        for name, peer in peers.items():
            answer = peer.ask(task)
            if "error" not in answer:
                answers[name] = (answer["seconds"], -0.5 * answer["criterion"])
            elif answer["error"].startswith("no answer within"):
                answers[name] = (math.inf, math.nan)
    return answers


def row_of(
    name: str, ours: dict[str, float | None], loglik: float, others: dict[str, tuple[float, float]], patience: float
) -> dict[str, str]:
    """A line of the table: processor ms, and of others how many times as long they take."""
    row = {"model": name}
    row |= {way: report.number(None if seconds is None else 1e3 * seconds) for way, seconds in ours.items()}
    for program in ("glmer", "glmmTMB", *PEERS, "glmer25"):
        if program not in others:
            row[f"{program} /"] = report.ABSENT
            continue
        seconds, value = others[program]
        if math.isinf(seconds):
            row[f"{program} /"] = f"over {patience:g} s"
            continue
        of_ours = ours["nAGQ=25 ms" if program == "glmer25" else "Laplace ms"]
        ratio = report.number(seconds / of_ours if of_ours else None)
        off = value - loglik if program not in PEERS else 0.0  # these leave constants out, each its own
        row[f"{program} /"] = ratio if program == "glmer25" or abs(off) < 1e-3 else f"{ratio} ({off:+.1g})"
    return row


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", default="", help="beginnings of names, separated by commas")
    parser.add_argument("--python", default=".venv/peers/bin/python", help="of the environment with other packages")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds a program may take for all its runs")
    parser.add_argument("--no-write", action="store_true", help="print only, leave README.md alone")
    options = parser.parse_args(arguments)
    wanted = tuple(part.strip() for part in options.models.split(",") if part.strip())
    if not shutil.which("Rscript"):
        print("R is not installed: without glmer and glmmTMB.")
    there = Path(options.python).exists()
    peers = {package: Peer(options.python, package, options.patience) for package in PEERS if there}
    rows, slower = [], []
    for name, model, data in (*references(), *simulated()):
        if wanted and not name.startswith(wanted):
            continue

        def fit(nodes: int | None, model: dict[str, Any] = model, data: pd.DataFrame = data) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", blm.errors.BayesLMMWarning)
                return blm.Model(
                    model["formula"], data, family=model["family"], link=model["link"], offset=model["offset"]
                ).fit_ml(nAGQ=nodes)

        laplace, answer = median_time(partial(fit, 1), options.repeats)
        ours: dict[str, float | None] = {
            "Laplace ms": laplace,
            "default ms": median_time(partial(fit, None), options.repeats)[0],
        }
        by_rule = is_scalar(model) and model["family"] not in ("gaussian",)
        ours["nAGQ=25 ms"] = median_time(partial(fit, NODES), options.repeats)[0] if by_rule else None
        others = by_r(model, data, options.repeats, options.patience) | by_peers(peers, model, data, options.repeats)
        rows.append(row_of(name, ours, answer.loglik, others, options.patience))
        slower += [
            f"{name} ({program})"
            for program, (seconds, value) in others.items()
            if program != "glmer25" and seconds < laplace and (program in PEERS or value > answer.loglik - CLOSE)
        ]
        print("  ".join(rows[-1].values()), flush=True)
    for peer in peers.values():
        peer.close()
    facts = {
        "Machine": report.machine(),
        "Threads": "one for each process; times are the processor's",
        "Versions": report.versions("numpy", "numba", "bayeslmm"),
        "Command": f"`{report.command('glmm.py', sys.argv[1:])}`",
    }
    text = "\n\n".join(
        [report.facts(facts), report.table(rows), f"Slower than another: {', '.join(slower) or 'nowhere'}."]
    )
    print(f"\n{text}")
    if not options.no_write:
        report.write_between("glmm", text)


if __name__ == "__main__":
    main()
