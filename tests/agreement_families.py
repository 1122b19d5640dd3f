"""Marginals by quadrature against NUTS on the joint density: ``python tests/agreement_families.py`` prints how far.

As `agreement` does for normal models, for other families with few effects a row: of one factor, or of nested ones.
"""

from __future__ import annotations

import argparse
import sys
import warnings

import agreement
import numpy as np
import pandas as pd

import bayeslmm as blm
from bayeslmm.errors import BayesLMMWarning


def simulated(groups=20, rows=8, seed=6):
    """Rows of every kind of response around one latent predictor."""
    rng = np.random.default_rng(seed)
    n = groups * rows
    g, x, w = np.arange(n) % groups, rng.normal(1.0, 1.0, n), rng.normal(size=groups)
    eta = 0.3 + 0.5 * (x - 1.0) - 0.3 * w[g] + rng.normal(0, 0.8, groups)[g]
    p = 1.0 / (1.0 + np.exp(-eta))
    exposure = rng.uniform(0.5, 3.0, n)
    return pd.DataFrame(
        {
            "g": [f"g{k}" for k in g],
            "h": [f"h{k}" for k in np.arange(n) // groups % 3],
            "i": [f"i{k}" for k in range(n)],
            "x": x,
            "w": w[g],
            "o": np.log(exposure),
            "binary": (rng.uniform(size=n) < p).astype(int),
            "m": 5,
            "successes": rng.binomial(5, p),
            "count": rng.poisson(exposure * np.exp(eta)),
            "wide": rng.negative_binomial(3.0, 3.0 / (3.0 + np.exp(eta))),
            "time": rng.gamma(4.0, np.exp(eta) / 4.0),
            "grade": np.digitize(eta + rng.logistic(size=n), [-1.0, 0.5, 2.0]),
        }
    )


T_PRIOR = {"x": blm.Prior("StudentT", nu=3, mu=0, sigma=1), "sd": blm.Prior("Exponential", lam=1.0)}


def structures():
    """(formula, table, options) by name."""
    data = simulated()
    binary = {"family": "bernoulli"}
    return {
        "bernoulli logit": ("binary ~ x + w + (1 | g)", data, binary),
        "bernoulli probit": ("binary ~ x + (1 | g)", data, {**binary, "link": "probit"}),
        "bernoulli cloglog": ("binary ~ x + (1 | g)", data, {**binary, "link": "cloglog"}),
        "bernoulli, few levels": ("binary ~ x + (1 | g)", simulated(4, 10), binary),
        "bernoulli, t prior": ("binary ~ x + (1 | g)", data, {**binary, "priors": T_PRIOR}),
        "bernoulli, slopes alone": ("binary ~ x + (0 + x | g)", data, binary),
        "binomial": ("p(successes, m) ~ x + w + (1 | g)", data, {"family": "binomial"}),
        "binomial, a row a level": ("p(successes, m) ~ x + (1 | i)", data, {"family": "binomial"}),
        "poisson, offset": ("count ~ x + (1 | g)", data, {"family": "poisson", "offset": "o"}),
        "poisson, a row a level": ("count ~ x + (1 | i)", data, {"family": "poisson", "offset": "o"}),
        "poisson, no intercept": ("count ~ 0 + x + (1 | g)", data, {"family": "poisson"}),
        "negbinomial": ("wide ~ x + (1 | g)", data, {"family": "negbinomial"}),
        "gamma": ("time ~ x + (1 | g)", data, {"family": "gamma"}),
        "ordinal logit": ("grade ~ x + (1 | g)", data, {"family": "ordinal"}),
        "poisson, slopes": ("count ~ x + (x | g)", data, {"family": "poisson", "offset": "o"}),
        "bernoulli, slopes": ("binary ~ x + (x | g)", data, binary),
        "negbinomial, independent slopes": ("wide ~ x + (x || g)", data, {"family": "negbinomial"}),
        "bernoulli, nested": ("binary ~ x + (1 | g/h)", data, binary),
        "poisson, nested, a row a level": ("count ~ x + (1 | g) + (1 | i)", data, {"family": "poisson"}),
        "ordinal, nested": ("grade ~ x + (1 | g/h)", data, {"family": "ordinal"}),
        "gamma, slopes and nested": ("time ~ x + (x | g) + (1 | g:h)", data, {"family": "gamma"}),
        "ordinal probit": ("grade ~ x + w + (1 | g)", data, {"family": "ordinal", "link": "probit"}),
    }


def both(formula, table, options, *, draws=2000):
    """The posterior by quadrature and by NUTS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesLMMWarning)  # verdicts are reported instead
        model = blm.Model(formula, table, **options)
        marginal = model.fit(method="exact", random_seed=1, draws=draws, progressbar=False)
        return marginal, model.fit(method="nuts", random_seed=2, draws=draws, progressbar=False, target_accept=0.95)


def main():
    """Print one line a structure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="structures (all)")
    parser.add_argument("--draws", type=int, default=2000)
    options = parser.parse_args()
    worst = 0.0
    for name, case in structures().items():
        if options.names and name not in options.names:
            continue
        marginal, nuts = both(*case, draws=options.draws)
        found = agreement.disagreement(marginal, nuts)
        top = found.loc[found["largest"].idxmax()]
        worst = max(worst, top["largest"])
        rate = [p.diagnosis.min_ess_bulk / p.idata.posterior.attrs["seconds"] for p in (marginal, nuts)]
        print(
            f"{name:24s} {found['quantities'].sum():6,d} quantities, largest {top['largest']:.2f} "
            f"({top['statistic']} of {top['variable']}); ESS {marginal.diagnosis.min_ess_bulk:,.0f} and "
            f"{nuts.diagnosis.min_ess_bulk:,.0f}, a second {rate[0]:,.0f} and {rate[1]:,.0f}; "
            f"{marginal.diagnosis.sampler}",
            flush=True,
        )
    print(f"largest of all: {worst:.2f} standard errors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
