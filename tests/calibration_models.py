"""Calibration through the public interface: families, and how often intervals hold the truth.

``make calibrate`` runs it after ``tests/calibration.py`` and writes both into docs/calibration.md.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from numpy.random import SeedSequence, default_rng

import bayeslmm as blm

KEPT = 199
PROBABILITIES = (0.5, 0.9, 0.95)
SIGMA, SD, SLOPE, BETWEEN = 1.0, 0.7, 0.5, 0.3  # of the simulated data whose intervals are counted

TRUTH = {"x": SLOPE, "z": BETWEEN, "sd": SD, "sigma": SIGMA}

_UNIT = {
    "Intercept": blm.Prior("Normal", mu=0, sigma=1),
    "fixed": blm.Prior("Normal", mu=0, sigma=1),
    "sd": blm.Prior("HalfNormal", sigma=1),
}
FAMILIES = {
    "student_t: (1 | g)": (
        "y ~ x + (1 | g)",
        {"family": "student_t", "priors": _UNIT | {"sigma": blm.Prior("HalfNormal", sigma=1)}},
    ),
    "zero_inflated_poisson: (1 | g)": ("y ~ x + (1 | g)", {"family": "zero_inflated_poisson", "priors": _UNIT}),
}
BY_QUADRATURE = {
    "bernoulli: (1 | g)": ("y ~ x + (1 | g)", {"family": "bernoulli", "priors": _UNIT}),
    "poisson: (1 | g)": ("y ~ x + (1 | g)", {"family": "poisson", "priors": _UNIT}),
    "bernoulli: (x | g)": ("y ~ x + (x | g)", {"family": "bernoulli", "priors": _UNIT}),
    "poisson: (x || g)": ("y ~ x + (x || g)", {"family": "poisson", "priors": _UNIT}),
    "bernoulli: (1 | g / h)": ("y ~ x + (1 | g/h)", {"family": "bernoulli", "priors": _UNIT}),
    "poisson: (1 | g / h)": ("y ~ x + (1 | g/h)", {"family": "poisson", "priors": _UNIT}),
    "bernoulli: (1 | g / h / k)": ("y ~ x + (1 | g/h/k)", {"family": "bernoulli", "priors": _UNIT}),
    "gaussian, censored at 2: (1 | g)": (  # by a condition on themselves, of which the prior puts some rows below
        "cens(pmin(y, 2), y > 2) ~ x + (1 | g)",
        {"family": "gaussian", "priors": _UNIT | {"sigma": blm.Prior("HalfNormal", sigma=1)}},
    ),
    "exgaussian: (1 | g)": (
        "y ~ x + (1 | g)",
        {"family": "exgaussian", "priors": _UNIT | dict.fromkeys(("sigma", "nu"), blm.Prior("HalfNormal", sigma=1))},
    ),
}
RELATED = pd.DataFrame(  # of twelve levels the more alike the nearer they are
    0.6 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12))), index=list(map(str, range(12)))
).set_axis(list(map(str, range(12))), axis=1)
_NORMAL = {"family": "gaussian", "priors": _UNIT | {"sigma": blm.Prior("HalfNormal", sigma=1)}}
WIDE = {  # normal responses beside terms that are wide, by the exact sampler
    "(1 | gr(g, cov=A))": ("y ~ x + (1 | gr(g, cov=A))", _NORMAL | {"matrices": {"A": RELATED}}),
    "(x | gr(g, cov=A))": ("y ~ x + (x | gr(g, cov=A))", _NORMAL | {"matrices": {"A": RELATED}}),
    "(1 | mm(g, m))": ("y ~ x + (1 | mm(g, m))", _NORMAL),
    "s(u)": ("y ~ s(u, k=8)", _NORMAL),
    "s(u) + (1 | g)": ("y ~ s(u, k=8) + (1 | g)", _NORMAL),
    "s(u, g, fs)": ("y ~ x + s(u, g, bs='fs', k=4)", _NORMAL),
}
SMALL = {"bernoulli: (1 | g / h / k)": (6, 8)}  # groups and their rows, where each costs 125 nodes and more


_LOG_SD = {
    "sigma_Intercept": blm.Prior("Normal", mu=0, sigma=0.5),
    ("sigma", "fixed"): blm.Prior("Normal", mu=0, sigma=0.5),
}
_LOG_ODDS = {"zi_Intercept": blm.Prior("Normal", mu=-1, sigma=0.7), ("zi", "fixed"): blm.Prior("Normal", mu=0, sigma=1)}
_NARROW = blm.Prior("HalfNormal", sigma=0.5)
_ENDS = {
    "phi": blm.Prior("LogNormal", mu=2, sigma=0.5),
    "zoi_Intercept": blm.Prior("Normal", mu=-1, sigma=0.7),
    ("zoi", "fixed"): blm.Prior("Normal", mu=0, sigma=1),
}
SECOND = {  # predictors of parameters besides the mean, by NUTS on a PyMC model that is compiled once
    "gaussian: (1 | g), sigma ~ x + (1 | g)": (
        "y ~ x + (1 | g)",
        {"sigma": "~ x + (1 | g)", "priors": _UNIT | _LOG_SD | {("sd", "sigma_g"): _NARROW}},
    ),
    "zero_inflated_poisson: x, zi ~ x + (1 | g)": (
        "y ~ x",
        {"family": "zero_inflated_poisson", "zi": "~ x + (1 | g)", "priors": _UNIT | _LOG_ODDS},
    ),
    "categorical: x + (1 | g)": ("cut ~ x + (1 | g)", {"family": "categorical", "priors": _UNIT}),
    "zero_one_inflated_beta: x + (1 | g), zoi ~ x": (
        "share ~ x + (1 | g)",
        {"family": "zero_one_inflated_beta", "zoi": "~ x", "priors": _UNIT | _ENDS},
    ),
}


def frame(groups, rows, rng):
    """A predictor within groups, one of groups, halves and quarters of groups, and a response to be replaced."""
    x = np.tile(np.linspace(-1, 1, rows), groups)
    return pd.DataFrame(
        {
            "y": (x + rng.normal(size=len(x)) > 0).astype(float),
            "cut": np.resize(np.arange(3), len(x)),
            "share": np.resize([0.0, 0.3, 0.6, 1.0], len(x)),
            "x": x,
            "z": np.repeat(np.linspace(-1, 1, groups), rows),
            "g": np.repeat(np.arange(groups), rows).astype(str),
            "h": np.tile(2 * np.arange(rows) // rows, groups).astype(str),
            "k": np.tile(4 * np.arange(rows) // rows, groups).astype(str),
            "m": np.roll(np.repeat(np.arange(groups), rows), 7 * rows // 2).astype(str),
            "u": np.linspace(-1, 1, groups * rows) ** 3,
        }
    )


def ranks_of_family(name, refits, seed, cores=1):
    """Ranks (refits,) of true values among KEPT draws, with parameters from the prior, by parameter."""
    from joblib import Parallel, delayed

    formula, options = (FAMILIES | BY_QUADRATURE | WIDE)[name]
    model = blm.Model(formula, frame(*SMALL.get(name, (12, 10)), default_rng(seed)), **options)
    # of three effects a row NUTS would go first; an exGaussian density is not log-concave
    method = "exact" if name in BY_QUADRATURE | WIDE and "exgaussian" not in name else "auto"
    prior = model.prior_predictive(refits, random_seed=seed)
    truths, simulated = prior["prior"].to_dataset(), prior["prior_predictive"]["y"].to_numpy()[0]
    found = Parallel(n_jobs=cores)(
        delayed(_ranks_of_one)(model, truths.isel(chain=0, draw=i), simulated[i], seed + i, method)
        for i in range(refits)
    )
    return {label: np.array([ranks[label] for ranks in found]) for label in found[0]}


def ranks_of_second(name, refits, seed):
    """The same of `SECOND`."""
    import nutpie

    formula, options = SECOND[name]
    model = blm.Model(formula, frame(12, 10, default_rng(seed)), **options)
    prior = model.prior_predictive(refits, random_seed=seed)
    truths, simulated = prior["prior"].to_dataset(), prior["prior_predictive"]["y"].to_numpy()[0]
    compiled, found = nutpie.compile_pymc_model(model.pymc), []
    for i in range(refits):
        drawn = nutpie.sample(
            compiled.with_data(response=simulated[i]),
            draws=600,
            tune=500,
            chains=2,
            cores=1,
            seed=seed + i,
            target_accept=0.9,
            progress_bar=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of warnings no data set is left out
            post = model.read_draws(drawn)
        scalars = _scalars(truths.isel(chain=0, draw=i), post)
        found.append({label: int(np.sum(draws < value)) for label, value, draws in scalars})
    return {label: np.array([ranks[label] for ranks in found]) for label in found[0]}


def _ranks_of_one(model, truth, y, seed, method):
    data = model.design.frame.assign(y=y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SamplingWarning)  # counted as they are: no data set is left out
        post = model.update(data=data).fit(method=method, random_seed=seed, progressbar=False, cores=1)
    return {label: int(np.sum(draws < value)) for label, value, draws in _scalars(truth, post)}


def _scalars(truth, post):
    """(label, true value, KEPT spread draws) of every parameter and of the first group's effects."""
    for name in truth.data_vars:
        if name not in post.idata.posterior:
            continue
        value = np.atleast_1d(truth[name].to_numpy())
        draws = post.draws(name).reshape(post.n_chains * post.n_draws, *value.shape)
        spread = draws[np.linspace(0, len(draws) - 1, KEPT).astype(int)]
        if name.startswith("b_"):
            value, spread = value[0], spread[:, 0]
        for at in np.ndindex(value.shape):
            constant = name.startswith("cor_") and at[0] <= at[1]
            if not constant:
                yield f"{name}{list(at)}", value[at], spread[(slice(None), *at)]


def intervals(groups, data_sets, seed, bootstrap, cores=1):
    """Share of simulated data sets whose intervals hold the truth: (parameter, method) by probability."""
    from joblib import Parallel, delayed

    base = frame(groups, 6, default_rng(seed))
    found = Parallel(n_jobs=cores)(delayed(_held)(base, one, bootstrap) for one in SeedSequence(seed).spawn(data_sets))
    share = pd.DataFrame(found).mean()
    share.index = pd.MultiIndex.from_tuples(share.index)
    return share.unstack().rename_axis(["parameter", "method"])


def _held(base, seed, bootstrap):
    """Whether the interval holds the truth, by parameter, method and probability, in one simulated data set."""
    rng = default_rng(seed)
    groups = base["g"].nunique()
    effects = np.repeat(rng.normal(0, SD, groups), len(base) // groups)
    y = SLOPE * base["x"] + BETWEEN * base["z"] + effects + rng.normal(0, SIGMA, len(base))
    return {
        (parameter, method, probability): low <= TRUTH[parameter] <= high
        for method, probability, parameter, low, high in _intervals(
            base.assign(y=y), bootstrap, int(rng.integers(2**31))
        )
    }


def _intervals(data, bootstrap, seed):
    """(method, probability, parameter, low, high) of every interval that is offered."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.BayesLMMWarning)  # singular fits are part of the truth here
        model = blm.Model("y ~ x + z + (1 | g)", data)
        reml, post = model.fit_reml(), model.fit(random_seed=seed, cores=1, progressbar=False)
        replicates = reml.bootstrap(bootstrap, random_seed=seed, cores=1, progressbar=False).dropna()
    for p in PROBABILITIES:
        tables = {
            "Wald": reml.confint("wald", ci_prob=p, ddf=None),
            "profile": reml.confint("profile", ci_prob=p, progressbar=False),
            "posterior": post.confint(ci_prob=p),
        }
        for method, table in tables.items():
            for _, row in table.iterrows():
                if parameter := _NAMES.get(row["term"]):
                    yield method, p, parameter, row["conf_low"], row["conf_high"]
        for name, column in replicates.items():
            if parameter := _NAMES.get(name[-1]):
                yield "bootstrap", p, parameter, *np.quantile(column, [(1 - p) / 2, (1 + p) / 2])
        for ddf in ("satterthwaite", "kenward-roger"):
            table = reml.fixef(ddf=ddf, ci_prob=p)
            for parameter in ("x", "z"):
                row = table.loc[parameter]
                yield ddf.title(), p, parameter, row["conf_low"], row["conf_high"]


_NAMES = {"x": "x", "z": "z", "sd__Intercept": "sd", "sd__Observation": "sigma"}
