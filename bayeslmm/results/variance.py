"""Variance components, ICC and R²: one array formula for a point estimate and for draws (docs/theory.md, section 9).

Every function broadcasts over leading axes: a REML fit passes arrays without them, a bootstrap (draw,), a posterior
(chain, draw).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..covariances.template import sd_and_correlation
from ..design.design import Design, GroupTerm
from ..design.newdata import NewDesign
from ..errors import NotAvailableError
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from ..tools.summed import MetLevels, covariance_of, second_moment_of
from .reference import reference_grid

RESIDUAL = "Residual"
PARTS = ("fixed", "family")  # of a posterior's parameters, beside those of each grouping factor
ICC = ("adjusted", "unadjusted")  # rows of all factors together
NO_GROUPS = "an ICC compares groups; this model has no random effects of groups"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Values:
    """The parameters of a model: a value each, or draws along leading axes.

    Attributes
    ----------
    beta : (..., p)
    covariances : per grouping factor (..., q, q)
        Of its random effects.
    family : mapping
        The family's parameters under their names: ``sigma`` (...,), ``cutpoint`` (..., K − 1), ...
    residual : (..., d + r) or None
        Of residuals that have parameters besides sigma.
    curves : per smooth (..., J), or None
        Its coefficients; None where they are not kept, as of the replicates of a bootstrap.
    """

    beta: Array
    covariances: tuple[Array, ...]
    family: Mapping[str, Array]
    residual: Array | None = None
    curves: tuple[Array, ...] | None = None

    def __repr__(self) -> str:
        sizes = [f"beta {self.beta.shape}", *(f"covariance {each.shape}" for each in self.covariances), *self.family]
        return f"<Values: {', '.join(sizes)}>"


def curves_of(design: Design, effects: Sequence[Array]) -> tuple[Array, ...]:
    """The coefficients (..., J) of every smooth among the effects (..., J, q) of all random terms."""
    return tuple(
        effect[..., 0]
        for group, effect in zip(design.groups, effects, strict=True)
        if group.is_wide and not group.is_grouping
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """What the variance of the linear predictor and its residual is made of, at the average row.

    Attributes
    ----------
    fixed : (...,)
        Var(Xβ) over the rows; smooths are part of Xβ, as their curve is the same in all groups.
    groups : mapping
        v_k (...,) of every grouping factor, by name.
    residual : (...,) or None
        None where the family has no such variance; ``residual_words`` says why, or else what it is.
    """

    fixed: Array
    groups: Mapping[str, Array]
    residual: Array | None
    residual_words: str

    @classmethod
    def of(cls, design: Design, values: Values) -> Parts:
        """The parts of a model with these parameters."""
        groups = {
            group.name: average_variance(group, covariance, design.likelihood_weights)
            for group, covariance in zip(design.groups, values.covariances, strict=True)
            if group.is_grouping
        }
        columns, coefficients = population(design, values)
        fixed = fixed_part_variance(columns, coefficients, design.likelihood_weights)
        mean = coefficients @ design.average(columns) + design.average(design.offset)
        spread = fixed + _sum(groups.values(), fixed)  # E(y) of a log link is over rows and groups
        residual, residual_words = residual_variance(design, values.family, mean, spread)
        relative = None if values.residual is None else design.relative_variances(values.residual)
        if residual is not None and relative is not None:
            residual = residual * relative.mean(axis=-1)
        return cls(fixed=fixed, groups=groups, residual=residual, residual_words=residual_words)

    @property
    def random(self) -> Array:
        """Σ v_k (...,)."""
        return _sum(self.groups.values(), self.fixed)

    def compared(self) -> Array:
        """The residual variance.

        Raises
        ------
        NotAvailableError
            There is none for this family.
        """
        if self.residual is None:
            raise NotAvailableError(self.residual_words)
        return self.residual


def _sum(parts: Any, like: Array) -> Array:
    return sum(parts, np.zeros_like(like))


def share(part: Array, total: Array) -> Array:
    """part / total: zero of nothing, and of an infinite total all for the part that is infinite."""
    part, total = np.broadcast_arrays(part, total)
    whole = np.where(np.isinf(part), 1.0, 0.0)
    return np.divide(part, total, out=whole, where=(total > 0.0) & np.isfinite(total))


def average_variance(group: GroupTerm, cov: Array, counted: Array | None = None) -> Array:
    """The variance (...,) that a grouping factor adds at the average row, for its covariance matrix (..., q, q)."""
    if not isinstance(group, WideTerm):
        return mean_group_variance(group.Z, cov, counted)
    return np.einsum("...ab,ab->...", cov, group.mean_products(counted))


def mean_group_variance(Z: Array, cov: Array, counted: Array | None = None) -> Array:
    """v = mean_i z_iᵀ Σ z_i (Johnson 2014, eq. 10): the variance a factor adds at the average row.

    Parameters
    ----------
    Z : (n, q) random-effect columns
    cov : (..., q, q)
    counted : (n,), optional
        How often each row counts.
    """
    return np.maximum(np.einsum("ab,...ab->...", second_moment_of(Z, counted), cov), 0.0)


def population(design: Design, values: Values) -> tuple[Array, Array]:
    """What all groups have in common: columns (n, c) of X and of the smooths, and their coefficients (..., c).

    Raises
    ------
    NotAvailableError
        The coefficients of the smooths are not kept.
    """
    if not design.smooths:
        return design.X, values.beta
    if values.curves is None:
        raise NotAvailableError(
            "bootstrap replicates keep no coefficients of smooths, whose curves are part of what is explained: "
            "intervals of shares of the variance are those of the posterior, model.fit()"
        )
    columns = np.hstack([design.X, *(np.asarray(smooth.matrix) for smooth in design.smooths)])
    return columns, np.concatenate([values.beta, *values.curves], axis=-1)


def fixed_part_variance(X: Array, beta: Array, counted: Array | None = None) -> Array:
    """Var(Xβ) over the rows, with divisor n − 1, for β (..., p); through Cov(X), not through (..., n) fits."""
    if X.shape[1] == 0:
        return np.zeros(np.asarray(beta).shape[:-1])
    cov_x = covariance_of(X, counted)
    return np.maximum(np.einsum("...a,ab,...b->...", beta, cov_x, beta), 0.0)


def residual_variance(
    design: Design, drawn: Mapping[str, Array], fixed: Array, random: Array
) -> tuple[Array | None, str]:
    """The variance that groups' is compared with, on the scale of the linear predictor (...,), and its name.

    σ² of normal residuals; that of the variable behind a threshold for logit, probit and cloglog; the observation-level
    variance of Nakagawa, Johnson & Schielzeth (2017, lognormal approximation) for log links of poisson, negbinomial and
    gamma, at the mean exp(Xβ + offset + v/2).

    Parameters
    ----------
    design : Design
    drawn : mapping
        The family's parameters, which broadcast against ``fixed``.
    fixed : (...,)
        Xβ + offset where the residual is wanted.
    random : (...,)
        Variance of the linear predictor around that: v, over all rows that of Xβ as well.

    Returns
    -------
    None, and the reason, where there is no such variance.
    """
    family = design.family
    for part in design.predictors.values():
        return None, (
            f"No ICC, no R² and no shrinkage with {part.said}: "
            + (
                "each category but the first has a linear predictor, and no residual variance is that of all."
                if part.category
                else "the residual variance on the scale of the linear predictor differs between rows."
            )
        )
    for name in family.parameters:
        if name not in drawn:
            return None, f"these draws hold no {name!r}, so what needs it cannot be told"
    value, words = family.residual_variance(drawn, fixed, random)
    if value is None:
        return None, f"No ICC, no R² and no shrinkage for {family}: {words}."
    return value, words


def nesting(design: Design) -> dict[str, tuple[str, ...]]:
    """The coarser grouping factors that each factor is nested in: every level of it lies in one level of theirs."""
    return {
        fine.name: tuple(
            coarse.name for coarse in design.groups if coarse.n_levels < fine.n_levels and _determines(fine, coarse)
        )
        for fine in design.groups
    }


def _determines(fine: GroupTerm, coarse: GroupTerm) -> bool:
    """Whether rows of one level of a factor share a level of the other as well."""
    if fine.is_wide or coarse.is_wide:
        return False
    if isinstance(fine.codes, MetLevels):
        return fine.codes.pairs[coarse.name] == fine.n_levels
    return len(np.unique(fine.codes * coarse.n_levels + coarse.codes)) == fine.n_levels


def _share_levels(fine: GroupTerm, coarse: GroupTerm) -> bool:
    """The same of levels that may be related to others: the animals of `gr` are those of a factor beside it."""
    of_rows = [term.only_level if isinstance(term, WideTerm) else term.codes for term in (fine, coarse)]
    if any(isinstance(codes, MetLevels) for codes in of_rows):
        return _determines(fine, coarse)
    first, second = of_rows
    if first is None or second is None:
        return False
    return len(pd.unique(first * coarse.n_levels + second)) == len(pd.unique(first))


def components(design: Design, values: Values, parts: Parts) -> list[tuple[str, str, str, Array]]:
    """(group, term, quantity, value (...,)) for every variance, sd, share and correlation, residual last.

    The ``share`` is of a whole grouping factor, v_k over Σ v + σ² at the average row, so that shares lie between 0 and
    1 and add to one; correlated columns of a factor have no shares of their own, and smooths, which are no groups,
    none. Without a residual variance there are no shares and no residual rows. Known standard errors have a share only:
    that of a typical row.
    """
    total = None if parts.residual is None else parts.random + parts.residual
    rows: list[tuple[str, str, str, Array]] = []
    for group, covariance in zip(design.groups, values.covariances, strict=True):
        name = row_of(group.name)
        for term, column in zip(group.sd_terms, group.template.sd_columns, strict=True):
            rows.append((name, term, "variance", covariance[..., column, column]))
            rows.append((name, term, "sd", np.sqrt(covariance[..., column, column])))
        rows += correlations(group, covariance)
        if total is not None and group.is_grouping:
            rows.append((name, "", "share", share(parts.groups[group.name], total)))
    if parts.residual is None or total is None:
        return rows
    if not design.family.residual_is_known:
        rows.append((RESIDUAL, "", "variance", parts.residual))
        rows.append((RESIDUAL, "", "sd", np.sqrt(parts.residual)))
        rows += residual_parameters(design, values)
    rows.append((RESIDUAL, "", "share", share(parts.residual, total)))
    return rows


def residual_parameters(design: Design, values: Values) -> list[tuple[str, str, str, Array]]:
    """Rows of `components` for residuals with parameters besides sigma: sds of strata or log ratios, correlations."""
    part, residual_values = design.residual, values.residual
    if part is None or residual_values is None:
        return []
    sigma = np.asarray(values.family["sigma"])
    rows: list[tuple[str, str, str, Array]] = []
    for label, factor in part.stratum_factors(residual_values):
        rows.append((RESIDUAL, label, "variance", (sigma * factor) ** 2))
        rows.append((RESIDUAL, label, "sd", sigma * factor))
    for k, label in enumerate(part.labels):
        if k >= part.n_spread:
            rows.append((RESIDUAL, label, "cor", residual_values[..., k]))
        elif not part.strata:
            rows.append((RESIDUAL, label, "log_ratio", residual_values[..., k]))
    return rows


def correlations(group: GroupTerm, cov: Array) -> list[tuple[str, str, str, Array]]:
    """A row as in `components` for every pair of columns inside a block."""
    _, correlation = sd_and_correlation(cov)
    return [
        (row_of(group.name), group.correlation_label(a, b), "cor", correlation[..., a, b]) for a, b in group.correlated
    ]


def icc(design: Design, parts: Parts, *, by_group: bool = True) -> dict[str, Array]:
    """Intraclass correlations (...,): ``adjusted``, ``unadjusted``, one a grouping factor, cumulative ones if nested.

    ICC = Σ_k v_k / (Σ_k v_k + σ²); unadjusted: Var(Xβ) joins the denominator (Nakagawa, Johnson & Schielzeth 2017). Of
    a factor nested in others the cumulative one, ``class in school``, adds theirs to its own variance: it is the
    correlation of two rows of one class, who share the school as well.

    Raises
    ------
    NotAvailableError
        The model has no random effects, or its family no residual variance.
    """
    if not parts.groups:
        raise NotAvailableError(NO_GROUPS)
    random = parts.random
    total = random + parts.compared()
    ratios = {"adjusted": share(random, total), "unadjusted": share(random, total + parts.fixed)}
    if not by_group:
        return ratios
    ratios |= {told_as(name, ICC): share(part, total) for name, part in parts.groups.items()}
    for name, above in nesting(design).items():
        if above:
            together = parts.groups[name] + _sum((parts.groups[a] for a in above), total)
            ratios[cumulative(name, above)] = share(together, total)
    return ratios


def row_of(name: str) -> str:
    """What a grouping factor is called in tables of parameters that have a row for the residual."""
    return told_as(name, (RESIDUAL,))


def part_of(name: str) -> str:
    """What a grouping factor is called among the parts of a posterior's parameters."""
    return told_as(name, PARTS)


def told_as(name: str, reserved: Sequence[str]) -> str:
    """What a grouping factor is called in a table that has rows or columns of its own by these names."""
    return f"{name} (factor)" if name in reserved else name


def cumulative(name: str, above: Sequence[str]) -> str:
    """The name of the ICC of rows that share a level of a factor, and so of those above."""
    return f"{name} in {', '.join(above)}"


def r2(parts: Parts) -> dict[str, Array]:
    """Nakagawa, Johnson & Schielzeth's (2017) R²: share of Var(Xβ), and of it and the random effects, in the total."""
    explained = parts.fixed + parts.random
    total = explained + parts.compared()
    return {"marginal": share(parts.fixed, total), "conditional": share(explained, total)}


def bayes_r2(fitted_variance: Array, residual_variance: Array) -> Array:
    """Var(fitted) / (Var(fitted) + residual variance) of every draw (Gelman, Goodrich, Gabry & Vehtari 2019, eq. 3)."""
    return share(fitted_variance, fitted_variance + residual_variance)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AtRows:
    """A model at the rows of a grid: their values, and the variances there.

    A level of a relationship matrix, and the members of a row, are average ones: zᵀΣz is times the mean of what the
    rows of the fit get of each effect, as in the ICC of the average row.
    """

    grid: pd.DataFrame  # (rows, variables)
    left: Mapping[str, Array]  # per factor (rows, q): z
    parts: Mapping[str, Array]  # per factor (..., rows): zᵀΣz
    residual: Array  # (..., rows)
    rows: pd.DataFrame  # of all variables

    @classmethod
    def of(cls, design: Design, values: Values, at: Mapping[str, Sequence[Any]] | str) -> AtRows:
        """The variances at given covariate values.

        Raises
        ------
        InputError
            A name in ``at`` is not a variable of the model.
        NotAvailableError
            The family has no residual variance, or the coefficients of smooths are not kept.
        """
        grid, rows = reference_grid(design, at)
        offset = float(design.average(design.offset)) if design.recipe.offset_given_as_array else None
        new = design.at(rows, offset=offset, estimable_only=not design.family.has_residual)
        left = _left_of(design, new)
        parts = {
            group.name: np.maximum(np.einsum("na,...ab,nb->...n", z, covariance, z), 0.0)
            for group, covariance in zip(design.groups, values.covariances, strict=True)
            if (z := left.get(group.name)) is not None
        }
        parameters = {name: value[..., None] for name, value in values.family.items()}
        fixed = values.beta @ new.X.T + new.offset + _curves_at(design, new, values)
        residual, residual_words = residual_variance(design, parameters, fixed, _sum(parts.values(), fixed))
        if residual is None:
            raise NotAvailableError(residual_words)
        relative = None if values.residual is None else design.relative_variances(values.residual, rows)
        if relative is not None:
            residual = residual * relative
        residual = np.broadcast_to(residual, fixed.shape)
        return cls(grid=grid, left=left, parts=parts, residual=residual, rows=rows)

    def icc(self, design: Design, *, by_group: bool) -> list[tuple[str, Array]]:
        """ICC(x) = zᵀΣz / (zᵀΣz + σ²), (..., rows): all factors together, and each where there are several."""
        random = _sum(self.parts.values(), self.residual)
        ratios = [("adjusted", share(random, random + self.residual))]
        if by_group and len(self.parts) > 1:
            for name, part in self.parts.items():
                ratios.append((told_as(name, ICC), share(part, random + self.residual)))
        return ratios

    def correlation(self, design: Design, values: Values, group: str) -> Array:
        """Correlation (..., rows, rows) of two observations of one level of a factor, at two rows of the grid.

            ρ(x, x') = Σ_k z_k(x)ᵀΣ_k z_k(x') / √[(Σ_all zᵀΣz + σ²)(x) · (Σ_all zᵀΣz + σ²)(x')]

        where k runs over the factor and those that it is nested in, whose level the two share as well, be they the same
        groups by another name. Where residuals are correlated within these levels σ²R(x, x') joins the numerator, which
        makes two observations at one place one.
        """
        shared, within = _shared(design, group)
        common = sum(
            (
                np.einsum("na,...ab,mb->...nm", self.left[g.name], covariance, self.left[g.name])
                for g, covariance in zip(design.groups, values.covariances, strict=True)
                if g.name in shared
            ),
            np.zeros((*self.residual.shape, self.residual.shape[-1])),
        )
        if within and design.residual is not None and values.residual is not None:
            sd = np.sqrt(self.residual)
            R = design.residual.correlations_at(design.frame, self.rows, values.residual)
            common = common + sd[..., :, None] * R * sd[..., None, :]
        sd = np.sqrt(_sum(self.parts.values(), self.residual) + self.residual)
        together = sd[..., :, None] * sd[..., None, :]
        return np.divide(common, together, out=np.zeros(together.shape), where=together > 0.0)


def _left_of(design: Design, new: NewDesign) -> dict[str, Array]:
    """z (rows, q) of every grouping factor, by name, in the order of the design's."""
    scale = {
        group.name: np.sqrt(group.mean_per_member(design.likelihood_weights))
        for group in design.groups
        if isinstance(group, WideTerm) and group.is_grouping
    }
    left = {group.name: group.Z for group in new.groups}
    left |= {wide.name: scale[wide.name] * wide.left for wide in new.wide if wide.left is not None}
    return {group.name: left[group.name] for group in design.groups if group.name in left}


def _curves_at(design: Design, new: NewDesign, values: Values) -> Array | float:
    """What smooths add to the fixed part (..., rows)."""
    if not design.smooths:
        return 0.0
    population(design, values)  # refuses where their coefficients are not kept
    assert values.curves is not None
    columns = [np.asarray(wide.matrix) for wide in new.wide if not wide.is_grouping]
    return sum((curve @ each.T for curve, each in zip(values.curves, columns, strict=True)), np.zeros(()))


def _shared(design: Design, name: str) -> tuple[set[str], bool]:
    """The factors whose level two rows of one level of ``name`` share, and whether their residuals are correlated."""
    part, own = design.residual, [group for group in design.groups if group.name == name]
    blocks = None if part is None else part.structure.blocks
    if own:
        shared = {group.name for group in design.groups if group is own[0] or _share_levels(own[0], group)}
        within = blocks is not None and len(blocks.sizes) == own[0].n_levels  # each block lies within a level
        return shared, within
    assert blocks is not None  # the levels of the blocks, which lie within one level of every factor
    return {group.name for group in design.groups}, True


def reductions(
    design: Design, values: Values, parts: Parts, before: tuple[Design, Values, Parts]
) -> dict[str, tuple[Array, Array]]:
    """(variance of the baseline, variance of the model) of the residual and of every random effect that both have."""
    pairs: dict[str, tuple[Array, Array]] = {}
    old, new = _variances(*before), _variances(design, values, parts)
    for name in new:
        if name in old:
            pairs[name] = (old[name], new[name])
    return pairs


def _variances(design: Design, values: Values, parts: Parts) -> dict[str, Array]:
    variance_of = {}
    if parts.residual is not None and design.family.has_residual and not design.family.residual_is_known:
        variance_of[RESIDUAL] = parts.residual
    for group, covariance in zip(design.groups, values.covariances, strict=True):
        for column, k in zip(group.sd_terms, group.template.sd_columns, strict=True):
            of_intercept = row_of(group.name)
            name = of_intercept if column == "Intercept" else f"{column} | {group.name}"
            variance_of[name] = covariance[..., k, k]
    return variance_of
