"""Posteriors of counts and shares with two modes: sceptical priors that the data contradict, judged by quadrature.

``python tests/modes_of_counts.py --count 200 --seed 0`` draws so many data sets, a predictor of groups that explains
them, and Student t priors of its slope whose scale leaves as much as it can to the lighter mode. The truth comes from
sums over grids of the intercept, the sd and every group's mean. A mode is missed if it has more than 1 % of the mass,
less than a third of that among the draws, and the verdict is still "converged".
"""

from __future__ import annotations

import argparse
import sys
import warnings

import numpy as np
import pandas as pd
from scipy import stats
from scipy.interpolate import CubicSpline
from scipy.special import expit, logsumexp

import bayeslmm as blm

LEAST, THIRD = 0.01, 1.0 / 3.0  # as in `modes`
TRIALS = 20
OTHER_PRIORS = {"Intercept": blm.Prior("Normal", mu=0, sigma=5), "sd": blm.Prior("HalfNormal", sigma=2)}
FORMULAS = {"poisson": "y ~ z + (1 | g)", "binomial": "p(y, trials) ~ z + (1 | g)"}


def simulate(rng, family):
    """Rows of groups that a slope tells apart, and the slope."""
    levels, rows, slope = (
        int(rng.choice([6, 8, 12, 20])),
        int(rng.choice([3, 6, 12])),
        float(rng.choice([0.7, 1.5, 2.5])),
    )
    z = np.linspace(-1.5, 1.5, levels) if rng.uniform() < 0.5 else rng.uniform(-1.5, 1.5, levels)
    g = np.repeat(np.arange(levels), rows)
    eta = rng.choice([-1.0, 0.0]) + slope * z[g] + rng.choice([0.1, 0.3, 0.8]) * rng.normal(size=levels)[g]
    y = rng.poisson(np.exp(eta)) if family == "poisson" else rng.binomial(TRIALS, expit(eta))
    return pd.DataFrame({"y": y, "trials": TRIALS, "z": z[g], "g": [f"g{i:02d}" for i in g]}), slope


def likelihood(total, rows, family):
    """Points of a group's mean, dense where its rows have it, their log likelihoods, and about the best of them."""
    if family == "poisson":
        middle, width = np.log((total + 0.5) / rows), 1.0 / np.sqrt(total + 0.5)
    else:
        share = (total + 0.5) / (rows * TRIALS + 1.0)
        middle, width = np.log(share / (1.0 - share)), 1.0 / np.sqrt(rows * TRIALS * share * (1.0 - share))
    u = np.union1d(np.linspace(-12.0, 12.0, 241), middle + width * np.linspace(-8.0, 8.0, 97))
    normaliser = rows * np.exp(u) if family == "poisson" else rows * TRIALS * np.logaddexp(0.0, u)
    of_rows = total * u - normaliser
    kept = of_rows > of_rows.max() - 30.0
    return u[kept], of_rows[kept], middle


class Truth:
    """P(slope < cut | y) under a Student t prior of any scale."""

    def __init__(self, data, family):
        groups = data.groupby("g")
        self.z = groups["z"].first().to_numpy()
        middles = [
            likelihood(total, rows, family)[2] for total, rows in zip(groups["y"].sum(), groups.size(), strict=True)
        ]
        # steps are for counts of some hundreds a group, and ends for an intercept of ±4 with a slope of 4 at ±1.5
        self.line = np.polyfit(self.z, middles, 1)
        means, self.sd = np.linspace(-10.0, 10.0, 641), np.geomspace(0.02, 7.0, 30)
        self.groups = []  # log likelihood of each by its mean and the sd of effects
        for total, rows in zip(groups["y"].sum(), groups.size(), strict=True):
            u, of_rows, _ = likelihood(total, rows, family)
            of_effect = stats.norm.logpdf(u, means[:, None, None], self.sd[None, :, None])
            self.groups.append(CubicSpline(means, logsumexp(of_rows + of_effect + np.log(np.gradient(u)), axis=-1)))

    def log_likelihood(self, slopes):
        """Of each slope, with the intercept and the sd integrated out."""
        a = np.union1d(np.linspace(-4.0, 4.0, 41), self.line[1] + np.linspace(-0.6, 0.6, 61))
        prior = (stats.norm.logpdf(a, 0, 5) + np.log(np.gradient(a)))[:, None]
        prior = prior + stats.halfnorm.logpdf(self.sd, scale=2) + np.log(np.gradient(self.sd))
        return np.array(
            [
                logsumexp(prior + sum(group(a + slope * z) for group, z in zip(self.groups, self.z, strict=True)))
                for slope in slopes
            ]
        )

    def below(self, cut, nu, scale):
        slopes = np.union1d(scale * np.sinh(np.linspace(-6.0, 6.0, 81)), np.linspace(-1.0, 4.0, 101))
        slopes = np.union1d(slopes, self.line[0] + np.linspace(-0.5, 0.5, 101))
        log_density = self.log_likelihood(slopes) + stats.t.logpdf(slopes, nu, 0.0, scale)
        density = np.exp(log_density - log_density.max())
        mass = np.concatenate([[0.0], np.cumsum(np.diff(slopes) * (density[1:] + density[:-1]) / 2.0)])
        return float(np.interp(cut, slopes, mass / mass[-1]))


def fit(data, family, nu, scale, **settings):
    slope = blm.Prior("StudentT", nu=nu, mu=0, sigma=scale)
    model = blm.Model(FORMULAS[family], data, family=family, priors={**OTHER_PRIORS, "z": slope})
    return model.fit(progressbar=False, **settings)


def slopes_of(post):
    """Draws of the slope (chain, draw)."""
    return post.idata.posterior["beta"].sel(coef="z").to_numpy()


def study(count, seed, *, report=lambda text: None):
    """One row a case: the mass below half the slope by quadrature, and that of the draws."""
    rows = []
    for i, stream in enumerate(np.random.SeedSequence(seed).spawn(count)):
        rng, family = np.random.default_rng(stream), list(FORMULAS)[i % 2]
        data, slope = simulate(rng, family)
        truth, nu, cut = Truth(data, family), float(rng.choice([1.0, 3.0, 5.0])), slope / 2.0
        scales = slope * 10.0 ** np.linspace(-4.0, -0.5, 8)
        masses = [truth.below(cut, nu, scale) for scale in scales]
        k = int(np.argmin(np.abs(np.array(masses) - 0.5)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            post = fit(data, family, nu, scales[k], random_seed=i)
        drawn = float(np.mean(slopes_of(post) < cut))
        two = LEAST < masses[k] < 1.0 - LEAST
        seen = min(drawn / masses[k], (1.0 - drawn) / (1.0 - masses[k])) if two else 1.0
        row = {"family": family, "two": two, "mass": masses[k], "drawn": drawn, "converged": post.diagnosis.converged}
        rows.append({**row, "missed": two and seen < THIRD and post.diagnosis.converged, "verdict": post.verdict})
        report(f"case {i}: {rows[-1]}; nu {nu:g}, scale {scales[k]:.2g}")
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = study(arguments.count, arguments.seed, report=print)
    rows["off"] = (rows["mass"] - rows["drawn"]).abs()
    converged = rows[rows["converged"]]
    print(rows.groupby("family")[["two", "converged", "missed"]].sum().to_string())
    print(converged.groupby("family")["off"].agg(["size", "median", "max"]).round(3).to_string())
    return int(rows["missed"].any())


if __name__ == "__main__":
    sys.exit(main())
