"""Simulation-based calibration (Talts et al. 2018): ``python tests/calibration.py --help``.

Hyperparameters and effects are drawn from the prior, data from the model, and the posterior is sampled; over many data
sets the rank of each true value among its posterior draws must be uniform.
"""

from __future__ import annotations

import argparse
import pathlib
import platform
import sys
import time
from datetime import date

import calibration_models
import numpy as np
import pandas as pd
from numpy.random import SeedSequence, default_rng
from scipy import stats

import bayeslmm
from bayeslmm.covariances.autoregressive import Autoregressive
from bayeslmm.covariances.compound_symmetry import CompoundSymmetry
from bayeslmm.covariances.diagonal import Diagonal
from bayeslmm.covariances.template import covariance
from bayeslmm.engine import sampler
from bayeslmm.engine.hyperpriors import HyperPriors, Kind, Positive, ResidualPriors
from bayeslmm.engine.proposal import fit_proposal
from bayeslmm.engine.residual_marginal import marginal_of
from bayeslmm.engine.scaling import Problem
from bayeslmm.residual_structures import CORRELATIONS, Blocks, Residuals, Spread

KEPT, THINNED = 199, 4  # ranks 0 to 199 among nearly independent draws
SD, ETA, BETA_SD = 1.5, 1.5, 2.0
DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"


def structures():
    """Problems without a response and their priors: every covariance structure, weights, t priors of β."""
    eight, ten = np.repeat(np.arange(8), 6), np.repeat(np.arange(10), 8)
    t6, t8 = np.tile(np.linspace(-1, 1, 6), 8), np.tile(np.linspace(-1, 1, 8), 10)
    slope, three = np.column_stack([np.ones(48), t6]), np.column_stack([np.ones(80), t8, t8**2 - 0.4])
    level = np.column_stack([np.ones(80), t8])
    steps = np.eye(4)[np.tile(np.arange(4), 20)]  # twice a level
    classes = np.repeat(np.arange(16), 3)
    pupils = [np.repeat(np.arange(levels), 60 // levels) for levels in (5, 15, 30)]  # schools, classes, groups
    row, one = np.arange(60), np.ones
    both, crossed = [row % 10, row // 10], np.column_stack([one(60), np.cos(row)])
    empty = {
        "(1 | g)": problem(slope, [eight], [one((48, 1))], [((0,),)]),
        "(x | g)": problem(slope, [eight], [slope], [((0, 1),)]),
        "(x || g)": problem(slope, [eight], [slope], [((0,), (1,))]),
        "(1 | g / h)": problem(slope, [eight, classes], [one((48, 1))] * 2, [((0,),)] * 2),
        "(1 | g / h / k)": problem(crossed, pupils, [one((60, 1))] * 3, [((0,),)] * 3),
        "(1 | g / h) + (1 | i)": problem(crossed, [*pupils[:2], row % 6], [one((60, 1))] * 3, [((0,),)] * 3),
        "(1 | g) + (1 | h)": problem(crossed, both, [one((60, 1))] * 2, [((0,),)] * 2),
        "(x + z | g)": problem(three, [ten], [three], [((0, 1, 2),)]),
        "(x | g) + (1 | h), weights": problem(
            crossed, both, [crossed, one((60, 1))], [((0, 1),), ((0,),)], weights=np.exp(np.sin(row))
        ),
        "cs(f | g)": problem(level, [ten], [steps], [((0, 1, 2, 3),)], bar=(CompoundSymmetry(),)),
        "cs(f | g, hom)": problem(level, [ten], [steps], [((0, 1, 2, 3),)], bar=(CompoundSymmetry(hom=True),)),
        "ar1(f | g)": problem(level, [ten], [steps], [((0, 1, 2, 3),)], bar=(Autoregressive(hom=True),)),
        "ar1(f | g, het)": problem(level, [ten], [steps], [((0, 1, 2, 3),)], bar=(Autoregressive(),)),
        "diag(f | g, hom)": problem(level, [ten], [steps], [((0, 1, 2, 3),)], bar=(Diagonal(hom=True),)),
        "(1 | g), t priors": problem(slope, [eight], [one((48, 1))], [((0,),)]),
        "(1 | row), known errors": problem(
            slope, [np.arange(48)], [one((48, 1))], [((0,),)], weights=np.exp(2.0 * np.sin(np.arange(48))), sigma=1.2
        ),
    }
    return {name: (each, priors_for(each, t="t priors" in name)) for name, each in empty.items()}


def residual_structures():
    """The same for residuals with parameters besides sigma: every correlation, sds by strata and by a number."""
    eight, t6 = np.repeat(np.arange(8), 6), np.tile(np.linspace(-1, 1, 6), 8)
    fifteen, visits = np.repeat(np.arange(15), 4), np.tile(np.arange(4.0), 15)
    slope, of_visits = np.column_stack([np.ones(48), t6]), np.column_stack([np.ones(60), visits - 1.5])
    stratum = (np.arange(48) % 3 == 0).astype(float)[:, None]
    bar = [eight], [np.ones((48, 1))], [((0,),)]
    none = np.zeros((48, 0))
    steps = Blocks.of(eight, np.tile(np.arange(6.0), 8))
    uneven = Blocks.of(eight, np.tile([0.0, 0.4, 1.0, 2.5, 3.0, 4.2], 8))
    of_four = Blocks.of(fifteen, visits, levels=4)
    by_visit = np.eye(4)[visits.astype(int)][:, 1:]
    empty = {
        "sigma ~ f": problem(slope, *bar, residual=residuals(stratum)),
        "sigma ~ x, (1 | g)": problem(slope, *bar, residual=residuals(t6[:, None])),
        "ar1(t | g), (1 | g)": problem(slope, *bar, residual=residuals(none, "ar1", steps)),
        "car1(t | g), sigma ~ f": problem(slope, [], [], [], residual=residuals(stratum, "car1", uneven)),
        "cs(1 | g)": problem(slope, [], [], [], residual=residuals(none, "cs", steps)),
        "us(v | g)": problem(of_visits, [], [], [], residual=residuals(by_visit, "us", of_four)),
    }
    return {name: (each, priors_for(each)) for name, each in empty.items()}


def residuals(G, name="", blocks=None):
    structure = CORRELATIONS[name]().on(blocks) if name else None
    labels = tuple(f"delta_{k}" for k in range(G.shape[1]))
    count = structure.count(blocks) if structure else 0
    return Residuals(
        spread=Spread(G=G, labels=labels),
        correlation=structure,
        blocks=blocks,
        prior=None,
        labels=labels + tuple(f"rho_{k}" for k in range(count)),
    )


def problem(X, codes, Z, blocks, weights=None, bar=(), sigma=None, residual=None):
    return Problem(
        y=np.zeros(len(X)),
        X=np.ascontiguousarray(X),
        codes=tuple(c.astype(np.int64) for c in codes),
        Z=tuple(np.ascontiguousarray(z) for z in Z),
        levels=tuple(int(c.max()) + 1 for c in codes),
        blocks=tuple(blocks),
        weights=weights,
        intercept=0,
        structures=(bar,) if bar else (),
        sigma=sigma,
        residual=residual,
    )


def priors_for(empty, *, t=False):
    half_t = Positive(kind=Kind.HALF_T, a=3.0, b=SD)
    return HyperPriors(
        beta_mean=np.full(empty.X.shape[1], 0.5),
        beta_sd=np.full(empty.X.shape[1], BETA_SD),
        beta_nu=np.full(empty.X.shape[1], 3.0 if t else np.inf),
        sds=tuple((half_t,) * len(template.sd_columns) for template in empty.templates),
        lkj=(ETA,) * len(empty.Z),
        sigma=half_t if empty.sigma is None else None,
        residual=None if empty.residual is None else of_residuals(empty.residual),
    )


def of_residuals(residual):
    d = residual.n_spread
    return ResidualPriors(mean=np.zeros(d), sd=np.ones(d), nu=np.full(d, np.inf), eta=ETA)


def correlation(structure, d, rng):
    """A correlation matrix of a structure from its prior."""
    if structure.name == "us":
        return lkj_correlation(d, rng)
    steps = np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    low = {"cs": -1 / (d - 1), "ar1": -1.0, "diag": 0.0}[structure.name]
    rho = low + (1 - low) * rng.beta(ETA, ETA) if structure.name != "diag" else 0.0
    return np.where(steps == 0, 1.0, rho ** (steps if structure.name == "ar1" else 1.0 * (steps > 0)))


def lkj_correlation(d, rng):
    """A correlation matrix from LKJ(ETA), by canonical partial correlations."""
    L = np.eye(d)
    for i in range(d):
        for j in range(i):
            shape = ETA + (d - 2 - j) / 2
            L[i, j] = (2 * rng.beta(shape, shape) - 1) * L[i, i]
            L[i, i] = np.sqrt(max(L[i, i] ** 2 - L[i, j] ** 2, 0.0))
    return L @ L.T


def simulate(empty, priors, rng):
    """(problem with a response, true values by name). The intercept's prior is that at centred predictors."""
    center = empty.X.mean(axis=0)
    omega = np.array([1.0 if np.isinf(nu) else rng.gamma(nu / 2, 2 / nu) for nu in priors.beta_nu])
    slopes = rng.normal(priors.beta_mean, priors.beta_sd / np.sqrt(omega))
    beta = slopes.copy()
    beta[0] -= slopes[1:] @ center[1:]
    sigma = float(np.abs(rng.standard_t(3)) * SD) if empty.sigma is None else empty.sigma
    truth = {"sigma": sigma} if empty.sigma is None else {}
    truth |= {f"beta_{j}": value for j, value in enumerate(beta)}
    noise = rng.normal(0, 1.0 / np.sqrt(1.0 if empty.weights is None else empty.weights), len(empty.X))
    if empty.residual is not None:
        values = residual_values(empty.residual, rng)
        noise = empty.residual.with_values(values).noise(noise[:, None])[:, 0]
        truth |= dict(zip(empty.residual.labels, values, strict=True))
    y = empty.X @ beta + sigma * noise
    for k, (codes, Z, template) in enumerate(zip(empty.codes, empty.Z, empty.templates, strict=True)):
        q = Z.shape[1]
        sd, cor = np.abs(rng.standard_t(3, len(template.sd_columns))) * SD, np.eye(q)
        sd = sd[list(template.sd_of)]
        for block, structure in zip(template.blocks, template.structures, strict=True):
            cor[np.ix_(block, block)] = correlation(structure, len(block), rng)
        b = rng.multivariate_normal(np.zeros(q), covariance(sd, cor), empty.levels[k], method="eigh")
        y += np.sum(Z * b[codes], axis=1)
        truth |= {f"sd_{k}{a}": sd[a] for a in template.sd_columns} | {f"b_{k}{a}": b[0, a] for a in range(q)}
        truth |= {f"cor_{k}{i}{j}": cor[i, j] for j, i in template.correlated}
    return Problem(**{**{f: getattr(empty, f) for f in empty.__slots__}, "y": y}), truth


def residual_values(residual, rng):
    """Parameters of residuals besides sigma from their priors."""
    values = rng.normal(size=residual.n_spread)
    if residual.correlation is None:
        return values
    return np.concatenate([values, residual.correlation.drawn(rng, 1, ETA, residual.blocks)[0]])


def ranks_of_one(empty, priors, seed):
    """The rank of every true value among KEPT draws of one simulated data set."""
    rng = default_rng(seed)
    data, truth = simulate(empty, priors, rng)
    marginal = marginal_of(data, priors)
    proposal = fit_proposal(marginal, rng).proposal
    with sampler.Team(1) as team:
        draws = team.chains(marginal, proposal, KEPT * THINNED, [rng])
    found = {}
    for name, value in truth.items():
        kind, _, at = name.partition("_")
        if kind == "sigma":
            values = draws.sigma[0]
        elif data.residual is not None and name in data.residual.labels:
            values = draws.residual[0, :, data.residual.labels.index(name)]
        elif kind == "beta":
            values = draws.beta[0, :, int(at)]
        elif kind == "sd":
            values = draws.sds[int(at[0])][0, :, int(at[1])]
        elif kind == "b":
            values = draws.effects[int(at[0])][0, :, 0, int(at[1])]
        else:
            values = draws.correlations[int(at[0])][0, :, int(at[1]), int(at[2])]
        found[name] = int(np.sum(values[::THINNED] < value))
    return found


def calibrate(empty, priors, refits, seed, cores=1):
    """Ranks (refits,) by name."""
    from joblib import Parallel, delayed

    seeds = SeedSequence(seed).spawn(refits)
    found = Parallel(n_jobs=cores)(delayed(ranks_of_one)(empty, priors, each) for each in seeds)
    return {name: np.array([ranks[name] for ranks in found]) for name in found[0]}


def uniformity(ranks, bins=10):
    """p-value of the χ² test that the ranks are uniform."""
    counts = np.bincount(ranks * bins // (KEPT + 1), minlength=bins)
    return float(stats.chisquare(counts).pvalue)


def coverage(found, probability):
    """Share of true values of all parameters inside the central interval of this probability."""
    outside = round((1 - probability) / 2 * (KEPT + 1))
    ranks = np.concatenate(list(found.values()))
    return float(np.mean((ranks >= outside) & (ranks <= KEPT - outside)))


def plot(found, path):
    """ECDF of the ranks minus that of uniform ranks, with a band that holds 95 % of uniform curves as a whole."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    grid = np.arange(KEPT + 1)
    expected = (grid + 1) / (KEPT + 1)
    refits = len(next(iter(next(iter(found.values())).values())))
    uniform = default_rng(0).integers(0, KEPT + 1, (2000, refits))
    width = np.sqrt(expected * (1 - expected) / refits) + 1e-12
    curves = np.array([np.cumsum(np.bincount(row, minlength=KEPT + 1)) / refits - expected for row in uniform])
    limit = np.quantile(np.abs(curves / width)[:, :-1].max(axis=1), 0.95)
    figure, axes = plt.subplots(
        -(-len(found) // 5), 5, figsize=(15, 2.8 * -(-len(found) // 5)), sharex=True, sharey=True, layout="constrained"
    )
    for ax, (name, ranks) in zip(axes.flat, found.items(), strict=True):
        ax.fill_between(grid, -limit * width, limit * width, color="0.88", lw=0)
        for parameter, values in ranks.items():
            curve = np.cumsum(np.bincount(values, minlength=KEPT + 1)) / refits - expected
            colour = {"s": "C1", "c": "C2", "b": "C0"}[parameter[0]]
            ax.plot(grid, curve, color=colour, lw=0.9, alpha=0.8)
        ax.set_title(name, fontsize=10, family="monospace")
    for colour, label in (("C1", "sds and sigma"), ("C2", "correlations"), ("C0", "fixed and random effects")):
        axes[0, 0].plot([], [], color=colour, label=label)
    figure.legend(fontsize=9, frameon=False, loc="outside upper center", ncols=3)
    figure.supxlabel(f"rank of the true value among {KEPT} draws, {refits:,} data sets", fontsize=10)
    figure.supylabel("ECDF minus uniform", fontsize=10)
    figure.savefig(path, dpi=120)


PAGE = """# Calibration

A sampler is right if, over data simulated from the model, the truth ranks uniformly among its draws (Talts et al.
2018); then intervals hold the truth as often as they say. `make calibrate` checks that and writes this page.

- {date}, bayeslmm {version}, NumPy {numpy}, {machine}; {minutes:.0f} minutes
- {refits:,} data sets a structure for the exact sampler, {families:,} of residuals and for NUTS
- {intervals:,} data sets for intervals
- seed {seed}

## Posterior: ranks and coverage

Parameters are drawn from the prior, data from the model. *p* is the smallest of χ² tests that the ranks of one
parameter are uniform, to be compared with 0.01 / number of tests; the other columns say how many of the central 50, 90
and 95 % intervals of all parameters hold the truth.

{posterior}

Smallest acceptable p: {bound:.1g}. {verdict}

![rank curves of the structures and their bands](calibration.png)

The grey area holds 95 % of curves as a whole, so that of {curves} one in twenty may leave it.

## Intervals at one truth

y = {slope} x + {between} z + b + ε with sd(b) = {sd} and sd(ε) = {sigma}, 6 rows a group, x within and z between
groups: how often the 50, 90 and 95 % intervals hold the truth. The posterior has its default priors, which know nothing
of that truth. The Monte Carlo error of a share of 95 % is {error:.1f} points.

{shares}

### What follows

What z does between groups and the sd of the groups are known from few groups only. There Wald, profile and bootstrap
intervals, which take the variances as known or work by ML, are too short; Kenward–Roger's and the posterior's are not.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--refits", type=int, default=1000, help="data sets a structure (1000)")
    parser.add_argument(
        "--families", type=int, default=300, help="data sets a family by NUTS, and a residual structure (300)"
    )
    parser.add_argument("--intervals", type=int, default=400, help="data sets for intervals (400)")
    parser.add_argument("--seed", type=int, default=100, help="seed of the first structure (100)")
    parser.add_argument("--cores", type=int, default=2, help="processes (2)")
    parser.add_argument("--write", action="store_true", help="write docs/calibration.md and its picture")
    options = parser.parse_args()
    begin, found = time.perf_counter(), {}
    for k, (name, (empty, priors)) in enumerate(structures().items()):
        found[name] = calibrate(empty, priors, options.refits, seed=options.seed + k, cores=options.cores)
        report(name, found[name])
    exact = dict(found)
    for k, (name, (empty, priors)) in enumerate(residual_structures().items()):
        seed = options.seed + 100 * (k + 1)
        found[name] = calibrate(empty, priors, options.families, seed=seed, cores=options.cores)
        report(name, found[name])
    for k, name in enumerate(calibration_models.WIDE):
        seed = options.seed + 500_000 * (k + 1)
        found[name] = calibration_models.ranks_of_family(name, options.families, seed, cores=options.cores)
        report(name, found[name])
    for k, name in enumerate([*calibration_models.FAMILIES, *calibration_models.BY_QUADRATURE]):
        seed = options.seed + 1000 * (k + 1)
        label = f"{name}, {'NUTS' if name in calibration_models.FAMILIES else 'quadrature'}"
        found[label] = calibration_models.ranks_of_family(name, options.families, seed, cores=options.cores)
        report(name, found[label])
    for k, name in enumerate(calibration_models.SECOND):
        seed = options.seed + 10_000 * (k + 1)
        found[f"{name}, NUTS"] = calibration_models.ranks_of_second(name, options.families, seed)
        report(name, found[f"{name}, NUTS"])
    bound = 0.01 / sum(map(len, found.values()))
    doubtful = [
        f"{name} {parameter}: p = {uniformity(values):.2g}"
        for name, ranks in found.items()
        for parameter, values in ranks.items()
        if uniformity(values) < bound
    ]
    verdict = "; ".join(doubtful) or "Every rank distribution is uniform (chi-squared, 1 % over all of them)."
    print(verdict)
    tables = {
        groups: calibration_models.intervals(groups, options.intervals, options.seed, 500, cores=options.cores)
        for groups in (6, 30)
    }
    for groups, table in tables.items():
        print(f"\n{groups} groups\n{table.round(3)}", flush=True)
    if options.write:
        plot(exact, DOCS / "calibration.png")
        minutes = (time.perf_counter() - begin) / 60
        (DOCS / "calibration.md").write_text(page(found, tables, options, bound, verdict, minutes), encoding="utf-8")
    return 1 if doubtful else 0


def report(name, ranks):
    p = min(uniformity(values) for values in ranks.values())
    held = ", ".join(f"{100 * coverage(ranks, each):.1f}" for each in calibration_models.PROBABILITIES)
    print(f"{name:28s} smallest p of {len(ranks):2d}: {p:.4f}; 50, 90, 95 % hold {held} %", flush=True)


def page(found, tables, options, bound, verdict, minutes):
    """The text of docs/calibration.md."""
    posterior = pd.DataFrame(
        {
            "model": ["`" + name.replace("|", r"\|") + "`" for name in found],
            "parameters": [len(ranks) for ranks in found.values()],
            "p": [f"{min(map(uniformity, ranks.values())):.3f}" for ranks in found.values()],
            **{
                f"{100 * each:g} %": [f"{100 * coverage(ranks, each):.1f}" for ranks in found.values()]
                for each in calibration_models.PROBABILITIES
            },
        }
    )
    shares = "\n\n".join(
        f"### {groups} groups\n\n"
        + (100 * held)
        .set_axis([f"{100 * each:g} %" for each in held], axis=1)
        .reset_index()
        .to_markdown(index=False, floatfmt=".1f")
        for groups, held in tables.items()
    )
    return PAGE.format(
        date=date.today().isoformat(),
        version=bayeslmm.__version__,
        numpy=np.__version__,
        machine=f"{platform.machine()}, {options.cores} processes",
        minutes=minutes,
        refits=options.refits,
        families=options.families,
        intervals=options.intervals,
        seed=options.seed,
        posterior=posterior.to_markdown(index=False, disable_numparse=True),
        bound=bound,
        verdict=verdict,
        curves=sum(len(ranks) for name, ranks in found.items() if not name.endswith("NUTS")),
        slope=calibration_models.SLOPE,
        between=calibration_models.BETWEEN,
        sd=calibration_models.SD,
        sigma=calibration_models.SIGMA,
        error=100 * np.sqrt(0.95 * 0.05 / options.intervals),
        shares=shares,
    )


if __name__ == "__main__":
    sys.exit(main())
