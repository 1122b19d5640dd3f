"""The exact sampler against NUTS on the whole PyMC model: ``python tests/agreement.py`` prints the disagreements.

Every mean, sd, 5 % and 95 % point of every fixed effect, sd, correlation, σ and random effect, in Monte Carlo standard
errors of the difference.
"""

from __future__ import annotations

import argparse
import sys
import warnings

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats

import bayeslmm as blm
from bayeslmm.errors import BayesLMMWarning

STATISTICS = {
    "mean": (lambda v: v.mean(axis=(0, 1)), {"method": "mean"}),
    "sd": (lambda v: v.std(axis=(0, 1)), {"method": "sd"}),
    "5 %": (lambda v: np.quantile(v, 0.05, axis=(0, 1)), {"method": "quantile", "prob": 0.05}),
    "95 %": (lambda v: np.quantile(v, 0.95, axis=(0, 1)), {"method": "quantile", "prob": 0.95}),
}


def simulated():
    """Rows with crossed, nested and repeated groups, weights and an offset, informative enough for NUTS to be easy."""
    rng = np.random.default_rng(12)
    n, J, H = 600, 30, 12
    g, h, x, z = np.arange(n) % J, rng.integers(0, H, n), rng.normal(size=n), rng.normal(size=n)
    f, w = rng.choice(["a", "b"], n), rng.uniform(0.5, 2.0, n)
    b = rng.normal(size=(J, 3)) @ np.array([[1.2, 0.4, -0.2], [0, 0.8, 0.3], [0, 0, 0.7]])
    y = 2 + 0.7 * x - 0.4 * z + b[g, 0] + b[g, 1] * x + b[g, 2] * z + rng.normal(0, 0.8, H)[h]
    y += rng.normal(0, 0.6, (J, H))[g, h] + (f == "b") * (0.5 + rng.normal(0, 0.7, J)[g])
    y += rng.normal(0, 1 / np.sqrt(w))
    return pd.DataFrame({"y": y, "g": g, "h": h, "x": x, "z": z, "f": f, "w": w, "o": 0.3 * x})


def structures():
    """(formula, table, options) by name."""
    sleep, data = blm.load_dataset("sleepstudy"), simulated()
    t = {"Intercept": blm.Prior("StudentT", nu=3, mu=288, sigma=59), "Days": blm.Prior("Cauchy", alpha=0, beta=10)}
    return {
        "sleepstudy (Days | Subject)": ("Reaction ~ Days + (Days | Subject)", sleep, {}),
        "sleepstudy (Days || Subject)": ("Reaction ~ Days + (Days || Subject)", sleep, {}),
        "sleepstudy, t and Cauchy priors": ("Reaction ~ Days + (Days | Subject)", sleep, {"priors": t}),
        "penicillin, crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"), {}),
        "science, nested": ("like ~ sex + PrivPub + (1 | school/class)", blm.load_dataset("science"), {}),
        "hsb (ses | school)": ("mathach ~ ses + (ses | school)", blm.load_dataset("hsb"), {}),
        "(1 | g)": ("y ~ x + (1 | g)", data, {}),
        "(x + z | g), weights": ("y ~ x + z + (x + z | g)", data, {"weights": "w"}),
        "(x | g) + (1 | h), offset": ("y ~ x + (x | g) + (1 | h)", data, {"offset": "o"}),
        "(1 | g) + (0 + x + z | g)": ("y ~ x + z + (1 | g) + (0 + x + z | g)", data, {}),
        "(1 | g) + (1 | h) + (1 | g:h)": ("y ~ x + z + (1 | g) + (1 | h) + (1 | g:h)", data, {}),
        "(0 + f | g)": ("y ~ f + (0 + f | g)", data, {}),
    }


def both(formula, table, options, *, draws=2000):
    """The posterior by the exact sampler and by NUTS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesLMMWarning)  # verdicts are reported instead
        model = blm.Model(formula, table, **options)
        exact = model.fit(method="exact", random_seed=1, draws=draws, progressbar=False)
        return exact, model.fit(
            method="nuts", nuts_sampler="nutpie", random_seed=2, draws=draws, progressbar=False, target_accept=0.95
        )


def monte_carlo_error(draws, statistic, how):
    """ArviZ's standard error, wider where squared deviations mix slower than the quantity itself.

    NUTS may swing from one side of a quantity to the other for long: means are then known better than from independent
    draws, and sds and quantiles much worse, which the usual effective sample size does not see.
    """
    axes = {"chain_axis": 0, "draw_axis": 1}
    error = array_stats.mcse(draws, **axes, **how)
    if statistic == "mean":
        return error
    squares = np.square(draws - draws.mean(axis=(0, 1)))
    ratio = array_stats.ess(draws, method="mean", **axes) / array_stats.ess(squares, method="mean", **axes)
    return error * np.sqrt(np.maximum(ratio, 1.0))


def disagreement(exact, nuts):
    """One row a variable and statistic: how many quantities, and the largest difference in standard errors."""
    rows = []
    for name in exact.idata.posterior.data_vars:
        a, b = (post.draws(str(name)) for post in (exact, nuts))
        a, b = (v.reshape(*v.shape[:2], -1) for v in (a, b))
        moving = a.std(axis=(0, 1)) > 0
        a, b = a[..., moving], b[..., moving]
        for statistic, (of, how) in STATISTICS.items():
            error = np.hypot(monte_carlo_error(a, statistic, how), monte_carlo_error(b, statistic, how))
            z = np.abs(of(a) - of(b)) / error
            rows.append((str(name), statistic, z.size, float(z.max())))
    return pd.DataFrame(rows, columns=["variable", "statistic", "quantities", "largest"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="structures (all)")
    options = parser.parse_args()
    worst = 0.0
    for name, case in structures().items():
        if options.names and name not in options.names:
            continue
        exact, nuts = both(*case)
        found = disagreement(exact, nuts)
        top = found.loc[found["largest"].idxmax()]
        worst = max(worst, top["largest"])
        print(
            f"{name:34s} {found['quantities'].sum():6,d} quantities, largest {top['largest']:.2f} "
            f"({top['statistic']} of {top['variable']}); NUTS {nuts.diagnosis.divergences} divergences, "
            f"ESS {nuts.diagnosis.min_ess_bulk:,.0f}; exact ESS {exact.diagnosis.min_ess_bulk:,.0f}",
            flush=True,
        )
    print(f"largest of all: {worst:.2f} standard errors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
