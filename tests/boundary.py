"""Fits at the boundary: variances of zero, correlations of ±1, and designs on which statsmodels goes wrong.

``python tests/boundary.py --count 1000 --seed 1`` simulates so many data sets, over the cases in turn, and judges each
fit without the package: by the dense criterion (`plain`) searched from several starts, over all covariance matrices and
over the singular ones alone; by the conditions of Karush, Kuhn and Tucker from explicit V; by generalised least
squares; over all data sets of a case, by how far the fixed effects are from the truth.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import plain
from scipy.optimize import minimize

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.covariances.template import Template
from bayeslmm.engine.scaling import Problem

BETTER = 1e-6  # how much lower a criterion has to be to count: explicit inverses err by 1e-9
STATIONARY = 1e-4  # of the slope of the criterion/n with respect to variances in units of σ²; flat ones stop the search
EXACT = 1e-8  # of a standard error: two ways to generalised least squares
OWN = (errors.SingularFitWarning, errors.FewLevelsWarning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is simulated: a table from a generator, the formula for it and the fixed effects behind it."""

    name: str
    formula: str
    beta: dict[str, float]
    simulate: Callable[[np.random.Generator], pd.DataFrame]


def grouped(beta, effects, *, groups=10, rows=6):
    """Unbalanced rows of x in groups, with random intercepts and slopes that ``effects(rng, groups)`` draws."""

    def simulate(rng):
        sizes = rng.integers(rows - 2, rows + 3, groups)
        g = np.repeat(np.arange(groups), sizes)
        x, b = rng.normal(size=len(g)), effects(rng, groups)
        y = beta["Intercept"] + beta["x"] * x + b[g, 0] + b[g, 1] * x + rng.normal(size=len(g))
        return pd.DataFrame({"y": y, "x": x, "g": g, "h": rng.integers(0, 5, len(g)), "a": g // 3})

    return simulate


def between(*, groups=20, rows=10, within=0.0):
    """statsmodels issue 10239: intercept 10, a predictor that is constant in each group with slope 3, no variance.

    There MixedLM returns 0 for both, and says that it converged, where the variance is estimated below 1e-10. With
    ``within`` a condition that varies within groups is crossed with the predictor, as in the report.
    """

    def simulate(rng):
        g = np.repeat(np.arange(groups), rows)
        x, c = rng.normal(size=groups)[g], np.tile(np.arange(rows) % 2, groups)
        y = 10.0 + 3.0 * x + within * (c + 0.5 * c * x) + rng.normal(size=len(g))
        return pd.DataFrame({"y": y, "x": x, "c": c, "g": g})

    return simulate


def three_classes(rng):
    """statsmodels issue 7051 (a singular matrix): y, x and three classes have nothing to do with each other."""
    return pd.DataFrame({"y": rng.normal(size=100), "x": rng.normal(size=100), "g": np.arange(100) % 3})


def two_slopes(rng):
    """statsmodels issue 3604 (no convergence): two groups with slopes 3 and 2 and intercepts of zero; 40 rows each."""
    g, x = np.repeat([0, 1], 40), rng.normal(size=80)
    return pd.DataFrame({"y": (3.0 - g) * x + rng.normal(size=80), "x": x, "g": g})


def normal(rng, groups, intercept=0.0, slope=0.0):
    return rng.normal(size=(groups, 2)) * [intercept, slope]


def perfect(sign):
    return lambda rng, groups: rng.normal(size=(groups, 1)) * [1.0, 0.6 * sign]


LINE = {"Intercept": 1.0, "x": 0.5}
CASES = (
    Case(name="no variance", formula="y ~ x + (1 | g)", beta=LINE, simulate=grouped(LINE, normal)),
    Case(name="none at all", formula="y ~ x + (x | g)", beta=LINE, simulate=grouped(LINE, normal)),
    Case(
        name="no slope variance",
        formula="y ~ x + (x | g)",
        beta=LINE,
        simulate=grouped(LINE, lambda rng, J: normal(rng, J, intercept=1.0)),
    ),
    Case(
        name="no intercept variance",
        formula="y ~ x + (x || g)",
        beta=LINE,
        simulate=grouped(LINE, lambda rng, J: normal(rng, J, slope=1.0)),
    ),
    Case(name="correlation 1", formula="y ~ x + (x | g)", beta=LINE, simulate=grouped(LINE, perfect(1.0))),
    Case(name="correlation -1", formula="y ~ x + (x | g)", beta=LINE, simulate=grouped(LINE, perfect(-1.0))),
    Case(
        name="crossed, one of two",
        formula="y ~ x + (1 | g) + (1 | h)",
        beta=LINE,
        simulate=grouped(LINE, lambda rng, J: normal(rng, J, intercept=1.0)),
    ),
    Case(
        name="nested, the outer one",
        formula="y ~ x + (1 | a / g)",
        beta=LINE,
        simulate=grouped(LINE, lambda rng, J: normal(rng, J, intercept=1.0)),
    ),
    Case(name="issue 10239", formula="y ~ x + (1 | g)", beta={"Intercept": 10.0, "x": 3.0}, simulate=between()),
    Case(
        name="issue 10239, conditions",
        formula="y ~ x * c + (1 | g)",
        beta={"Intercept": 10.0, "x": 3.0, "c": 1.0, "x:c": 0.5},
        simulate=between(within=1.0),
    ),
    Case(
        name="issue 7051, three classes",
        formula="y ~ x + (1 | g)",
        beta={"Intercept": 0.0, "x": 0.0},
        simulate=three_classes,
    ),
    Case(name="issue 3604, two slopes", formula="y ~ x + (x | g)", beta={"Intercept": 0.0}, simulate=two_slopes),
)


@dataclass(slots=True, kw_only=True)
class Judgement:
    """What is found about one fit; the first four are failures."""

    error: str = ""  # an exception, or a warning that is not this package's, or not one that belongs here
    lower: float = 0.0  # how far the best point of the search lies below the fit
    slope: float = 0.0  # how far the conditions at an optimum are violated
    wrong_verdict: bool = False
    away: float = 0.0  # of β̂ from generalised least squares, in standard errors
    singular: bool = False
    z: dict[str, float] = field(default_factory=dict)  # (β̂ − β)/se of every fixed effect
    posterior: str = ""  # "", "converged", or what is wrong with it
    posterior_z: float = 0.0  # largest |mean − β|/sd

    @property
    def failed(self):
        return bool(
            self.error
            or self.lower > BETTER
            or self.slope > STATIONARY
            or self.wrong_verdict
            or self.away > EXACT
            or self.posterior not in ("", "converged")
        )


def judge(case, seed, *, posterior=False):
    """Simulate, fit, and judge the fit."""
    rng = np.random.default_rng(seed)
    data = case.simulate(rng)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        try:
            model = blm.Model(case.formula, data)
            fit = model.fit_reml()
        except Exception as problem:  # whatever it is: it is counted and shown
            return Judgement(error=f"{type(problem).__name__}: {problem}")
    found = judge_fit(case, fit, rng)
    warned = {w.category for w in given}
    if warned - set(OWN) or (errors.SingularFitWarning in warned) != fit.is_singular:
        found.error = f"warnings {[w.__name__ for w in warned]} of a fit that is {fit.solution.status}"
    if posterior:
        found.posterior, found.posterior_z = judge_posterior(case, model, int(seed.generate_state(1)[0]))
    return found


def judge_fit(case, fit, rng):
    problem, solution = Problem.of(fit.design), fit.solution
    templates = [Template.from_blocks(blocks) for blocks in problem.blocks]
    criterion = dense_criterion(problem, templates)
    anywhere, singular = search(criterion, templates, solution.theta, rng)
    status = {True: "boundary", False: "converged"}[fit.is_singular]
    lams = lams_of(templates, solution.theta)
    deficient = any(np.linalg.svd(lam, compute_uv=False)[-1] < 1e-4 for lam in lams)  # as lme4's isSingular
    # a variance may be so small that the best singular matrix is as good to six digits: then both verdicts are right
    must_be, may_be = singular < anywhere - BETTER, singular < anywhere + BETTER
    beta, sigma, cov, _, _ = plain.estimates(problem, lams, reml=True)
    se = np.sqrt(np.diag(cov))
    by_gls = np.abs(solution.beta - beta) / se
    of_error = np.abs(np.sqrt(np.diag(solution.vcov)) / se - 1.0)
    return Judgement(
        lower=max(criterion(solution.theta) - min(anywhere, singular), abs(criterion(solution.theta) - fit.criterion)),
        slope=violation(problem, lams, sigma),
        wrong_verdict=solution.status != status
        or fit.is_singular != deficient
        or (must_be if not fit.is_singular else not may_be),
        away=float(max(by_gls.max(), of_error.max(), abs(solution.sigma / sigma - 1.0))),
        singular=fit.is_singular,
        z={
            name: (estimate - case.beta[name]) / error
            for name, estimate, error in zip(fit.design.x_names, solution.beta, se, strict=True)
            if name in case.beta
        },
    )


def lams_of(templates, theta):
    parts = np.split(theta, np.cumsum([t.n_theta for t in templates])[:-1])
    return [t.factor(part) for t, part in zip(templates, parts, strict=True)]


def dense_criterion(problem, templates):
    return lambda theta: plain.criterion(problem, lams_of(templates, theta), reml=True)


def search(criterion, templates, theta, rng):
    """The lowest values found: over all covariance matrices, and over those that are singular.

    Λ without bounds, from the fit itself, from two sizes of the identity and from a random matrix. A singular block has
    a Λ whose last entry is zero.
    """
    diagonal = np.concatenate([t.is_diagonal for t in templates])
    starts = [theta + 0.01, 0.3 * diagonal, 3.0 * diagonal, rng.normal(size=len(theta))]

    def lowest(free):
        def restricted(values):
            full = np.zeros(len(theta))
            full[free] = values
            return criterion(full)

        if not free.any():
            return restricted(np.zeros(0))
        ends = [minimize(restricted, start[free], method="BFGS", options={"gtol": 1e-6}) for start in starts]
        best = min(ends, key=lambda end: end.fun)
        polish = {"xatol": 1e-8, "fatol": 1e-10, "maxfev": 150}
        return min(best.fun, minimize(restricted, best.x, method="Nelder-Mead", options=polish).fun)

    everything = np.ones(len(theta), bool)
    faces = []
    for last in last_entries(templates):
        face = everything.copy()
        face[last] = False
        faces.append(lowest(face))
    return min(lowest(everything), criterion(theta)), min(faces)


def last_entries(templates):
    """Where in θ each block's last diagonal entry stands."""
    at = 0
    for template in templates:
        for block in template.blocks:
            yield at + [*zip(template.rows, template.columns, strict=True)].index((block[-1], block[-1]))
        at += template.n_theta


def violation(problem, lams, sigma):
    """Over the blocks of Cov(b)/σ² = S the largest of −λ_min(G) and |GS|, where G is the slope of the criterion.

    At an optimum among positive semidefinite matrices G ⪰ 0 and GS = 0 (Karush, Kuhn & Tucker). G comes from P =
    V⁻¹ − V⁻¹X(XᵀV⁻¹X)⁻¹XᵀV⁻¹, summed over the levels, and is told in units of n.
    """
    V = plain.relative_V(problem, lams)
    X, n = problem.X, len(problem.y)
    P = np.linalg.inv(V)
    P -= P @ X @ np.linalg.solve(X.T @ P @ X, X.T @ P)
    e = P @ problem.y
    worst = 0.0
    for codes, Z, lam, blocks in zip(problem.codes, problem.Z, lams, problem.blocks, strict=True):
        same = codes[:, None] == codes[None, :]
        G = Z.T @ ((P - np.outer(e, e) / sigma**2) * same) @ Z / n
        for block in blocks:
            at = np.ix_(block, block)
            S = (lam @ lam.T)[at]
            worst = max(worst, -np.linalg.eigvalsh(G[at]).min(), np.abs(G[at] @ S).max())
    return float(worst)


def judge_posterior(case, model, seed):
    """Whether the posterior's own verdict is good, and how far the fixed effects are from the truth, in sds."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", errors.FewLevelsWarning)
        try:
            post = model.fit(random_seed=seed, cores=1, progressbar=False)
        except Exception as problem:  # a warning about the draws as well
            return f"{type(problem).__name__}: {problem}", np.nan
    table = post.fixef()
    z = [(table.loc[name, "mean"] - value) / table.loc[name, "sd"] for name, value in case.beta.items()]
    sound = post.diagnosis.converged and np.isfinite(post.draws("beta")).all() and (post.draws("sigma") > 0).all()
    return "converged" if sound else post.verdict, float(np.abs(z).max())


def study(count, seed, *, every=25, report=lambda text: None):
    """One row a case, and the failures in words. Every so many data sets the posterior is drawn as well."""
    seeds = np.random.SeedSequence(seed).spawn(count)
    found = {case.name: [] for case in CASES}
    failures = []
    for i, own in enumerate(seeds):
        case = CASES[i % len(CASES)]
        result = judge(case, own, posterior=i % every == 0)
        found[case.name].append(result)
        if result.failed:
            failures.append(f"{case.name}, data set {i} of seed {seed}: {result}")
            report(failures[-1])
    return pd.DataFrame([row(name, each) for name, each in found.items() if each]), failures


def row(name, results):
    """Counts and largest deviations of a case; "bias" is the mean z of the effect that is farthest off, times √n."""
    z = pd.DataFrame([each.z for each in results if not each.error])
    drawn = [each for each in results if each.posterior]
    return {
        "case": name,
        "data sets": len(results),
        "singular": sum(each.singular for each in results),
        "wrong optimum": sum(each.lower > BETTER or each.slope > STATIONARY for each in results),
        "wrong verdict": sum(each.wrong_verdict for each in results),
        "errors": sum(bool(each.error) for each in results),
        "lower by": max(each.lower for each in results),
        "slope": max(each.slope for each in results),
        "from GLS (se)": max(each.away for each in results),
        "bias (z)": float((z.mean() * np.sqrt(len(z))).abs().max()) if len(z) else np.nan,
        "sd of z": float(z.std().iloc[(z.std() - 1.0).abs().argmax()]) if len(z) > 1 else np.nan,
        "posteriors": f"{sum(each.posterior == 'converged' for each in drawn)} of {len(drawn)}",
        "their |z|": max((each.posterior_z for each in drawn), default=np.nan),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="data sets (1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=25, help="a posterior for one data set in so many (25)")
    options = parser.parse_args()
    begin = time.perf_counter()
    table, failures = study(options.count, options.seed, every=options.every, report=print)
    digits = {"lower by": "{:.0e}", "slope": "{:.0e}", "from GLS (se)": "{:.0e}"}
    digits |= dict.fromkeys(("bias (z)", "sd of z", "their |z|"), "{:.2f}")
    shown = table.assign(**{name: table[name].map(form.format) for name, form in digits.items()})
    print(shown.to_markdown(index=False, disable_numparse=True))
    print(
        f"\n{options.count} data sets, seed {options.seed}, {(time.perf_counter() - begin) / 60:.1f} minutes; "
        f"{table['singular'].sum()} singular fits; {len(failures)} failures."
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
