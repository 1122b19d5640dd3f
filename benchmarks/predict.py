"""Time and memory of predictions for a million rows under a thousand draws, whose array would take 8 GB.

python benchmarks/predict.py [rows] [draws]
"""

from __future__ import annotations

import resource
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

import bayeslmm as blm


def growth(rng: np.random.Generator, subjects: int = 10_000) -> pd.DataFrame:
    """Ten days of many subjects, as sleepstudy."""
    subject = np.repeat(np.arange(subjects), 10)
    days = np.tile(np.arange(10.0), subjects)
    intercept, slope = rng.normal(250.0, 25.0, subjects), rng.normal(10.0, 6.0, subjects)
    y = intercept[subject] + slope[subject] * days + rng.normal(0.0, 25.0, len(subject))
    return pd.DataFrame({"y": y, "days": days, "subject": subject})


def ratings(rng: np.random.Generator, students: int = 3_000, lecturers: int = 1_100, n: int = 73_000) -> pd.DataFrame:
    """Students rate lecturers, as insteval."""
    s, d = rng.integers(0, students, n), rng.integers(0, lecturers, n)
    service = rng.integers(0, 2, n)
    y = 3.3 - 0.1 * service + rng.normal(0, 0.3, students)[s] + rng.normal(0, 0.5, lecturers)[d] + rng.normal(0, 1.2, n)
    return pd.DataFrame({"y": y, "service": service, "s": s, "d": d})


def megabytes() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def say(what: str, task: Callable[..., object], *args: object, **asked: object) -> None:
    """Run and print seconds by the clock and of all processors, and the peak."""
    start, processor = time.perf_counter(), time.process_time()
    task(*args, **asked)
    seconds, used = time.perf_counter() - start, time.process_time() - processor
    print(f"  {what:<36} {seconds:6.1f} s  cpu {used:6.1f} s  peak {megabytes():6,.0f} MB", flush=True)


def measure(formula: str, data: pd.DataFrame, label: str, rows: int, draws: int) -> None:
    """A line for every kind of prediction from a fit to these data; ``label`` names a grouping column."""
    model = blm.Model(formula, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        post = model.fit(random_seed=1, draws=draws // 4, chains=4, progressbar=False)
    new = data.sample(rows, replace=True, random_state=1, ignore_index=True)
    print(f"{formula}, {len(data):,} rows; after the fit: peak {megabytes():,.0f} MB")
    say("observed groups, mean", post.predict, new)
    say("observed groups, response", post.predict, new, kind="response", random_seed=1)
    say("a new group for every label, mean", post.predict, new, groups="new", random_seed=1)
    every = new.assign(**{label: np.arange(rows)})
    say("a new group for every row, mean", post.predict, every, groups={label: "new"}, random_seed=1)
    say("average group, mean", post.predict, new, groups="average")
    say("REML, plug-in interval", model.fit_reml().predict, new, interval="plug-in")


def main(rows: int = 1_000_000, draws: int = 1_000) -> None:
    """Two shapes of data."""
    rng = np.random.default_rng(1)
    print(f"{rows:,} rows x {draws:,} draws; the whole array would take {rows * draws * 8 / 1e9:.1f} GB")
    measure("y ~ days + (days | subject)", growth(rng), "subject", rows, draws)
    measure("y ~ service + (1 | s) + (1 | d)", ratings(rng), "s", rows, draws)


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
