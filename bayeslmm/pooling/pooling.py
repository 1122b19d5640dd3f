"""No, complete and partial pooling of the levels of a grouping factor, on one footing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..design.design import Design
from ..engine import pooling as engine
from ..errors import InputError, NotAvailableError
from ..results.fit import Fit
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.quantities import check_same_data
from ..results.summaries import check_interval
from ..results.text import Shown, Text
from .estimates import Footing, normal_problem, together
from .scores import HeldOut, PoolingScores, held_out, scores
from .text import pooling_text


def complete_pooling(model: Any) -> pd.Series:
    """Least squares of the response on the fixed part, groups ignored.

    Parameters
    ----------
    model : Model, fit or Design

    Raises
    ------
    NotAvailableError
        The response is not normal.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> blm.complete_pooling(model).round(2).to_dict()
    {'Intercept': 251.41, 'Days': 10.47}
    """
    design = _design(model, "complete_pooling")
    beta = engine.least_squares(normal_problem(design)).beta
    return pd.Series(beta, index=list(design.x_names), name="complete")


def no_pooling(model: Any, group: str | None = None) -> pd.DataFrame:
    """Least squares with coefficients of its own for every level: the limit of infinite variances of this factor.

    The columns of the factor's bars get one coefficient a level. Columns of the fixed part that these hold within every
    level (their own, and predictors that are constant in a level) drop out; the others keep one coefficient for all.
    For ``y ~ x + (x | g)`` that is a regression a level, ``lme4::lmList``; for ``y ~ x + (1 | g)`` it is an intercept a
    level beside a common slope (Gelman & Hill 2007, ch. 12). Other grouping factors are left out.

    Parameters
    ----------
    model : Model, fit or Design
    group : str, optional
        The grouping factor, where the model has several.

    Returns
    -------
    DataFrame
        One row a level, one column a term; missing where a level has too few distinct rows for its own fit.

    Raises
    ------
    InputError
        No such factor, or several and none is named.
    NotAvailableError
        The response is not normal.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> blm.no_pooling(model).loc["308"].round(2).to_dict()
    {'Intercept': 244.19, 'Days': 21.76}
    """
    footing = Footing.of(_design(model, "no_pooling"), group)
    term = footing.term
    index = pd.Index(list(term.levels), name=term.name)
    return pd.DataFrame(footing.own.coefficients, index=index, columns=list(term.columns))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Pooling(Shown):
    """Complete, no and partial pooling of the levels of one grouping factor.

    Attributes
    ----------
    levels : DataFrame
        What :meth:`table` gives.
    common : DataFrame
        The fixed effects that all levels share, by term: complete, none, reml and posterior, each with ``_low`` and
        ``_high``.
    terms : DataFrame
        By term: ``sd_reml`` and ``sd_posterior`` between levels; the mean over the levels of ``shrinkage_reml`` and
        ``shrinkage`` with ``_low`` and ``_high``; ``pooling_factor``, 1 − Var_j(E b_j) / E Var_j(b_j) (Gelman &
        Pardoe 2006), where 0.5 is as far from no as from complete pooling.
    fits : DataFrame
        By kind of pooling: ``parameters``, the number of coefficients or, of partial pooling, the trace of the matrix
        that takes y to its fitted values, with ``_low`` and ``_high`` of the posterior; ``sigma``, the residual sd.
    reml : PointFit or None
    post : PosteriorFit or None
        The fits with partial pooling.
    ci_prob : float
        Probability of all intervals.
    """

    levels: pd.DataFrame
    common: pd.DataFrame
    terms: pd.DataFrame
    fits: pd.DataFrame
    reml: PointFit | None
    post: PosteriorFit | None
    ci_prob: float
    footing: Footing = field(repr=False)

    @property
    def group(self) -> str:
        """The grouping factor."""
        return self.footing.term.name

    def table(self) -> pd.DataFrame:
        """One row a level and term.

        Returns
        -------
        DataFrame
            Columns group, level, n (rows), term; complete, none, reml and posterior (means), each with ``_low`` and
            ``_high``; shrinkage_reml and shrinkage, shrinkage_low, shrinkage_high (posterior); moved. Missing fits have
            no columns; numbers without pooling are missing for a level whose rows do not tell its coefficients.

            ``shrinkage`` is Var(b | y, β, Σ, σ) / Var(b): the share of the variance between levels that the rows leave
            open, from 0 (the level's own rows decide) to 1 (complete pooling); for random intercepts
            σ² / (σ² + n τ²). ``moved`` is 1 − b_partial / b_none: the share of the way from a level's own fit to what
            it is pulled to. For random intercepts alone the two are one number; with correlated slopes a term can move
            away, or across, and where the own fit is less than a standard error from what it is pulled to, it is
            missing.
        """
        return self.levels.copy()

    def loo(self, unit: str = "observation") -> PoolingScores:
        """Expected log predictive density of left-out rows, or groups, of the three.

        Partial pooling by :meth:`PosteriorFit.loo`. Complete and no pooling are linear models with p(β, σ) ∝ 1/σ, whose
        density of a left-out row is a t density, so that it is exact.

        Parameters
        ----------
        unit : str
            ``"observation"``: a new row of a known group. A grouping factor: a new group, of which no pooling
            says nothing.

        Returns
        -------
        PoolingScores
            Rows that alone tell a coefficient (of a level with few rows) are predicted by nothing without pooling; they
            are counted and left out of the comparison.

        Raises
        ------
        NotAvailableError
            There is no posterior (``post=False``), or groups that are not independent.
        """
        if self.post is None:
            raise NotAvailableError(
                "loo() averages over a posterior; compare_pooling was told post=False. held_out() does without"
            )
        return scores(self.footing, self.post, unit)

    def held_out(self, folds: int = 5, *, by: str | None = None, random_seed: int | None = 1) -> HeldOut:
        """Mean squared error on held-out rows; all are fitted again to the others.

        Parameters
        ----------
        folds : int
            The rows of every level are dealt at random to so many parts, each held out once.
        by : {"reml", "posterior"}, optional
            How partial pooling is fitted; ``reml`` (or ML, as the fit was) if there is one.
        random_seed : int, optional
            Of the parts.

        Raises
        ------
        InputError
            Fewer than two parts or more than rows, or a fit that is not there.
        """
        return held_out(self.footing, self.reml, self.post, folds, by, random_seed)

    def text(self) -> Text:
        """Tables by term, the coefficients in common, and how many parameters that makes."""
        return pooling_text(self)


def compare_pooling(
    model: Any,
    group: str | None = None,
    *,
    reml: PointFit | bool | None = None,
    post: PosteriorFit | bool | None = None,
    random_seed: int | None = 1,
    ci_prob: float = 0.95,
    **settings: Any,
) -> Pooling:
    """Complete, no and partial pooling of the levels of a grouping factor, side by side.

    * Complete: one regression for all rows (``lm``). t intervals.
    * None: own coefficients for every level, see `no_pooling`. t intervals with one residual variance for all levels.
      With known standard errors (``se=``) the intervals of both are normal: the common-effect estimate of meta-analysis
      and the studies as they are.
    * Partial: the model, by REML (interval from the prediction error) and by its posterior (equal-tailed).

    What is compared is, for every level and column of the bars, the whole coefficient: what the fixed part brings to it
    (predictors that are constant in a level with it), the random effect, and those of factors that this one is nested
    in. For ``mathach ~ ses * sector + (ses | school)`` that is a school's intercept and slope. Docs: pooling.md.

    Parameters
    ----------
    model : Model
    group : str, optional
        The grouping factor, where the model has several; the others are left out of the fit without pooling.
    reml : PointFit or bool, optional
        A fit of this model, so that it is not made again, or ``False`` for none. By default it is made, except for
        lognormal models, which have none.
    post : PosteriorFit or bool, optional
        A posterior of this model, or ``False`` for none.
    random_seed : int, optional
        Of the posterior.
    ci_prob : float
        Probability of all intervals.
    **settings
        For ``model.fit``: ``draws``, ``chains``, ``progressbar``, ...

    Returns
    -------
    Pooling

    Raises
    ------
    InputError
        No such factor, or several and none is named; a fit of another model.
    NotAvailableError
        The response is not normal.

    References
    ----------
    Gelman & Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, ch. 12. Gelman & Pardoe
    (2006), Bayesian measures of explained variance and pooling in multilevel models, Technometrics 48.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> pool = blm.compare_pooling(model, post=False)
    >>> print(pool.table()[["level", "term", "complete", "none", "reml"]].head(2).round(1).to_string(index=False))
    level      term  complete  none  reml
      308 Intercept     251.4 244.2 253.7
      308      Days      10.5  21.8  19.7
    """
    design = _design(model, "compare_pooling")
    if not hasattr(model, "fit_reml"):
        raise InputError(f"compare_pooling(model): a blm.Model, not {type(model).__name__}")
    check_interval(ci_prob)
    footing = Footing.of(design, group)
    has_reml = design.family.has_reml
    point = _given(design, "reml", reml, PointFit, lambda: model.fit_reml() if has_reml or reml else None)
    draws = _given(design, "post", post, PosteriorFit, lambda: model.fit(random_seed=random_seed, **settings))
    return pool(footing, point, draws, ci_prob)


def pool_fit(fit: PointFit | PosteriorFit, group: str | None = None, ci_prob: float = 0.95) -> Pooling:
    """The same of one fit."""
    reml = fit if isinstance(fit, PointFit) else None
    post = fit if isinstance(fit, PosteriorFit) else None
    return pool(Footing.of(fit.design, group), reml, post, ci_prob)


def pool(footing: Footing, reml: PointFit | None, post: PosteriorFit | None, ci_prob: float) -> Pooling:
    """Put the fits on their footing."""
    tables = together(footing, reml, post, ci_prob)
    return Pooling(**tables, reml=reml, post=post, ci_prob=ci_prob, footing=footing)


def _design(model: Any, verb: str) -> Design:
    design = getattr(model, "design", model)
    if not isinstance(design, Design):
        raise InputError(f"{verb}(model): a blm.Model, not {type(model).__name__}")
    return design


def _given[Kind: Fit](
    design: Design, name: str, fit: Any, kind: type[Kind], make: Callable[[], Kind | None]
) -> Kind | None:
    """The fit that was given, if it is of this model; a new one where none was given, none where it was refused."""
    if fit is False:
        return None
    if fit is None or fit is True:
        return make()
    if not isinstance(fit, kind):
        made = "model.fit_reml()" if kind is PointFit else "model.fit()"
        raise InputError(
            f"compare_pooling({name}=...): a fit from {made}, or False; not {type(fit).__name__}"
        )
    if fit.design.formula.text != design.formula.text:
        raise InputError(
            f"compare_pooling({name}=...): a fit of {fit.design.formula.text!r}, where the model is "
            f"{design.formula.text!r}"
        )
    check_same_data(design, fit.design, f"compare_pooling({name}=...)")
    return fit
