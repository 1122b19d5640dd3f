"""Tests of the terms of one fit: F tables of types I, II and III, Wald χ² where variances count as known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..results import wald
from ..results.estimates import Estimates
from ..results.hypothesis_matrices import hypotheses, terms_of
from ..tools.lazy import stats

TYPES = {1: 1, 2: 2, 3: 3, "I": 1, "II": 2, "III": 3}
IN_WORDS = {1: "I (in the order of the formula)", 2: "II (terms that contain it left out)", 3: "III (all others kept)"}
COVARIATE = (
    "Type III tests a factor that interacts with a number where that number is zero: centre the number, or "
    "take type II."
)

ALIASED = (
    "{names}: left out, since the data do not tell them from the other columns. Types II and III are about the "
    "coefficients that are left, as lmerTest's; what a term says beyond all others, drop1(fit) tests."
)


def term_table(record: Estimates, kind: Any, ddf: str | None) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
    """The table, its title and remarks.

    Raises
    ------
    InputError
        Another type.
    """
    if isinstance(kind, bool) or kind not in TYPES:
        raise InputError(f"anova(type={kind!r}): types of tests are 1, 2 and 3")
    number = TYPES[kind]
    record.design.refuse_nominal(
        "anova() of one point fit",
        "its tests of terms are of one linear predictor. anova(m0, m1) compares two models, and fit.test('...') "
        "tests coefficients by their names",
    )
    # of other than normal responses R has type II by car alone
    matrices = hypotheses(record.design, number, record.solution.vcov if record.solution.nodes else None)
    if not matrices:
        raise InputError(f"anova: {record.design.formula.text!r} has no terms but the intercept to test")
    approximation = wald.approximation(record.design, record.solution, ddf)
    rows = []
    for L in matrices.values():
        f_test = approximation.f_test(L, L @ record.solution.beta)
        rows.append((f_test.num_df, f_test.den_df, f_test.f))
    table = pd.DataFrame(rows, columns=["num_df", "den_df", "f"], index=pd.Index(list(matrices), name="term"))
    endless = np.isinf(table["den_df"]).to_numpy() | table["den_df"].isna().to_numpy()
    q, f = table["num_df"].to_numpy(), table["f"].to_numpy()
    if endless.all():  # z: the sum of squares of independent z is χ²
        table = pd.DataFrame({"chisq": q * f, "df": q}, index=table.index)
        table["p_value"] = np.where(q > 0, stats.chi2.sf(q * f, np.maximum(q, 1)), np.nan)
        test_kind = "Wald tests"
    else:
        table["p_value"] = np.where(endless, stats.chi2.sf(q * f, np.maximum(q, 1)), stats.f.sf(f, q, table["den_df"]))
        test_kind = "F tests"
    title = f"{test_kind} of terms, type {IN_WORDS[number]}; {wald.caption(record.design, record.solution, ddf)}"
    return table, f"{title}\nFormula: {record.design.described}", _remarks(record, number)


def _remarks(record: Estimates, number: int) -> tuple[str, ...]:
    terms = terms_of(record.design)
    bent = any(term.factors and term.factors <= b.factors and term.numbers < b.numbers for term in terms for b in terms)
    remarks = (COVARIATE,) if number == 3 and bent else ()
    names = record.design.recipe.aliases.names
    return remarks if number == 1 or not names else (*remarks, ALIASED.format(names=", ".join(names)))
