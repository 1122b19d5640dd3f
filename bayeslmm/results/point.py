"""The REML or ML fit: lme4's numbers under the verbs every fit answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from ..engine.reml import PointSolution
from ..errors import InputError
from ..spec.design import Design
from . import text, variance

Array = NDArray[np.float64]

VERDICTS = {
    "converged": "converged",
    "boundary": "boundary (singular) fit: a variance is zero or a correlation is ±1",
    "failed": "failed: the optimiser stopped away from a stationary point; do not use these numbers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFit:
    """A REML or ML fit of a Gaussian mixed model.

    Attributes
    ----------
    design : Design
        What was fitted.
    solution : PointSolution
        The estimates as arrays.
    """

    design: Design
    solution: PointSolution

    # -- numbers ---------------------------------------------------------------------------------------------

    @property
    def nobs(self) -> int:
        """Number of rows used."""
        return len(self.design.y)

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels of each grouping factor."""
        return {g.name: g.n_levels for g in self.design.groups}

    @property
    def sigma(self) -> float:
        """Residual standard deviation, in units of the response."""
        return self.solution.sigma

    @property
    def criterion(self) -> float:
        """REML criterion, or deviance for an ML fit (docs/theory.md, eq. 3.1)."""
        return self.solution.criterion

    @property
    def n_parameters(self) -> int:
        """Fixed effects, covariance parameters and sigma, as lme4 counts them."""
        return self.design.X.shape[1] + len(self.solution.theta) + 1

    @property
    def loglik(self) -> float:
        """(Restricted) log-likelihood."""
        return -self.criterion / 2.0

    @property
    def deviance(self) -> float:
        """−2 log-likelihood; for a REML fit the REML criterion."""
        return self.criterion

    @property
    def aic(self) -> float:
        """−2 loglik + 2 n_parameters."""
        return self.criterion + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """−2 loglik + log(nobs) n_parameters."""
        return self.criterion + float(np.log(self.nobs)) * self.n_parameters

    @property
    def df_resid(self) -> int:
        """nobs − n_parameters."""
        return self.nobs - self.n_parameters

    @property
    def verdict(self) -> str:
        """``converged``, ``boundary`` (singular) or ``failed``, in words."""
        return VERDICTS[self.solution.status]

    @property
    def is_singular(self) -> bool:
        """Whether a covariance matrix of the random effects has not full rank."""
        return any(self.solution.singular)

    # -- tables ----------------------------------------------------------------------------------------------

    def fixef(self, *, ci_prob: float = 0.95) -> pd.DataFrame:
        """Fixed effects: estimate, std_error, statistic (t) and Wald interval, one row a coefficient."""
        se = np.sqrt(np.diag(self.solution.vcov))
        table = pd.DataFrame(
            {
                "estimate": self.solution.beta,
                "std_error": se,
                "statistic": self.solution.beta / se,
            },
            index=pd.Index(self.design.x_names, name="term"),
        )
        return _with_interval(table, ci_prob)

    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the fixed effects, σ̂² A_x⁻¹."""
        names = list(self.design.x_names)
        return pd.DataFrame(self.solution.vcov, index=names, columns=names)

    def ranef(self, *, wide: bool = False, ci_prob: float = 0.95) -> pd.DataFrame:
        """Conditional modes of the random effects with their conditional sds (lme4's condSD).

        Parameters
        ----------
        wide : bool
            One row a level, one column a term (modes only) instead of one row a number.
        ci_prob : float
            Probability of the interval mode ± z condSD.
        """
        parts = []
        for group, modes, cov in zip(
            self.design.groups, self.solution.modes, self.solution.mode_covariances, strict=True
        ):
            sd = np.sqrt(np.maximum(np.diagonal(cov, axis1=1, axis2=2), 0.0))
            parts.append(_level_table(group.name, group.levels, group.columns, estimate=modes, std_error=sd))
        table = _with_interval(_stack(parts), ci_prob)
        return _wide(table) if wide else table

    def coef(self, *, wide: bool = False) -> pd.DataFrame:
        """β + b for every level of every grouping factor, over the union of fixed and random terms."""
        parts = []
        for group, modes in zip(self.design.groups, self.solution.modes, strict=True):
            names, fixed, where = coefficient_terms(self.design.x_names, group.columns)
            values = np.zeros((group.n_levels, len(names)))
            values[:, : len(fixed)] = self.solution.beta
            values[:, where] += modes
            parts.append(_level_table(group.name, group.levels, names, estimate=values))
        table = _stack(parts)
        return _wide(table) if wide else table

    def var_corr(self) -> dict[str, pd.DataFrame]:
        """Covariance matrix of the random effects of each grouping factor."""
        return {
            g.name: pd.DataFrame(cov, index=list(g.columns), columns=list(g.columns))
            for g, cov in zip(self.design.groups, self.solution.covariances, strict=True)
        }

    def variance_components(self) -> pd.DataFrame:
        """Variances, sds and correlations of every term, the residual, and each factor's share of the total.

        Columns: group, term, quantity (``variance``, ``sd``, ``cor``, ``share``), estimate. The share is taken at
        the average row: see :func:`bayeslmm.results.variance.components`.
        """
        rows = variance.components(self.design, self.solution.covariances, self.sigma)
        return pd.DataFrame(
            [(*labels, float(value)) for *labels, value in rows],
            columns=["group", "term", "quantity", "estimate"],
        )

    def icc(self, *, at: dict[str, list[float]] | None = None) -> pd.DataFrame:
        """Intraclass correlation: adjusted, unadjusted and by grouping factor; or ICC(x) at given values.

        Definitions and sources: :mod:`bayeslmm.results.variance`.
        """
        if at is not None:
            grid, values = variance.icc_at(self.design, self.solution.covariances, self.sigma, at)
            return grid.assign(icc=values)
        fixed = variance.fixed_part_variance(self.design, self.solution.beta)
        parts = variance.icc(self.design, self.solution.covariances, self.sigma, fixed)
        return pd.DataFrame(
            {"estimate": [float(v) for v in parts.values()]}, index=pd.Index(parts, name="icc")
        )

    # -- rows ------------------------------------------------------------------------------------------------

    def fitted(self) -> Array:
        """Fitted values Xβ̂ + Zb̂ + offset (nobs,), groups at their conditional modes."""
        values = self.design.X @ self.solution.beta + self.design.offset
        for group, modes in zip(self.design.groups, self.solution.modes, strict=True):
            values += np.einsum("nq,nq->n", group.Z, modes[group.codes])
        return values

    def residuals(self, kind: str = "raw") -> Array:
        """Residuals (nobs,): ``raw`` y − fitted, ``pearson`` times √weight, ``scaled`` over sigma as well."""
        residuals = self.design.y - self.fitted()
        if kind == "raw":
            return residuals
        if kind not in ("pearson", "scaled"):
            raise InputError(f"residuals(kind={kind!r}): kind is 'raw', 'pearson' or 'scaled'")
        if self.design.weights is not None:
            residuals = residuals * np.sqrt(self.design.weights)
        return residuals if kind == "pearson" else residuals / self.sigma

    # -- print -----------------------------------------------------------------------------------------------

    def summary(self) -> text.Text:
        """What lme4 prints: criterion, scaled residuals, random effects, fixed effects, verdict."""
        return text.point_summary(self)

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def coefficient_terms(
    x_names: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[list[str], tuple[str, ...], list[int]]:
    """Names of a group's coefficients (fixed first, then random-only), and where its random columns go."""
    names = list(x_names) + [c for c in columns if c not in x_names]
    return names, x_names, [names.index(c) for c in columns]


def _with_interval(table: pd.DataFrame, ci_prob: float) -> pd.DataFrame:
    if not 0.0 < ci_prob < 1.0:
        raise InputError(f"ci_prob={ci_prob}: the probability of an interval lies between 0 and 1")
    z = float(ndtri(0.5 + ci_prob / 2.0))
    return table.assign(
        conf_low=table["estimate"] - z * table["std_error"],
        conf_high=table["estimate"] + z * table["std_error"],
    )


def _level_table(group: str, levels, terms, **values: Array) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """Long table of (levels, terms) arrays."""
    J, q = len(levels), len(terms)
    return pd.DataFrame(
        {
            "group": group,
            "level": pd.Series(list(levels), dtype=object).repeat(q).to_numpy(),
            "term": list(terms) * J,
            **{name: array.reshape(-1) for name, array in values.items()},
        }
    )


def _stack(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=["group", "level", "term", "estimate", "std_error"])
    return pd.concat(parts, ignore_index=True)


def _wide(table: pd.DataFrame, value: str = "estimate") -> pd.DataFrame:
    """One row a level, one column a term, in the order of the long table."""
    rows = pd.MultiIndex.from_frame(table[["group", "level"]].drop_duplicates())
    terms = list(dict.fromkeys(table["term"]))
    wide = table.pivot(index=["group", "level"], columns="term", values=value)
    return wide.reindex(index=rows, columns=terms).rename_axis(columns=None)
