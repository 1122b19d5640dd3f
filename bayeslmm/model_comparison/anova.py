"""Tests between nested models, and of single terms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ..covariances import UNSTRUCTURED
from ..design.coding import independent_columns, new_columns
from ..design.design import Design, GroupTerm
from ..engine.agq import has_rule
from ..errors import InputError
from ..results import wald
from ..results.alike import estimated, solved
from ..results.fitted import residuals
from ..results.point import PointFit
from ..results.quantities import check_same_data
from ..results.reading import Shown
from ..results.text import Text, probability, table
from . import nesting
from .names import names_of
from .term_tests import term_table

BOUNDARY = (
    "A variance of zero lies on the boundary of its range, so the p-value of a test that drops a variance is too "
    "large: about twice the right one where a single variance is dropped (Self & Liang 1987)."
)
REFITTED = "Fixed parts differ, so models fitted by REML were refitted by ML."
RECODED = "Fixed parts are coded differently, so models fitted by REML were refitted by ML."
MIXED = "Some models were fitted by REML and some by ML: all are compared by ML."
ROUNDING = 1e-5  # of a deviance, beside 1e-9 of its size: where searches end
SAME_FIXED = "All models have the same fixed part and were fitted by REML: REML criteria are compared."


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class ModelTests(Shown):
    """A table of tests with the remarks that belong to it.

    Attributes
    ----------
    table : pandas.DataFrame
    notes : tuple of str
    """

    table: pd.DataFrame
    title: str
    notes: tuple[str, ...] = ()

    def text(self) -> Text:
        """Title, table and remarks."""
        shown = self.table
        if "nested" in shown and False not in shown["nested"].to_list():
            shown = shown.drop(columns="nested")
        rows = [
            [str(label), *(_cell(column, value) for column, value in row.items())] for label, row in shown.iterrows()
        ]
        return Text.of(self.title, table(["", *map(str, shown.columns)], rows), *self.notes)


def _cell(column: object, value: Any) -> str:
    if column == "nested":
        return {True: "yes", False: "no"}.get(value, "")
    if not np.isfinite(value):
        return ""
    if column == "p_value":
        return probability(value)
    return f"{value:.0f}" if column in ("npar", "df", "df_resid", "num_df") else f"{value:,.2f}"


def anova(
    *fits: PointFit, names: list[str] | None = None, type: int | str = 3, ddf: str | None = wald.DDF
) -> ModelTests:
    """Tests of the terms of one fit; of several fits likelihood-ratio tests between nested models.

    Of one fit: F tests of every term of the fixed part with denominators by Satterthwaite or Kenward and Roger, as
    lmerTest's ``anova``; with ``ddf=None`` Wald's χ².

    Of several: likelihood-ratio tests between nested mixed models, or F tests between linear models.
    Models are sorted by number of parameters, each tested against the one before, if that is a special case of it: of
    models that are not nested there is no test, and AIC and BIC are what compares them. As in lme4, models fitted by
    REML are refitted by ML if their fixed parts differ; if they are the same the REML criteria are compared.

    Parameters
    ----------
    *fits : PointFit
        One fit, or several of the same response on the same rows.
    names : list of str, optional
        Names of several fits; by default m0, m1, ... in the order given.
    type : {3, 2, 1} or {"III", "II", "I"}
        Of one fit: whether a term is tested with all others kept (3), without those that contain it (2), or in the
        order of the formula (1).
    ddf : {"satterthwaite", "kenward-roger", None}
        Of one fit: degrees of freedom of the denominator, as in :meth:`PointFit.fixef`.

    Returns
    -------
    ModelTests
        Of one fit ``.table`` has a row a term and columns num_df, den_df, f, p_value (with ``ddf=None`` chisq, df,
        p_value). Of several it has columns npar, aic, bic, loglik, deviance, nested, chisq, df, p_value (linear
        models: df_resid, rss, nested, df, sum_sq, mean_sq, f, p_value). ``nested`` says whether the model before is a
        special case: its
        fixed columns lie in the space of this one's, and its covariances among this one's. A larger model that fits
        worse than one nested in it has a negative ``chisq`` and no p-value: a search ended beside its optimum.

    Raises
    ------
    InputError
        No fit, a type that does not exist, different rows or responses, or weights that differ.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> sleep = blm.load_dataset("sleepstudy")
    >>> m0, m1 = (blm.lmer(f"Reaction ~ Days + {bar}", sleep) for bar in ("(1 | Subject)", "(Days | Subject)"))
    >>> print(f"{blm.anova(m0, m1).table['chisq'].iloc[1]:.2f}")
    42.84
    >>> wool = blm.lmer("weight ~ Diet * Time + (Time | Chick)", blm.load_dataset("chickweight"))
    >>> blm.anova(wool, type=2).table.round(2).loc["Diet"].tolist()
    [3.0, 45.97, 3.34, 0.03]
    """
    if len(fits) == 1:
        _check_point_fit("anova", fits[0])
        test_table, title, remarks = term_table(fits[0], type, ddf)
        return ModelTests(title=title, table=test_table, notes=remarks)
    _check_comparable(fits)
    fits, rule = _by_one_rule(fits)
    labels = names_of(names, [f"m{i}" for i in range(len(fits))], "anova")
    models = [f"{label}: {fit.design.described}" for label, fit in zip(labels, fits, strict=True)]
    order = sorted(range(len(fits)), key=lambda i: fits[i].n_parameters)
    fits, labels = tuple(fits[i] for i in order), [labels[i] for i in order]
    nested, notes = _nested(fits, labels)
    if not any(fit.design.groups or fit.solution.nodes or fit.design.residual is not None for fit in fits):
        title = _title("F tests between linear models", models)
        return ModelTests(title=title, table=_f_tests(fits, labels, nested), notes=tuple(notes))
    fits, likelihoods_used = _compared_by(fits)
    test_table = _likelihood_ratios(fits, labels, nested)
    notes = [*rule, *likelihoods_used, *notes, *_worse(test_table, labels)]
    pairs = zip(nested[1:], pairwise(fits), strict=True)
    if any(tested and _drops_variance(a.design, b.design) for tested, (a, b) in pairs):
        notes.append(BOUNDARY)
    return ModelTests(title=_title("Likelihood-ratio tests", models), table=test_table, notes=tuple(notes))


def _compared_by(fits: tuple[PointFit, ...]) -> tuple[tuple[PointFit, ...], list[str]]:
    """The fits whose criteria are compared, and why these."""
    by_reml = [fit.solution.reml for fit in fits]
    one_mean = all(_same_columns(fit.design, fits[0].design) for fit in fits[1:])
    if all(by_reml) and one_mean:
        return fits, [SAME_FIXED]
    why = []
    if any(by_reml):
        alike = all(nesting.same_mean(fit.design, fits[0].design) for fit in fits[1:])
        why.append(MIXED if one_mean else RECODED if alike else REFITTED)
    return tuple(by_ml(fit) for fit in fits), why


def _nested(fits: tuple[PointFit, ...], labels: list[str]) -> tuple[list[bool | None], list[str]]:
    """Whether each model contains the one before, and what to say where it does not."""
    nested: list[bool | None] = [None]
    notes = []
    for (small, large), (a, b) in zip(pairwise(fits), pairwise(labels), strict=True):
        lacking = nesting.parts_not_nested(small.design, large.design)
        nested.append(not lacking)
        if lacking:
            what = " and ".join("predictors" if part == "parameters" else f"{part} effects" for part in lacking)
            notes.append(
                f"{a} is not nested in {b}: {b} does not contain its {what}. So there is no test between them; compare "
                "AIC or BIC."
            )
    return nested, notes


def _drops_variance(small: Design, large: Design) -> bool:
    return [(group.name, group.template) for group in small.groups] != [
        (group.name, group.template) for group in large.groups
    ]


def _worse(test_table: pd.DataFrame, labels: list[str]) -> list[str]:
    """What to say of models that fit worse than one nested in them."""
    return [
        f"{b} contains {a} and yet fits worse, by {-value:.3g}: the search for one of them ended beside its optimum "
        "(see verdict), so there is no p-value."
        for (a, b), value in zip(pairwise(labels), test_table["chisq"].iloc[1:], strict=True)
        if value < 0.0
    ]


def _title(what: str, models: list[str]) -> str:
    return "\n".join([what, *models])


def _check_comparable(fits: tuple[PointFit, ...]) -> None:
    if len(fits) < 2:
        raise InputError(
            "anova(fit) tests the terms of a fit, anova(small, large) compares fits: give one fit or several"
        )
    for fit in fits:
        if not isinstance(fit, PointFit):
            raise InputError(
                f"anova compares REML or ML fits, not {type(fit).__name__}: call fit_reml() or fit_ml() of a model"
            )
    for fit in fits[1:]:
        check_same_data(fits[0].design, fit.design, "likelihoods of different data cannot be compared")


def _by_one_rule(fits: tuple[PointFit, ...]) -> tuple[tuple[PointFit, ...], list[str]]:
    """The fits with their effects integrated out by the same rule, and which that is."""
    rules = {fit.solution.nodes for fit in fits if fit.design.groups}
    if len(rules) < 2:
        return fits, []
    with_groups = [fit.design for fit in fits if fit.design.groups]
    nodes = max(rules) if all(has_rule(design, max(rules)) for design in with_groups) else 1
    again = tuple(
        fit
        if not fit.design.groups or fit.solution.nodes == nodes
        else replace(fit, solution=estimated(fit.design, reml=False, nodes=nodes))
        for fit in fits
    )
    rule = "Laplace's approximation" if nodes == 1 else f"quadrature with {nodes} nodes"
    return again, [f"All fits by {rule}, so that their likelihoods can be compared."]


def _same_columns(a: Design, b: Design) -> bool:
    """Whether REML criteria can be compared: they depend on the coding of the fixed part by a constant."""
    return a.x_names == b.x_names and np.array_equal(a.X, b.X) and np.array_equal(a.offset, b.offset)


def by_ml(fit: PointFit) -> PointFit:
    """The same model fitted by maximum likelihood."""
    if not fit.solution.reml:
        return fit
    return replace(fit, solution=solved(fit.design, fit.solution, reml=False))


def _statistic(smaller: Any, larger: Any) -> Any:
    """Deviance of a model less that of one that contains it; below zero only if it is more than rounding."""
    chisq = np.asarray(smaller - larger, dtype=float)
    rounding = ROUNDING + 1e-9 * np.abs(larger)
    return np.where((chisq < 0.0) & (chisq >= -rounding), 0.0, chisq)


def _p_value(chisq: Any, df: Any) -> Any:
    """Missing where there is nothing to test, and where the larger model fits worse."""
    from scipy.stats import chi2

    tested = (np.asarray(df) > 0) & (np.asarray(chisq) >= 0.0)
    return np.where(tested, chi2.sf(chisq, np.where(tested, df, 1.0)), np.nan)


def _likelihood_ratios(fits: tuple[PointFit, ...], labels: list[str], nested: list[bool | None]) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "npar": [fit.n_parameters for fit in fits],
            "aic": [fit.aic for fit in fits],
            "bic": [fit.bic for fit in fits],
            "loglik": [fit.loglik for fit in fits],
            "deviance": [fit.deviance for fit in fits],
            "nested": pd.Series(nested, dtype=object).to_numpy(),
        },
        index=pd.Index(labels, name="model"),
    )
    tested = np.array([fit is True for fit in nested])
    deviance = table["deviance"].to_numpy()
    chisq = _statistic(np.append(np.nan, deviance[:-1]), deviance)
    table["chisq"] = np.where(tested, chisq, np.nan)
    table["df"] = table["npar"].diff().where(tested)
    table["p_value"] = _p_value(table["chisq"], table["df"])
    return table


def _f_tests(fits: tuple[PointFit, ...], labels: list[str], nested: list[bool | None]) -> pd.DataFrame:
    """Each linear model against the one before, if that is nested in it.

    The yardstick is the residual mean square of the largest model that contains both by an unbroken chain.
    """
    from scipy.stats import f

    tested = np.array([fit is True for fit in nested])
    rss = np.array([np.sum(residuals(fit, "pearson") ** 2) for fit in fits])
    df_resid = np.array([fit.nobs - len(fit.solution.beta) for fit in fits], dtype=float)
    last = [next((k for k in range(i, len(fits) - 1) if not tested[k + 1]), len(fits) - 1) for i in range(len(fits))]
    sum_sq, df = (np.where(tested, np.append(np.nan, -np.diff(v)), np.nan) for v in (rss, df_resid))
    mean_sq = np.divide(sum_sq, df, out=np.full(len(fits), np.nan), where=df > 0)
    ratio = mean_sq / (rss[last] / df_resid[last])
    return pd.DataFrame(
        {
            "df_resid": df_resid,
            "rss": rss,
            "nested": pd.Series(nested, dtype=object).to_numpy(),
            "df": df,
            "sum_sq": sum_sq,
            "mean_sq": mean_sq,
            "f": ratio,
            "p_value": f.sf(ratio, df, df_resid[last]),
        },
        index=pd.Index(labels, name="model"),
    )


def ranova(fit: PointFit) -> ModelTests:
    """Drop each random term in turn and compare by the likelihood ratio, as lmerTest's ``ranova``.

    From a bar with an intercept the other terms are dropped one by one (``(x | g)`` becomes ``(1 | g)``); a bar with
    a single term is dropped whole, and so is one whose effects share a standard deviation or, three or more of them, a
    correlation: with fewer effects it is another model and no special case. A bar over nested factors, ``(1 | a/b)``,
    is one bar for each of them. A REML fit is compared by its REML criterion.

    Returns
    -------
    ModelTests
        ``.table`` has columns npar, loglik, aic, chisq, df, p_value, first the full model.
    """
    _check_point_fit("ranova", fit)
    fit.design.refuse_nominal("ranova", "it drops bars of one linear predictor. anova(m0, m1) compares two models")
    if not fit.design.groups:
        raise InputError(f"{fit.design.formula.text!r} has no random effects to drop")
    labels, rows = ["(none dropped)"], [(fit.n_parameters, fit.loglik)]
    for label, groups in _without_each_random_term(fit.design):
        design = replace(fit.design, groups=groups)
        smaller = replace(fit, design=design, solution=solved(design, fit.solution, reml=fit.solution.reml))
        labels.append(label)
        rows.append((smaller.n_parameters, smaller.loglik))
    table = pd.DataFrame(rows, columns=["npar", "loglik"], index=pd.Index(labels, name="dropped"), dtype=float)
    table["aic"] = 2.0 * table["npar"] - 2.0 * table["loglik"]
    table["chisq"] = _statistic(-2.0 * table["loglik"].to_numpy(), fit.deviance)
    table["df"] = fit.n_parameters - table["npar"]
    table["p_value"] = _p_value(table["chisq"], table["df"])
    table.iloc[0, [3, 4, 5]] = np.nan
    return ModelTests(
        title=f"Random terms dropped one at a time ({'REML' if fit.solution.reml else 'ML'})",
        table=table,
        notes=(BOUNDARY, *_worse_than_less(table)),
    )


def _worse_than_less(table: pd.DataFrame) -> list[str]:
    return [
        f"The fit is better without {label}, by {-value:.3g}: its search ended beside the optimum (see verdict), so "
        "there is no p-value."
        for label, value in table["chisq"].items()
        if value < 0.0
    ]


def _without_each_random_term(design: Design) -> list[tuple[str, tuple[GroupTerm, ...]]]:
    """(what is dropped, the grouping factors that are left) for every term that may go."""
    cases = []
    written = Counter(text for group in design.groups for text in dict.fromkeys(group.texts))
    recipes = iter(design.recipe.bars)
    for k, group in enumerate(design.groups):
        if group.is_wide:
            label = group.texts[0] if group.is_grouping else group.name
            cases.append((label, (*design.groups[:k], *design.groups[k + 1 :])))
            continue
        bars = next(recipes)
        bars_of_group = [bar for bar in design.formula.bars if bar.group == group.variables and bar.word is None]
        for b, bar in enumerate(bars):
            terms = _columns_of_terms(bar, group.blocks[b])
            droppable = {name: columns for name, columns in terms.items() if name != "Intercept"}
            is_whole = not group.template.structures[b].contains_fewer(len(group.blocks[b]))
            if "Intercept" not in terms or not droppable or is_whole:
                split = group.texts.count(group.texts[b]) > 1 and written[group.texts[b]] == 1
                droppable = {next(iter(terms)) if split else "": group.blocks[b]}
            for name, columns in droppable.items():
                word = "" if group.texts[b].startswith("(") else group.texts[b].partition("(")[0]
                bar_text = group.texts[b] if word else f"({group.texts[b].strip('()')})"
                if written[group.texts[b]] > 1:  # over nested factors: the bar of this one
                    bar_text = f"{word}({bars_of_group[b].columns} | {group.name})"
                label = f"{name} in {bar_text}" if name else bar_text
                left = _without_columns(group, columns)
                cases.append(
                    (label, tuple(g for g in (*design.groups[:k], left, *design.groups[k + 1 :]) if g is not None))
                )
    return cases


def _columns_of_terms(bar, block: tuple[int, ...]) -> dict[str, tuple[int, ...]]:  # type: ignore[no-untyped-def]
    """Columns of Z by term of the bar's left side."""
    columns, start = {}, 0
    for factors in bar.products:
        width = int(np.prod([len(coded.labels) for coded in factors], dtype=int))
        name = ":".join(coded.expression.label for coded in factors) or "Intercept"
        columns[name] = block[start : start + width]
        start += width
    return columns


def _without_columns(group: GroupTerm, dropped: tuple[int, ...]) -> GroupTerm | None:
    kept = [c for c in range(group.q) if c not in dropped]
    if not kept:
        return None
    place = {c: i for i, c in enumerate(kept)}
    blocks = [tuple(place[column] for column in block if column in place) for block in group.blocks]
    left = [b for b, block in enumerate(blocks) if block]
    structures = group.template.structures
    return replace(
        group,
        columns=tuple(group.columns[column] for column in kept),
        Z=np.ascontiguousarray(group.Z[:, kept]),
        blocks=tuple(blocks[b] for b in left),
        structures=tuple(UNSTRUCTURED if len(blocks[b]) == 1 else structures[b] for b in left),
        lefts=tuple(group.lefts[b] for b in left) if group.lefts else (),
    )


def drop1(fit: PointFit) -> ModelTests:
    """Drop each fixed term in turn and compare by the likelihood ratio (ML), as R's ``drop1(test = "Chisq")``.

    Terms that are part of a higher interaction stay, since without them the interaction would mean something else.
    A term that says what the others say together has df 0 and no p-value.

    Returns
    -------
    ModelTests
        Of one fit ``.table`` has a row a term and columns num_df, den_df, f, p_value (with ``ddf=None`` chisq, df,
        p_value). Of several it has columns npar, aic, chisq, df, p_value, first the full model.
    """
    _check_point_fit("drop1", fit)
    fit.design.refuse_nominal("drop1", "it drops terms of one linear predictor. anova(m0, m1) compares two models")
    if () not in fit.design.recipe.fixed.products and any(
        c.table is not None for product in fit.design.recipe.fixed.products for c in product
    ):
        raise InputError(
            "drop1: without an intercept the coding of a factor depends on the other terms. Keep the intercept, or "
            "compare the fits you mean with anova(m0, m1)."
        )
    full = by_ml(fit)
    labels, rows = ["(none dropped)"], [(full.n_parameters, full.deviance)]
    for label, X, names in _without_each_fixed_term(fit.design):
        design = replace(fit.design, X=X, x_names=names)
        smaller = replace(full, design=design, solution=solved(design, full.solution, reml=False))
        labels.append(label)
        rows.append((smaller.n_parameters, smaller.deviance))
    table = pd.DataFrame(rows, columns=["npar", "deviance"], index=pd.Index(labels, name="dropped"), dtype=float)
    deviance = table.pop("deviance").to_numpy()
    table["aic"] = deviance + 2.0 * table["npar"]
    table["df"] = full.n_parameters - table["npar"]
    table["chisq"] = _statistic(deviance, full.deviance)
    table["p_value"] = _p_value(table["chisq"], table["df"])
    table.iloc[0, [2, 3, 4]] = np.nan
    refitted = ["Models fitted by REML were refitted by ML."] if fit.solution.reml else []
    notes = (*refitted, *_worse_than_less(table))
    return ModelTests(
        title="Fixed terms dropped one at a time (ML)",
        table=table[["npar", "aic", "chisq", "df", "p_value"]],
        notes=notes,
    )


def _check_point_fit(verb: str, fit: Any) -> None:
    if not isinstance(fit, PointFit):
        raise InputError(f"{verb}({type(fit).__name__}): a REML or ML fit is needed, as fit_reml() gives")


def _without_each_fixed_term(design: Design) -> list[tuple[str, np.ndarray, tuple[str, ...]]]:
    """(what is dropped, X, its names) for every term that may go; X has what it was aliased with in its place."""
    columns, start = {}, 0
    for factors in design.recipe.fixed.products:
        width = int(np.prod([len(coded.labels) for coded in factors], dtype=int))
        columns[tuple(coded.expression.label for coded in factors)] = np.arange(start, start + width)
        start += width
    cases = []
    for term, where in columns.items():
        if not term or any(set(term) < set(other) for other in columns) or not design.recipe.kept[where].any():
            continue
        cases.append((":".join(term), *_without_fixed_columns(design, where)))
    return cases


def _without_fixed_columns(design: Design, dropped: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """X and its names without columns of the whole fixed part: those that depend on others are found anew."""
    recipe = design.recipe
    every_column = new_columns(recipe.fixed, design.frame)
    left = np.ones(every_column.shape[1], dtype=bool)
    left[dropped] = False
    is_used = left.copy()
    is_used[left] = independent_columns(every_column[:, left], has_intercept=() in recipe.fixed.products)
    never = ~recipe.kept  # an intercept that cutpoints stand for
    never[recipe.aliases.columns] = False
    is_used &= ~never
    names = tuple(name for name, used in zip(recipe.fixed.names, is_used, strict=True) if used)
    return np.ascontiguousarray(every_column[:, is_used]), names
