"""No, complete and partial pooling of the levels of a grouping factor, on one footing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from ..design.design import Design
from ..errors import InputError, NotAvailableError
from ..results.fit import Fit
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.quantities import check_same_data
from ..results.reading import for_reading
from ..results.summaries import check_interval
from .estimates import Footing, complete_fit, together
from .record import Pooling


def complete_pooling(model: Any) -> pd.Series:
    """Regression of the response on the fixed part, groups ignored.

    Least squares, or maximum likelihood of a response that is not normal (``glm``). Missing where separation leaves no
    finite estimate.

    Parameters
    ----------
    model : Model, fit or Design

    Raises
    ------
    NotAvailableError
        The model has a relationship matrix, multi-membership or a smooth.
    FitError
        The likelihood has no maximum that could be found.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> blm.complete_pooling(model).round(2).to_dict()
    {'Intercept': 251.41, 'Days': 10.47}
    """
    design = _design(model, "complete_pooling")
    design.refuse_nominal("complete_pooling", "leave the bars out of the formula, and fit() it")
    return for_reading(pd.Series(complete_fit(design).beta, index=list(design.x_names), name="complete"))


def no_pooling(model: Any, group: str | None = None) -> pd.DataFrame:
    """Regression with coefficients of its own for every level: the limit of infinite variances of this factor.

    The columns of the factor's bars get one coefficient a level. Columns of the fixed part that these hold within every
    level (their own, and predictors that are constant in a level) drop out; the others keep one coefficient for all.
    For ``y ~ x + (x | g)`` that is a regression a level, ``lme4::lmList``; for ``y ~ x + (1 | g)`` it is an intercept a
    level beside a common slope (Gelman & Hill 2007, ch. 12). Other grouping factors are left out. Least squares, or
    maximum likelihood of a response that is not normal, with one dispersion, shape or set of cutpoints for all levels;
    beside cutpoints the intercepts of the levels sum to zero.

    Parameters
    ----------
    model : Model, fit or Design
    group : str, optional
        The grouping factor, where the model has several.

    Returns
    -------
    DataFrame
        One row a level, one column a term; missing where a level has too few distinct rows for its own fit. An
        intercept is ±inf where all rows of the level are at one edge, as failures alone are; levels with several
        coefficients that are separated are missing.

    Raises
    ------
    InputError
        No such factor, or several and none is named.
    NotAvailableError
        The model has a relationship matrix, multi-membership or a smooth.
    FitError
        Every row is fitted perfectly, or the likelihood has no maximum that could be found.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> blm.no_pooling(model).loc["308"].round(2).to_dict()
    {'Intercept': 244.19, 'Days': 21.76}
    """
    design = _design(model, "no_pooling")
    design.refuse_empty_categories("no_pooling")
    design.refuse_nominal("no_pooling", "add the factor to the fixed part, and fit() it")
    footing = Footing.of(design, group)
    term = footing.term
    index = pd.Index(list(term.levels), name=term.name)
    return for_reading(pd.DataFrame(footing.unpooled.coefficients, index=index, columns=list(term.columns)))


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

    * Complete: one regression for all rows (``lm``, ``glm``). t intervals, of other than normal responses normal ones.
    * None: own coefficients for every level, see `no_pooling`. t intervals with one residual variance for all levels,
      or normal ones; none where separation leaves no finite estimate, which is said with the names of the levels.
      With known standard errors (``se=``) the intervals of both are normal: the common-effect estimate of meta-analysis
      and the studies as they are.
    * Partial: the model, by REML (ML of other than normal responses; interval from the prediction error) and by its
      posterior (equal-tailed).

    What is compared is, for every level and column of the bars, the whole coefficient: what the fixed part brings to it
    (predictors that are constant in a level with it), the random effect, and those of factors that this one is nested
    in. For ``mathach ~ ses * sector + (ses | school)`` that is a school's intercept and slope. Docs: pooling.md.

    Parameters
    ----------
    model : Model
    group : str, optional
        The grouping factor, where the model has several; the others are left out of the fit without pooling.
    reml : PointFit or bool, optional
        A point fit of this model, so that it is not made again, or ``False`` for none. By default it is made: by REML,
        of other than normal responses by ML.
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
        The model has a relationship matrix, multi-membership or a smooth.
    FitError
        There is no fit without pooling: every row is fitted perfectly.

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
    _refuse_residual(design)
    footing = Footing.of(design, group)
    point_fit = model.fit_reml if design.family.has_reml else model.fit_ml
    point = _given(design, "reml", reml, PointFit, point_fit)
    draws = _given(design, "post", post, PosteriorFit, lambda: model.fit(random_seed=random_seed, **settings))
    return pool(footing, point, draws, ci_prob)


def pool_fit(fit: PointFit | PosteriorFit, group: str | None = None, ci_prob: float = 0.95) -> Pooling:
    """The same of one fit."""
    reml = fit if isinstance(fit, PointFit) else None
    post = fit if isinstance(fit, PosteriorFit) else None
    if post is not None:
        _refuse_residual(post.design)
    return pool(Footing.of(fit.design, group), reml, post, ci_prob)


def pool(footing: Footing, reml: PointFit | None, post: PosteriorFit | None, ci_prob: float) -> Pooling:
    """Put the fits on their footing."""
    tables = together(footing, reml, post, ci_prob)
    return Pooling(**tables, reml=reml, post=post, ci_prob=ci_prob, footing=footing)


def _refuse_residual(design: Design) -> None:
    design.refuse_predictors("a comparison of pooling")
    design.refuse_empty_categories("a comparison of pooling")
    design.refuse_likelihood_weights("a comparison of pooling")
    design.refuse_censored("a comparison of pooling")
    if design.residual is not None:
        raise NotAvailableError(
            f"compare_pooling is not offered for models with {design.residual.text}: complete and no pooling are least "
            "squares with one residual variance, and partial pooling beside them would differ by more than pooling"
        )


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
        call = "model.fit_reml()" if kind is PointFit else "model.fit()"
        raise InputError(f"compare_pooling({name}=...): a fit from {call}, or False; not {type(fit).__name__}")
    if fit.design.formula.text != design.formula.text:
        raise InputError(
            f"compare_pooling({name}=...): a fit of {fit.design.formula.text!r}, where the model is "
            f"{design.formula.text!r}"
        )
    check_same_data(design, fit.design, f"compare_pooling({name}=...)")
    return fit
