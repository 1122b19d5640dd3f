"""Tables of estimates: fixed effects, random effects, coefficients of levels, covariance matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..design.design import Design, GroupTerm
from ..engine import reml
from ..engine.around_categories import mode_slopes
from ..engine.working import working
from ..tools.arrays import Array
from . import wald
from .alike import told_alike
from .coefficients import Coding, coding_of
from .estimates import Estimates
from .monte_carlo import error_of
from .tables import level_labels, level_table, named_square, stack, wide_table


@told_alike
def fixef(record: Estimates, *, ddf: str | None = wald.DDF, ci_prob: float = 0.95) -> pd.DataFrame:
    """The table behind :meth:`PointFit.fixef`."""
    table = wald.coefficients(record.design, record.solution, ddf, ci_prob)
    by_chance = error_of(record, lambda fit: wald.coefficients_of(fit.design, fit.solution))
    return table if by_chance is None else table.assign(mcse=by_chance)


@told_alike
def vcov(record: Estimates) -> pd.DataFrame:
    """The matrix behind :meth:`PointFit.vcov`."""
    return named_square(record.solution.vcov, record.design.coefficient_labels)


@told_alike
def ranef(record: Estimates, *, wide: bool = False, ci_prob: float = 0.95) -> pd.DataFrame:
    """The table behind :meth:`PointFit.ranef`."""
    solution = record.solution
    grouping = [k for k, group in enumerate(record.design.every_group) if group.is_grouping]
    if not grouping:
        table = wald.with_interval(stack([]).assign(df=np.inf), ci_prob)
        return wide_table(table) if wide else table
    groups = [record.design.every_group[k] for k in grouping]
    estimate = np.concatenate([solution.modes[k].reshape(-1) for k in grouping])
    variances = [np.diagonal(solution.mode_covariances[k], axis1=1, axis2=2).reshape(-1) for k in grouping]
    se = np.sqrt(np.maximum(np.concatenate(variances), 0.0))
    half = float(wald.quantile(np.inf, ci_prob)) * se
    table = pd.DataFrame(
        {
            **level_labels([(group.name, group.levels, group.columns) for group in groups]),
            "estimate": estimate,
            "std_error": se,
            "df": np.full(len(se), np.inf),
            "conf_low": estimate - half,
            "conf_high": estimate + half,
        },
        copy=False,
    )
    return wide_table(table) if wide else table


@told_alike
def coef(record: Estimates, *, wide: bool = False, ci_prob: float = 0.95, ddf: str | None = wald.DDF) -> pd.DataFrame:
    """The table behind :meth:`PointFit.coef`."""
    parts = []
    solution, approximation = (
        record.solution,
        wald.approximation(record.design, record.solution, None if wide else ddf),
    )
    with_beta = record.design.coefficient_labels and not wide
    slopes = _mode_slopes(record) if with_beta else ()
    beta = wald.coefficients_of(record.design, solution)
    for k, (group, modes) in enumerate(zip(record.design.every_group, solution.modes, strict=True)):
        if not group.is_grouping:
            continue
        coding = _coding(record.design, group)
        names, where = coding.names, coding.places
        values = np.tile(coding.B @ beta, (group.n_levels, 1))
        values[:, where] += modes
        if wide:
            parts.append(level_table(group.name, group.levels, names, estimate=values))
            continue
        reach = np.tile(coding.B, (group.n_levels, 1, 1))  # how β + b moves with β
        reach[:, where] += slopes[k] if slopes else 0.0
        variances = np.einsum("jac,cd,jad->ja", reach, solution.vcov, reach)
        variances[:, where] += np.diagonal(solution.mode_covariances[k], axis1=1, axis2=2)
        se = np.sqrt(np.maximum(variances, 0.0))
        df = wald.df_of_sums(approximation, reach, variances)
        parts.append(level_table(group.name, group.levels, names, estimate=values, std_error=se, df=df))
    table = stack(parts, ("estimate",) if wide else ("estimate", "std_error", "df"))
    return wide_table(table) if wide else wald.with_interval(table, ci_prob)


@told_alike
def var_corr(record: Estimates) -> dict[str, pd.DataFrame]:
    """The matrices behind :meth:`PointFit.var_corr`."""
    return {
        group.name: named_square(covariance, group.columns)
        for group, covariance in zip(record.design.every_group, record.solution.covariances, strict=True)
    }


def _coding(design: Design, group: GroupTerm) -> Coding:
    """`coding_of`, of a category with columns of B for the coefficients of all categories."""
    if not design.of_categories:
        return coding_of(design, group)
    first = 0
    for part in design.of_categories:
        if any(each is group for each in part.groups):
            coding = coding_of(design.for_category(part), group)
            B = np.zeros((len(coding.B), len(design.coefficient_labels)))
            B[:, first : first + len(part.labels)] = coding.B
            return replace(coding, B=B)
        first += len(part.labels)
    raise AssertionError(f"{group.name} is of no category")


def _mode_slopes(record: Estimates) -> Sequence[Array]:
    """How the modes (J, q) of every term move with the fixed effects (J, q, p)."""
    if record.design.of_categories:
        return mode_slopes(record.design, record.solution)
    return reml.mode_slopes(*working(record.design, record.solution))
