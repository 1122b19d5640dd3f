"""The posterior beside Bambi's and rstanarm's: python benchmarks/posterior.py --help."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import report

Answer = dict[str, Any]

MODELS = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "hsb": "mathach ~ ses + (ses | school)",
    "science": "like ~ sex + PrivPub + (1 | school/class)",
    "insteval": "y ~ 1 + (1 | s) + (1 | d)",
}
LIMITS = {"sleepstudy": 0.5, "hsb": 1.0, "science": 1.0, "insteval": 120.0}  # seconds
PEERS = ("sleepstudy", "hsb")  # models that are run elsewhere too
SIZES = (10**4, 10**5, 10**6, 10**7)
CHAINS, DRAWS, TUNE = 4, 1000, 1000


# ---- in child processes ----------------------------------------------------------------------------------


def ours(name: str, repeats: int, data: str) -> list[Answer]:
    """Wall time from Model(...) to the posterior, and the smallest bulk ESS; the process is warm."""
    import pandas as pd

    import bayeslmm

    frame = pd.read_csv(data)
    bayeslmm.Model(MODELS["sleepstudy"], bayeslmm.load_dataset("sleepstudy")).fit(progressbar=False)
    found = []
    for seed in range(repeats):
        begin = time.perf_counter()
        post = bayeslmm.Model(MODELS[name], frame).fit(draws=DRAWS, chains=CHAINS, random_seed=seed, progressbar=False)
        seconds = time.perf_counter() - begin
        found.append({"seconds": seconds, "ess": smallest_ess(post.idata.posterior), "verdict": post.verdict})
    return found


def bambi(name: str, repeats: int, data: str, sampler: str) -> list[Answer]:
    """The same for Bambi, the first run of the process included. Its random effects have no correlation."""
    import bambi
    import pandas as pd

    frame = pd.read_csv(data)
    group = MODELS[name].partition("|")[2].strip(" )")
    frame[group] = frame[group].astype("category")
    found = []
    for seed in range(repeats):
        begin = time.perf_counter()
        tree = bambi.Model(MODELS[name], frame).fit(
            draws=DRAWS,
            tune=TUNE,
            chains=CHAINS,
            random_seed=seed,
            progressbar=False,
            cores=min(os.cpu_count() or 1, CHAINS),  # PyMC takes half of the processors by itself
            **({} if sampler == "default" else {"inference_method": sampler}),
        )
        seconds = time.perf_counter() - begin
        found.append({"seconds": seconds, "ess": smallest_ess(tree.posterior), "verdict": ""})
    return found


def smallest_ess(posterior: Any) -> float:
    """Over β, sds, correlations and σ; random effects themselves are left out, under either naming."""
    import arviz as az
    import numpy as np

    smallest = np.inf
    for name, draws in posterior.data_vars.items():
        if name.startswith("b_") or (("|" in name) and not name.endswith("_sigma")) or name == "mu":
            continue
        if name.endswith("_offset"):
            continue
        flat = draws.to_numpy().reshape(*draws.shape[:2], -1)
        for k in range(flat.shape[2]):
            if flat[..., k].std() > 0:
                smallest = min(smallest, float(az.ess(flat[..., k], method="bulk")))
    return smallest


def density(rows: int) -> Answer:
    """Microseconds of one evaluation of the density, and of one with its gradient, at 100 groups."""
    import growth
    import numpy as np

    import bayeslmm
    from bayeslmm.engine.hyperpriors import HyperPriors
    from bayeslmm.engine.marginal import Marginal
    from bayeslmm.engine.scaling import Problem

    growth.MOST_GROUPS = 100
    model = bayeslmm.Model(growth.FORMULA, growth.simulate(rows))
    marginal = Marginal(Problem.of(model.design), HyperPriors.of(model.design, model.priors))
    x = np.repeat(marginal.starts()[:1], 2000, axis=0)
    marginal.log_densities(x[:1])
    marginal.with_gradient(x[0])
    begin = time.perf_counter()
    marginal.log_densities(x)
    middle = time.perf_counter()
    for row in x:
        marginal.with_gradient(row)
    return {"value": (middle - begin) / len(x), "gradient": (time.perf_counter() - middle) / len(x)}


def first_call() -> Answer:
    """Seconds of import and of the first posterior in this process."""
    begin = time.perf_counter()
    import bayeslmm

    data = bayeslmm.load_dataset("sleepstudy")
    bayeslmm.Model(MODELS["sleepstudy"], data).fit(random_seed=1, progressbar=False)
    return {"seconds": time.perf_counter() - begin}


# ---- in the parent ---------------------------------------------------------------------------------------


def child(python: str, *arguments: str, **environment: str) -> Any:
    run = subprocess.run(
        [python, __file__, "--child", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if run.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{run.stderr[-3000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def rstanarm(name: str, repeats: int, data: str) -> list[Answer] | None:
    """The same for rstanarm (precompiled Stan), or None where R does not have it."""
    script = Path(__file__).with_name("rstanarm.R")
    run = subprocess.run(
        ["Rscript", str(script), MODELS[name], data, str(repeats)], capture_output=True, text=True, check=False
    )
    return json.loads(run.stdout.splitlines()[-1]) if run.returncode == 0 else None


def row(name: str, program: str, found: Sequence[Answer], base: float | None) -> dict[str, str]:
    seconds, rate = median(a["seconds"] for a in found), median(a["ess"] / a["seconds"] for a in found)
    return {
        "model": name,
        "program": program,
        "runs": str(len(found)),
        "seconds": report.number(seconds),
        "smallest bulk ESS": f"{median(a['ess'] for a in found):,.0f}",
        "ESS / s": report.number(rate),
        "bayeslmm is faster by": "" if base is None else f"{base / rate:,.0f}×",
    }


def compare(name: str, options: argparse.Namespace, folder: Path) -> list[dict[str, str]]:
    import bayeslmm

    path = str(folder / f"{name}.csv")
    bayeslmm.load_dataset(name).to_csv(path, index=False)
    mine = child(sys.executable, "ours", name, str(1 if name == "insteval" else options.repeats), path)
    base = median(a["ess"] / a["seconds"] for a in mine)
    rows = [row(name, "bayeslmm: again", mine, None)]
    print(f"{name}: {rows[0]['seconds']} s (limit {LIMITS[name]:g}), {mine[0]['verdict']}", flush=True)
    if name in PEERS and options.bambi:
        for sampler in ("default", "nutpie"):
            child(options.bambi, "bambi", name, "1", path, sampler)  # fills its compile cache
            first, *again = child(options.bambi, "bambi", name, "4", path, sampler)
            rows.append(row(name, f"Bambi, {sampler} sampler: first of a process", [first], base))
            rows.append(row(name, f"Bambi, {sampler} sampler: again", again, base))
            print(f"  Bambi {sampler}: {rows[-2]['seconds']} s, again {rows[-1]['seconds']} s", flush=True)
    if name in PEERS and options.r and (found := rstanarm(name, 1, path)):
        rows.append(row(name, "rstanarm", found, base))
        print(f"  rstanarm: {rows[-1]['seconds']} s", flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="which, with commas between")
    parser.add_argument("--repeats", type=int, default=7, help="runs of bayeslmm (7)")
    parser.add_argument("--bambi", help="a Python with Bambi; without it Bambi is left out")
    parser.add_argument("--no-r", dest="r", action="store_false", help="leave rstanarm out")
    parser.add_argument("--most", type=float, default=SIZES[-1], help="rows of the largest simulated table")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave README.md alone")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models.split(","):
            rows += compare(name, options, Path(folder))
        cold = child(sys.executable, "first", NUMBA_CACHE_DIR=str(Path(folder) / "numba"))["seconds"]
        warm = child(sys.executable, "first", NUMBA_CACHE_DIR=str(Path(folder) / "numba"))["seconds"]
    sizes = []
    for size in SIZES:
        if size <= options.most:
            found = child(sys.executable, "density", str(size))
            sizes.append(
                {
                    "rows": f"{size:,}",
                    "density, µs": report.number(1e6 * found["value"]),
                    "with gradient, µs": report.number(1e6 * found["gradient"]),
                }
            )
    first = f"{warm:.1f} s; {cold:.1f} s where `python -m bayeslmm compile` was left out of the installation"
    text = "\n\n".join(
        [
            report.facts(
                {"machine": report.machine(), "versions": report.versions("bayeslmm", "numba", "pymc", "arviz")}
            ),
            report.table(rows, left=2),
            f"First posterior in a new process, imports included (sleepstudy): {first}.",
            "One evaluation of the density of the hyperparameters, `y ~ x + (x | g)` with 100 groups:",
            report.table(sizes),
        ]
    )
    print(text)
    if options.write:
        report.write_between("posterior", text)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        what, *rest = sys.argv[2:]
        if what == "ours":
            answer: Any = ours(rest[0], int(rest[1]), rest[2])
        elif what == "bambi":
            answer = bambi(rest[0], int(rest[1]), rest[2], rest[3])
        elif what == "density":
            answer = density(int(rest[0]))
        else:
            answer = first_call()
        print(json.dumps(answer))
    else:
        sys.exit(main())
