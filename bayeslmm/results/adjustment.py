"""p-values and intervals of several tests at once.

The methods are those of emmeans, with its words: Tukey's studentized range, Šidák, Bonferroni, Holm, Benjamini and
Hochberg's false discovery rate, the approximation to Dunnett's test, and the exact multivariate t.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import InputError
from ..tools.arrays import Array
from ..tools.lazy import optimize, stats
from ..tools.words import is_one_of

IN_WORDS = {
    "tukey": "Tukey's method",
    "holm": "Holm's method",
    "bonferroni": "Bonferroni's method",
    "sidak": "Šidák's method",
    "fdr": "the false discovery rate",
    "dunnett": "Dunnett's method",
    "mvt": "the multivariate t distribution",
}
METHODS = ("none", *IN_WORDS)
ENDLESS = 1e7  # degrees of freedom for which a t is normal
POINTS_LOG2 = 18  # of a Sobol sequence


def check_method(adjust: object) -> None:
    """Raise InputError for another word."""
    if not is_one_of(adjust, METHODS):
        words = {"bonf": "bonferroni", "bh": "fdr", "benjaminihochberg": "fdr", "scheffe": "tukey", "hsd": "tukey"}
        hint = words.get("".join(c for c in str(adjust).lower() if c.isalnum()), "")
        lead = f"here it is {hint!r}; " if hint else ""
        raise InputError(f"adjust={adjust!r}: {lead}methods are {', '.join(map(repr, METHODS))}")


def adjusted(
    statistic: Array, df: Array, adjust: str, *, n_means: int, correlation: Array, ci_prob: float
) -> tuple[Array, Array]:
    """Two-sided p-values (k,), and how many standard errors wide an interval is to each side (k,).

    Parameters
    ----------
    statistic, df : (k,)
        t of every test; NaN where a contrast is not estimable, which counts as a test all the same, as in emmeans.
    adjust : str
        One of `METHODS`. Holm's intervals and those of the false discovery rate are Bonferroni's.
    n_means : int
        How many means are compared, for ``tukey``.
    correlation : (k, k)
        Of the contrasts, for ``mvt``.
    ci_prob : float
        Probability of all k intervals together.

    References
    ----------
    Lenth, emmeans; Hothorn, Bretz & Westfall (2008), Simultaneous inference in general parametric models, Biom. J. 50.
    """
    k = len(statistic)
    finite_df = np.where(np.isinf(df), ENDLESS, df)
    size = np.abs(statistic)
    p = np.where(np.isinf(df), 2.0 * stats.norm.sf(size), 2.0 * stats.t.sf(size, finite_df))
    single = stats.t.ppf(0.5 + ci_prob / 2.0, finite_df)
    bonferroni = stats.t.ppf(1.0 - (1.0 - ci_prob) / (2.0 * k), finite_df)
    if adjust == "none" or k == 1:
        return p, single
    if adjust == "bonferroni":
        return np.minimum(1.0, k * p), bonferroni
    if adjust == "holm":
        return _stepwise(p, lambda rank: k - rank), bonferroni
    if adjust == "fdr":
        return _false_discovery(p), bonferroni
    if adjust == "sidak":
        return -np.expm1(k * np.log1p(-p)), stats.t.ppf(0.5 + ci_prob ** (1.0 / k) / 2.0, finite_df)
    if adjust == "tukey":
        spread = stats.studentized_range
        finite = np.isfinite(size)
        p_range = np.full(k, np.nan)
        p_range[finite] = spread.sf(size[finite] * np.sqrt(2.0), n_means, finite_df[finite])
        width = np.full(k, np.nan)
        width[finite] = spread.ppf(ci_prob, n_means, finite_df[finite]) / np.sqrt(2.0)
        return p_range, width
    if adjust == "dunnett":
        return _dunnett(size, finite_df, k, ci_prob)
    return _multivariate(size, finite_df, correlation, ci_prob, p)


def _stepwise(p: Array, factor: Callable[[int], float]) -> Array:
    """Holm's step-down p-values; missing ones count as the largest."""
    order = np.argsort(np.where(np.isnan(p), np.inf, p), kind="stable")
    out = np.full(len(p), np.nan)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, factor(rank) * p[i])) if np.isfinite(p[i]) else largest
        out[i] = largest if np.isfinite(p[i]) else np.nan
    return out


def _false_discovery(p: Array) -> Array:
    """Benjamini and Hochberg's step-up p-values."""
    order = np.argsort(np.where(np.isnan(p), np.inf, p), kind="stable")
    out = np.full(len(p), np.nan)
    smallest = 1.0
    for rank in range(len(p), 0, -1):
        i = order[rank - 1]
        if np.isfinite(p[i]):
            smallest = min(smallest, len(p) * p[i] / rank)
            out[i] = smallest
    return out


def _dunnett(size: Array, df: Array, k: int, ci_prob: float) -> tuple[Array, Array]:
    """emmeans' ``dunnettx``: between Tukey's distribution and Šidák's, for equal correlations of a half."""
    weight, means = (k - 1.0) / k, (1.0 + np.sqrt(1.0 + 8.0 * k)) / 2.0

    def inside(x: float, nu: float) -> float:
        by_range = stats.studentized_range.cdf(np.sqrt(2.0) * x, means, nu)
        return float(weight * by_range + (1.0 - weight) * stats.f.cdf(x**2, 1, nu) ** k)

    p, width = np.full(k, np.nan), np.full(k, np.nan)
    for i in np.flatnonzero(np.isfinite(size)):
        p[i] = 1.0 - inside(size[i], df[i])
        width[i] = optimize.brentq(lambda x, nu=df[i]: inside(x, nu) - ci_prob, 0.1, 100.0)
    return p, width


def _multivariate(size: Array, df: Array, correlation: Array, ci_prob: float, single: Array) -> tuple[Array, Array]:
    """The largest |t| of a multivariate t with the contrasts' correlations, each at its own degrees of freedom.

    By 2¹⁸ points of a Sobol sequence, the same each time: p-values are off by some 1e-4 at most. They lie between those
    of the single test and k times these.
    """
    p, width = np.full(len(size), np.nan), np.full(len(size), np.nan)
    finite = np.isfinite(size)
    values, vectors = np.linalg.eigh(correlation[np.ix_(finite, finite)])
    is_kept = values > 1e-9 * values.max(initial=0.0)
    root = vectors[:, is_kept] * np.sqrt(values[is_kept])  # (contrasts, rank): contrasts may follow from each other
    rank = root.shape[1]
    u = stats.qmc.Sobol(rank + 1, seed=1).random_base2(POINTS_LOG2)
    normal = np.abs(stats.norm.ppf(u[:, :rank]) @ root.T).max(axis=1)
    for nu in np.unique(np.round(df[finite], 6)):
        largest = normal / np.sqrt(stats.chi2.ppf(u[:, rank], nu) / nu)
        quantile = float(np.quantile(largest, ci_prob))
        for i in np.flatnonzero(finite & (np.round(df, 6) == nu)):
            p[i] = np.clip(np.mean(largest >= size[i]), single[i], min(1.0, len(size) * single[i]))
            width[i] = quantile
    return p, width
