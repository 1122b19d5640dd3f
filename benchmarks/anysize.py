"""A table in memory, in Parquet files and on workers of Dask, beside a bare read: benchmarks/anysize.py --help."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import report
from growth import BETA, MEGABYTE, SDS, SIGMA, peak_memory

Answer = dict[str, Any]

FORMULA, COLUMNS = "y ~ x + (x | g)", ["y", "x", "g"]
SIZES = (10**6, 10**7, 10**8)
OF_A_FILE = 1_250_000  # rows
ROWS_A_GROUP = 100
WAYS = ("memory", "Parquet", "Dask, 1 worker", "Dask, 2 workers")
READS = 3  # of the columns alone, before and after; their median is what a model is compared with


def write_files(folder: Path, rows: int) -> None:
    """A table of this many rows in Parquet files, simulated part by part."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(20)
    groups = max(rows // ROWS_A_GROUP, 2)
    b = rng.normal(size=(groups, 2)) * SDS + BETA
    for number, at in enumerate(range(0, rows, OF_A_FILE)):
        size = min(OF_A_FILE, rows - at)
        g, x = rng.integers(groups, size=size), rng.normal(size=size)
        y = b[g, 0] + b[g, 1] * x + SIGMA * rng.normal(size=size)
        pq.write_table(pa.table({"y": y, "x": x, "g": g}), folder / f"rows-{number:04d}.parquet")


# ---- in the child process --------------------------------------------------------------------------------


def measure(folder: str, way: str, *, posterior: bool) -> Answer:
    import pandas as pd

    import bayeslmm

    small = pd.read_parquet(next(Path(folder).glob("*.parquet"))).head(2000).assign(g=lambda d: d["g"] % 20)
    warm = bayeslmm.Model(FORMULA, lambda: [small], progressbar=False)
    warm.fit_reml()  # imports and compiled loops are not what is measured
    if posterior:
        warm.fit(draws=50, chains=2, random_seed=1, progressbar=False)
    reads = [bare_read(folder) for _ in range(READS)]
    answer = on_dask(folder, int(way.split()[1])) if way.startswith("Dask") else here(folder, way)
    fit, model = answer.pop("fit"), answer.pop("model")
    if posterior:
        begin = time.perf_counter()
        model.fit(random_seed=1, progressbar=False)
        answer["posterior"] = time.perf_counter() - begin
    reads += [bare_read(folder) for _ in range(READS)]
    return {
        **answer,
        "way": way,
        "rows": fit.nobs,
        "groups": fit.ngroups["g"],
        "read": median(reads),
        "peak": answer["peak"] or peak_memory(),
        "sigma": float(fit.sigma),
        "loglik": float(fit.loglik),
        "versions": report.versions("numpy", "numba", "pandas", "pyarrow", "dask", "bayeslmm"),
    }


def bare_read(folder: str) -> float:
    """Seconds to read the columns and do nothing with them, on all processors."""
    import pyarrow.dataset as ds

    begin = time.perf_counter()
    for _ in ds.dataset(folder, format="parquet").to_batches(columns=COLUMNS):
        pass
    return time.perf_counter() - begin


def here(folder: str, way: str) -> Answer:
    import pandas as pd

    import bayeslmm

    begin = time.perf_counter()
    data = pd.read_parquet(folder, columns=COLUMNS) if way == "memory" else folder
    model = bayeslmm.Model(FORMULA, data, progressbar=False)
    built = time.perf_counter()
    fit = model.fit_reml()
    return {
        "model": model,
        "fit": fit,
        "build": built - begin,
        "reml": time.perf_counter() - built,
        "peak": 0.0,
        "sent": None,
    }


def on_dask(folder: str, workers: int) -> Answer:
    """On workers of one thread each; what they sent each other and this process, and the memory of all of them."""
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    import bayeslmm

    options = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        data = dd.read_parquet(folder, columns=COLUMNS)
        client.run(_warm)
        begin = time.perf_counter()
        model = bayeslmm.Model(FORMULA, data, progressbar=False)
        built = time.perf_counter()
        fit = model.fit_reml()
        done = time.perf_counter()
        peak = peak_memory() + sum(client.run(_peak).values())
        sent = sum(client.run(_sent).values())
    return {"model": model, "fit": fit, "build": built - begin, "reml": done - built, "peak": peak, "sent": sent}


def _warm() -> None:
    import pandas as pd

    import bayeslmm

    small = pd.DataFrame({"y": range(40), "x": [0.5, 1.0, 2.0, -1.0] * 10, "g": [k % 5 for k in range(40)]})
    bayeslmm.Model(FORMULA, lambda: [small], progressbar=False)


def _peak() -> float:
    import resource

    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _sent(dask_worker: Any) -> int:
    return int(dask_worker.transfer_outgoing_bytes_total)


# ---- the driver ------------------------------------------------------------------------------------------


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=float, default=1e7, help="largest number of rows (1e7; 1e8 writes 2 GB)")
    parser.add_argument("--rows", type=float, help="this number of rows instead")
    parser.add_argument("--folder", help="where the files are written for the time being")
    parser.add_argument("--ways", default=",".join(way.replace(", ", " ") for way in WAYS), help="some of them")
    parser.add_argument("--posterior", action="store_true", help="draw the posterior as well")
    parser.add_argument("--no-write", action="store_true", help="print only, leave README.md alone")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def run_child(folder: Path, way: str, *, posterior: bool) -> Answer:
    arguments = [sys.executable, __file__, "--child", str(folder), way, *(["--posterior"] if posterior else [])]
    run = subprocess.run(arguments, env=report.one_thread(), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def row_of(answer: Mapping[str, Any]) -> dict[str, str]:
    rows = answer["rows"]
    total = answer["build"] + answer["reml"]
    return {
        "rows": f"{rows:,}",
        "groups": f"{answer['groups']:,}",
        "way": answer["way"],
        "Model() s": report.number(answer["build"]),
        "fit_reml() s": report.number(answer["reml"]),
        "posterior s": report.number(answer["posterior"]) if "posterior" in answer else "–",
        "ns a row": report.number(1e9 * total / rows),
        "bare read s": report.number(answer["read"]),
        "Model() / bare read": report.number(answer["build"] / answer["read"]),
        "peak memory MB": report.number(answer["peak"] / MEGABYTE),
        "sent by workers MB": "–" if answer["sent"] is None else report.number(answer["sent"] / MEGABYTE),
    }


def verdict(answers: Sequence[Mapping[str, Any]]) -> str:
    """Whether every way came to the same likelihood."""
    worst = 0.0
    for rows in {answer["rows"] for answer in answers}:
        values = [answer["loglik"] for answer in answers if answer["rows"] == rows]
        worst = max(worst, (max(values) - min(values)) / abs(values[0]))
    return f"Log-likelihoods of the same rows differ by {worst:.0e} of themselves at most."


def main() -> None:
    options = parse_arguments()
    if options.child:
        print(json.dumps(measure(*options.child, posterior=options.posterior)))
        return
    ways = [way for way in WAYS if way.replace(", ", " ") in options.ways.split(",")]
    sizes = [int(options.rows)] if options.rows else [size for size in SIZES if size <= options.most]
    answers = []
    for rows in sizes:
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            write_files(folder, rows)
            for way in ways:
                answers.append(run_child(folder, way, posterior=options.posterior and way == "Parquet"))
                print("  ".join(row_of(answers[-1]).values()), flush=True)
        finally:
            shutil.rmtree(folder)
    if not answers:
        raise SystemExit("nothing to measure: --most is below 1e6 rows, or no way of that name")
    circumstances = {
        "Machine": report.machine(),
        "Versions": answers[0]["versions"],
        "Command": f"`{report.command('anysize.py', sys.argv[1:])}`",
    }
    table = report.table([row_of(answer) for answer in answers], left=0)
    text = "\n\n".join([report.facts(circumstances), table, verdict(answers)])
    print(f"\n{text}")
    if not options.no_write:
        report.write_between("anysize", text)


if __name__ == "__main__":
    main()
