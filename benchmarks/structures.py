"""Structures of effects side by side with nlme, glmmTMB, metafor and mgcv: python benchmarks/structures.py --help.

The data of the tests' references and larger simulated ones; one thread, models made and fitted by REML, medians of some
runs. Programs without a peer have our time alone.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import report
from glmm import median_time

import bayeslmm as blm

REFERENCE = report.FOLDER.parent / "tests" / "reference" / "structures"
R_SCRIPT = """
suppressMessages(for (p in c("nlme", "mgcv", "metafor", "glmmTMB")) library(p, character.only = TRUE))
d <- read.csv({data!r}, stringsAsFactors = TRUE)
for (column in c({factors})) d[[column]] <- factor(d[[column]])
criterion <- function(f) if (inherits(f, "gam")) f$gcv.ubre[[1]] * 2 else -2 * as.numeric(logLik(f))
say <- function(name, run) tryCatch({{
  seconds <- sapply(1:{repeats}, function(i) system.time(fit <<- suppressWarnings(run()))["elapsed"])
  cat(name, median(seconds), format(criterion(fit), digits = 15), "\\n")
}}, error = function(e) NULL)
{calls}
"""
LME = "lmeControl(maxIter = 200, msMaxIter = 200, opt = 'optim')"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model of ours, and what R programs call it."""

    name: str
    formula: str
    data: pd.DataFrame
    options: dict[str, Any] = field(default_factory=dict)
    factors: tuple[str, ...] = ()
    peers: dict[str, str] = field(default_factory=dict)


def occasions(subjects: int, times: int) -> pd.DataFrame:
    """Subjects whose occasions are alike the nearer they are, measured twice at each."""
    rng = np.random.default_rng(1)
    away = rng.normal(size=(subjects, times))
    for t in range(1, times):
        away[:, t] = 0.7 * away[:, t - 1] + np.sqrt(1 - 0.7**2) * away[:, t]
    n = 2 * subjects * times
    g, t = np.repeat(np.arange(subjects), 2 * times), np.tile(np.repeat(np.arange(times), 2), subjects)
    return pd.DataFrame({"y": away[g, t] + 0.5 * rng.normal(size=n), "x": rng.normal(size=n), "t": t, "g": g})


def studies(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    se, x = rng.uniform(0.1, 0.5, n), rng.normal(size=n)
    y = 0.3 + 0.2 * x + 0.3 * rng.normal(size=n) + se * rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "se": se, "study": np.arange(n)})


def results(n: int, each: int) -> pd.DataFrame:
    """Studies with several results, which differ within and between them."""
    data, rng = studies(n * each), np.random.default_rng(5)
    study = np.arange(n * each) // each
    return data.assign(y=data.y + 0.4 * rng.normal(size=n)[study], study=study, result=np.arange(n * each))


def curve(n: int, groups: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    x, g = rng.uniform(0, 1, n), rng.integers(0, groups, n)
    y = np.sin(8 * x) + rng.normal(size=groups)[g] + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": g})


def pedigree(animals: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Records of animals and their relationships; half of them founders."""
    rng = np.random.default_rng(4)
    A = np.eye(animals)
    for k in range(animals // 2, animals):
        sire, dam = rng.choice(animals // 2, 2, replace=False)
        A[k, :k] = A[:k, k] = (A[sire, :k] + A[dam, :k]) / 2
    value = np.linalg.cholesky(A) @ rng.normal(size=animals)
    rows = np.repeat(np.arange(animals), 3)
    data = pd.DataFrame({"animal": rows, "x": rng.normal(size=len(rows))})
    labels = list(range(animals))
    return data.assign(y=value[rows] + rng.normal(size=len(rows))), pd.DataFrame(A, index=labels, columns=labels)


def cases() -> Iterator[Case]:
    small = pd.read_csv(REFERENCE / "sim_occ.csv")
    large = occasions(500, 8)
    bars = (
        ("cs", "cs(0 + {f} | {g}, hom=True)", "pdCompSymm", None),
        ("diag", "diag(0 + {f} | {g})", "pdDiag", "diag"),
        ("ar1", "ar1(0 + {f} | {g})", None, "ar1"),
    )
    for size, data, f, g, fixed in (
        ("", small, "occasion", "subject", "x + occ"),
        (", 8,000 rows", large, "t", "g", "x"),
    ):
        for name, bar, by_nlme, by_tmb in bars:
            written = bar.format(f=f"C({f})" if f == "t" else f, g=g)
            peers = {}
            if by_nlme:
                peers["nlme"] = (
                    f"lme(y ~ {fixed}, random = list({g} = {by_nlme}(~ 0 + {f})), data = d, control = {LME})"
                )
            if by_tmb:
                peers["glmmTMB"] = f"glmmTMB(y ~ {fixed} + {by_tmb}(0 + {f} | {g}), d, REML = TRUE)"
            yield Case(name=f"{name}{size}", formula=f"y ~ {fixed} + {written}", data=data, factors=(f, g), peers=peers)
    yield Case(
        name="residual ar1, 4,000 rows",
        formula="y ~ x + (1 | g)",
        data=large.iloc[::2],
        options={"residual": "ar1(t | g)"},
        factors=("g",),
        peers={"nlme": "lme(y ~ x, random = ~ 1 | g, correlation = corAR1(form = ~ t | g), data = d)"},
    )
    yield Case(
        name="residual sds by stratum, 8,000 rows",
        formula="y ~ x + (1 | g)",
        data=large,
        options={"sigma": "~ C(t)"},
        factors=("g", "t"),
        peers={"nlme": "lme(y ~ x, random = ~ 1 | g, weights = varIdent(form = ~ 1 | t), data = d)"},
    )
    for name, data in (("13 trials", blm.load_dataset("bcg")), ("500 studies", studies(500))):
        study = "trial" if "trial" in data else "study"
        yield Case(
            name=name,
            formula=f"y ~ 1 + (1 | {study})",
            data=data,
            options={"se": "se"},
            factors=(study,),
            peers={"metafor": "rma(yi = y, sei = se, data = d, method = 'REML')"},
        )
    for name, data in (
        ("schools in districts", blm.load_dataset("konstantopoulos")),
        ("5,000 results in 500 studies", results(500, 10)),
    ):
        outer, inner = ("district", "school") if "district" in data else ("study", "result")
        yield Case(
            name=name,
            formula=f"y ~ 1 + (1 | {outer}/{inner})",
            data=data,
            options={"se": "se"},
            factors=(outer, inner),
            peers={
                "metafor": f"rma.mv(y, se^2, random = ~ 1 | {outer}/{inner}, data = d, method = 'REML', sparse = TRUE)"
            },
        )
    yield Case(
        name="curve",
        formula="accel ~ s(times, k=20, bs='cr')",
        data=pd.read_csv(REFERENCE / "mcycle.csv"),
        peers={"mgcv": "gam(accel ~ s(times, k = 20, bs = 'cr'), data = d, method = 'REML')"},
    )
    yield Case(
        name="curve and groups, 5,000 rows",
        formula="y ~ s(x, k=20, bs='cr') + (1 | g)",
        data=curve(5_000, 50),
        factors=("g",),
        peers={"mgcv": "gam(y ~ s(x, k = 20, bs = 'cr') + s(g, bs = 're'), data = d, method = 'REML')"},
    )
    data, A = pedigree(2_000)
    yield Case(
        name="2,000 animals", formula="y ~ x + (1 | gr(animal, cov=A))", data=data, options={"matrices": {"A": A}}
    )


def by_r(case: Case, repeats: int) -> dict[str, tuple[float, float]]:
    """Seconds and criterion by program, of those that fitted it."""
    if not case.peers or not shutil.which("Rscript"):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.csv")
        case.data.to_csv(path, index=False)
        script = R_SCRIPT.format(
            data=str(path),
            factors=", ".join(f'"{column}"' for column in case.factors),
            repeats=repeats,
            calls="\n".join(f'say("{name}", function() {call})' for name, call in case.peers.items()),
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
    print(f"{'model':38}{'seconds':>9}{'criterion':>13}  R: seconds (difference in its criterion)")
    for case in cases():
        if wanted and not case.name.startswith(wanted):
            continue

        def fit(case: Case = case) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", blm.errors.BayesLMMWarning)
                return blm.Model(case.formula, case.data, **case.options).fit_reml()

        seconds, answer = median_time(fit, options.repeats)
        others = by_r(case, options.repeats)
        told = ", ".join(f"{k} {s:.2f} ({value - answer.criterion:+.1e})" for k, (s, value) in others.items())
        print(f"{case.name:38}{seconds:9.3f}{answer.criterion:13.4f}  {told}", flush=True)


if __name__ == "__main__":
    main()
