"""How much the true effects of rows with known standard errors differ: τ², I², H², Q; their mean and a new one.

τ² is what the grouping factors add to the variance of a row's true effect, at the average row where they have slopes.
A relationship matrix, such as that of a phylogeny, counts by its diagonal in the average row. I² = τ²/(τ² + s²) with
s² = (n − p)/tr(P), P = W − WX(XᵀWX)⁻¹XᵀW and W = diag(1/se²): the typical sampling variance of Higgins & Thompson
(2002, eq. 9), with predictors that of Viechtbauer (2010), as in metafor. H² = 1/(1 − I²).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..design.design import Design
from ..errors import NotAvailableError
from ..tools.arrays import Array
from . import variance, wald
from .alike import told_alike
from .draws import Draws
from .estimates import Estimates
from .summaries import check_interval
from .variance import Values

TOTAL = ""  # the group of what all factors make together


def weights_of(design: Design, verb: str) -> Array:
    """1/se² (n,).

    Raises
    ------
    NotAvailableError
        The standard errors are not known, or a smooth is a moderator that Q does not hold.
    """
    if design.standard_errors is None:
        raise NotAvailableError(
            f"{verb} compares the differences between true effects with known sampling errors, and this model "
            "has one residual variance for all rows: Model(..., se='column') is that of a meta-analysis. icc() "
            "compares with the residual variance."
        )
    for smooth in design.smooths:
        raise smooth.refusal(verb)
    return design.standard_errors**-2.0


def typical_variance(design: Design, w: Array) -> float:
    """s² = (n − p)/tr(P)."""
    root = np.sqrt(w)
    Q = np.linalg.qr(design.X * root[:, None])[0]
    return float((design.n - design.p) / np.sum(w * np.maximum(1.0 - np.sum(Q**2, axis=1), 0.0)))


def cochran(design: Design, w: Array, tau2: float = 0.0) -> float:
    """Q = Σ (y − xβ̂)²/(se² + τ²) with β̂ of the same weights: Cochran's at τ² = 0, the generalised one elsewhere."""
    root = np.sqrt(1.0 / (1.0 / w + tau2))
    white = root * design.normal_response
    Q = np.linalg.qr(design.X * root[:, None])[0]
    left = white - Q @ (Q.T @ white)
    return float(left @ left)


def _q_profile(design: Design, w: Array, ci_prob: float) -> tuple[float, float]:
    """The τ² at which Q(τ²) has the quantiles of χ² with n − p df (Viechtbauer 2007): an exact interval."""
    from scipy.optimize import brentq
    from scipy.stats import chi2

    df, ends = design.n - design.p, []
    for quantile in chi2.ppf([0.5 + ci_prob / 2.0, 0.5 - ci_prob / 2.0], df):

        def above(tau2: float, level: float = quantile) -> float:
            return cochran(design, w, tau2) - level

        if above(0.0) <= 0.0:
            ends.append(0.0)
            continue
        high = 1.0 / float(w.mean())
        while above(high) > 0.0:
            high *= 4.0
        ends.append(float(brentq(above, 0.0, high, xtol=1e-12 * high, rtol=1e-12)))
    return ends[0], ends[1]


def _is_one_effect_a_row(design: Design) -> bool:
    """Whether the only random effect is one intercept of every row."""
    if len(design.groups) != 1:
        return False
    (group,) = design.groups
    return not group.is_wide and group.q == 1 and group.n_levels == design.n and bool(np.all(group.Z == 1.0))


def quantities(design: Design, values: Values, s2: float) -> list[tuple[str, str, Array]]:
    """(group, quantity, value (...,)) of τ², τ, I² by grouping factor and in all, and H²."""
    parts = {
        group.name: variance.average_variance(group, covariance)
        for group, covariance in zip(design.groups, values.covariances, strict=True)
    }
    if not parts:
        return []
    total = np.asarray(sum(parts.values()))
    rows = []
    for name, part in parts.items():
        rows += [(name, "tau2", part), (name, "tau", np.sqrt(part)), (name, "I2", part / (total + s2))]
    if len(parts) > 1:
        rows += [(TOTAL, "tau2", total), (TOTAL, "tau", np.sqrt(total)), (TOTAL, "I2", total / (total + s2))]
    return [*rows, (TOTAL, "H2", (total + s2) / s2)]


def _tests(fit: Estimates | None, design: Design, w: Array) -> Iterator[dict[str, object]]:
    """Cochran's Q, and of a point fit the Wald test of the predictors."""
    from scipy.stats import chi2

    df, value = design.n - design.p, cochran(design, w)
    yield {"group": TOTAL, "quantity": "Q", "value": value, "df": df, "p_value": float(chi2.sf(value, df))}
    places = [j for j, name in enumerate(design.x_names) if name != "Intercept"]
    if fit is None or not places:
        return
    beta, vcov = fit.solution.beta[places], fit.solution.vcov[np.ix_(places, places)]
    value = float(beta @ np.linalg.solve(vcov, beta))
    yield {
        "group": TOTAL,
        "quantity": "QM",
        "value": value,
        "df": len(places),
        "p_value": float(chi2.sf(value, len(places))),
    }


@told_alike
def of_point(fit: Estimates, ci_prob: float) -> pd.DataFrame:
    """The table behind :meth:`PointFit.heterogeneity`."""
    check_interval(ci_prob)
    design = fit.design
    w = weights_of(design, "heterogeneity()")
    s2 = typical_variance(design, w)
    columns = ["group", "quantity", "estimate", "conf_low", "conf_high", "df", "p_value"]
    rows = [
        {"group": group, "quantity": quantity, "estimate": float(value)}
        for group, quantity, value in quantities(design, fit.values, s2)
    ]
    if _is_one_effect_a_row(design):
        ends = np.array(_q_profile(design, w, ci_prob))
        of = {"tau2": ends, "tau": np.sqrt(ends), "I2": ends / (ends + s2), "H2": (ends + s2) / s2}
        for row in rows:
            row["conf_low"], row["conf_high"] = of[str(row["quantity"])]
    rows += [{"estimate": test.pop("value"), **test} for test in _tests(fit, design, w)]
    return pd.DataFrame(rows, columns=columns)


def of_posterior(fit: Draws, ci_prob: float | None, ci_kind: str | None) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.heterogeneity`."""
    design = fit.design
    w = weights_of(design, "heterogeneity()")
    heterogeneities = quantities(design, fit.values, typical_variance(design, w))
    tests = pd.DataFrame([{"mean": test.pop("value"), **test} for test in _tests(None, design, w)])
    if not heterogeneities:
        return tests
    table = fit.summarise(np.stack([value for *_, value in heterogeneities], axis=-1), ci_prob, ci_kind)
    table.insert(0, "quantity", [quantity for _, quantity, _ in heterogeneities])
    table.insert(0, "group", [group for group, *_ in heterogeneities])
    return pd.concat([table, tests], ignore_index=True)


# -- the mean effect and a new one


def averages(fit: Estimates | Draws, ci_prob: float) -> pd.DataFrame:
    """The mean effect at average predictors and the true effect of a new study there: value, low, high.

    The interval of a new study is its prediction interval: it holds the uncertainty of the mean as well.
    """
    design = fit.design
    x_mean, offset = design.X.mean(axis=0), float(design.offset.mean())
    if isinstance(fit, Estimates):
        approximation = wald.approximation(design, fit.solution, wald.DDF)
        spread = sum(
            float(variance.average_variance(group, covariance))
            for group, covariance in zip(design.groups, fit.solution.covariances, strict=True)
        )
        mean = float(x_mean @ fit.solution.beta) + offset
        variance_of_mean = float(approximation.variances(x_mean[None])[0])
        rows = []
        for total in (variance_of_mean, variance_of_mean + spread):
            df = wald.df_of_sums(approximation, x_mean[None], np.array([total]))
            half = float(wald.quantile(df, ci_prob)[0]) * np.sqrt(total)
            rows.append((mean, mean - half, mean + half))
    else:
        values = fit.values
        draws = (values.beta @ x_mean + offset).ravel()
        parts = [
            variance.average_variance(group, covariance)
            for group, covariance in zip(design.groups, values.covariances, strict=True)
        ]
        sds = np.sqrt(np.asarray(sum(parts, np.zeros(values.beta.shape[:-1])))).ravel()
        new = draws + sds * np.random.default_rng(0).standard_normal(len(draws))
        tails = [0.5 - ci_prob / 2.0, 0.5 + ci_prob / 2.0]
        rows = [(float(draws.mean()), *np.quantile(each, tails)) for each in (draws, new)]
    return pd.DataFrame(rows, columns=["value", "low", "high"], index=pd.Index(["mean", "new study"], name="of"))
