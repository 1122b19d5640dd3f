"""K-fold cross-validation by rows or by whole groups: where leaving one out has no short cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.design import Design
from ..engine.quadrature import MOST_EFFECTS
from ..engine.randomness import generator
from ..errors import InputError, NotAvailableError, SamplingWarning
from ..results import integrated
from ..results.draws import Draws
from ..results.elpd import ROW, record, units_of
from ..results.log_density import log_likelihood
from ..results.loo import OF_ROWS, ONE_PREDICTOR, evenly, log_mean, thinned
from ..results.posterior import PosteriorFit
from ..results.progress import Bar
from ..results.sampling import sample
from ..results.summaries import flat
from ..results.variance import nesting
from ..tools.arrays import Array
from ..tools.warned import muted, warn
from ..tools.words import is_one_of

Codes = NDArray[np.int64]

LARGE_ERROR = 0.5  # Monte Carlo error of one unit's elpd, from which it is said


def kfold(
    post: PosteriorFit,
    k: int = 10,
    *,
    unit: str = ROW,
    folds: Any = None,
    random_seed: int | None = 1,
    progressbar: bool = True,
) -> Any:
    """Expected log predictive density of rows or groups, by fits that have not seen them.

    The posterior is sampled ``k`` times, each time without one fold, with the same priors and settings. Rows are dealt
    out so that every group is spread over the folds; groups are left out with all their rows, also where factors are
    crossed and :meth:`PosteriorFit.loo` cannot. A group's rows are predicted together: its effects are integrated out,
    exactly for normal models and by quadrature for others; those of crossed factors are as the other rows tell them.

    Parameters
    ----------
    post : PosteriorFit
    k : int
        Number of folds; of groups at most as many as there are.
    unit : str
        ``"observation"``, or any grouping factor.
    folds : array-like of shape (rows,), optional
        The fold of every row of the fit, instead of random ones; ``other.folds`` for the same folds as another result,
        without which models cannot be compared.
    random_seed : int, optional
        For the folds and the fits.
    progressbar : bool
        Whether to show progress after a second.

    Returns
    -------
    arviz_stats.ELPDDataLOOKFold
        ``elpd``, ``se``, ``p``, ``elpd_i`` by unit and ``n_folds``; ``unit`` and ``folds`` say what was left out,
        ``mcse`` is the Monte Carlo error of ``elpd``, as of independent draws.

    Raises
    ------
    InputError
        No such unit, an impossible number of folds, folds that divide a group, or one that alone tells a coefficient
        with a flat prior.
    NotAvailableError
        A group has more effects than quadrature can integrate out.

    Warns
    -----
    SamplingWarning
        The Monte Carlo error of a unit is large.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC,
    Stat. Comput. 27; Roberts et al. (2017), Cross-validation strategies for data with temporal, spatial, hierarchical,
    or phylogenetic structure, Ecography 40.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> model = blm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"))
    >>> found = blm.kfold(model.fit(random_seed=1), k=6, unit="sample", progressbar=False)
    >>> found.n_folds, len(found.elpd_i)
    (6, 6)
    """
    if not isinstance(post, PosteriorFit):
        raise InputError(f"kfold takes a posterior from model.fit(), not {type(post).__name__}")
    design = post.design
    design.refuse_likelihood_weights("kfold")
    if not is_one_of(unit, (ROW,)):
        design.refuse_residual(f"kfold(unit={unit!r})")
        design.refuse_nominal(f"kfold(unit={unit!r})", ONE_PREDICTOR)
        design.refuse_uncompiled(f"kfold(unit={unit!r})", OF_ROWS)
        design.refuse_predictors(f"kfold(unit={unit!r})")  # before anything is fitted
    design.refuse_correlated("kfold")
    _check(post, k, unit)
    integrated.refuse_wide_unit(design, unit, f"kfold(unit={unit!r})")
    if folds is None:
        labels = deal(design, unit, k, generator(random_seed))
    else:
        labels = _given(design, unit, folds)
    n_folds = int(labels.max()) + 1
    _check_told(post, labels)
    codes = np.arange(design.n) if unit == ROW else design.group(unit).codes
    nested = None if unit == ROW else integrated.nested_in(design, unit)
    draws = integrated.draws_used(design, unit, post.n_chains * post.n_draws)
    units = int(codes.max()) + 1
    elpd, error = np.empty(units), np.empty(units)
    inexact = 0.0
    with Bar("Cross-validation", n_folds, show=progressbar) as bar:
        for fold in range(n_folds):
            in_fold = labels == fold
            others = _without(post, in_fold, None if random_seed is None else random_seed + 1 + fold)
            density, integration_error = _densities(design.rows(in_fold), others, unit, nested, draws)
            held_out = np.unique(codes[in_fold])
            density = density if unit == ROW else density[:, held_out]
            elpd[held_out] = log_mean(density)
            error[held_out] = np.exp(density - elpd[held_out]).std(axis=0) / np.sqrt(len(density))
            inexact = max(inexact, integration_error)
            bar.advance(1)
    integrated.warn_of_error(f"kfold(unit={unit!r})", inexact)
    _warn_of_error(unit, error)
    lppd = log_mean(_densities(design, post, unit, nested, draws)[0])
    return _record_of(post, unit, labels, elpd, error, lppd, draws)


def _check(post: PosteriorFit, k: int, unit: str) -> None:
    design = post.design
    units_known = (ROW, *post.ngroups)
    if not is_one_of(unit, units_known):
        raise InputError(f"kfold(unit={unit!r}): units are {', '.join(map(repr, units_known))}")
    units = design.n if unit == ROW else post.ngroups[unit]
    is_whole = isinstance(k, int | np.integer) and not isinstance(k, bool)
    if not is_whole or k < 2:
        raise InputError(f"kfold(k={k!r}): the number of folds is a whole number, at least 2")
    if unit == ROW and k > units:
        raise InputError(f"kfold(k={k}): there are {units:,} rows to make folds of")
    if unit != ROW and not design.family.is_normal and design.group(unit).q > MOST_EFFECTS:
        raise NotAvailableError(
            f"kfold(unit={unit!r}): {design.group(unit).q} effects a level are more than the "
            f"{MOST_EFFECTS} that quadrature integrates out of {design.family}; kfold() by rows needs none"
        )


def deal(design: Design, unit: str, k: int, rng: np.random.Generator) -> Codes:
    """A fold of every row (n,): whole groups at random, or rows such that every group is spread over the folds.

    Rows are dealt like cards, level after level in random order of the factor with the most levels; those nested in one
    level of another factor come together, so that its rows are spread as well.
    """
    if unit != ROW:
        group = design.group(unit)
        return (rng.permutation(group.n_levels) % min(k, group.n_levels))[group.codes]
    keys = [rng.random(design.n)]
    parts = design.of_categories  # which all have the same factors
    design = design.for_category(parts[0]) if parts else design
    ordinary = [g for g in design.groups if not g.is_wide]
    if ordinary:
        finest = max(ordinary, key=lambda g: g.n_levels)
        above = [design.group(name) for name in nesting(design)[finest.name]]
        for g in (finest, *sorted(above, key=lambda g: g.n_levels, reverse=True)):
            keys.append(rng.permutation(g.n_levels)[g.codes])
    folds = np.empty(design.n, dtype=np.int64)
    folds[np.lexsort(keys)] = np.arange(design.n) % k
    return folds


def _given(design: Design, unit: str, folds: Any) -> Codes:
    if isinstance(folds, pd.Series) and len(folds) != design.n and design.index.isin(folds.index).all():
        folds = folds.loc[design.index]
    labels = np.asarray(folds)
    if labels.shape != (design.n,):
        raise InputError(f"kfold(folds=...): shape {labels.shape}; the fit uses {design.n:,} rows, and each has a fold")
    if pd.isna(labels).any():
        raise InputError(f"kfold(folds=...): {int(pd.isna(labels).sum())} rows have no fold")
    codes, distinct = pd.factorize(labels, sort=True)
    if len(distinct) < 2:
        raise InputError("kfold(folds=...): one fold holds all rows; there are none left to fit")
    if unit != ROW:
        group = design.group(unit)
        pairs = np.unique(np.column_stack([group.codes, codes]), axis=0)[:, 0]
        divided = np.flatnonzero(np.bincount(pairs, minlength=group.n_levels) > 1)
        if len(divided):
            raise InputError(
                f"kfold(unit={unit!r}, folds=...): {len(divided)} levels of {unit} are in several folds (first: "
                f"{group.levels[divided[0]]!r}); a group is left out with all its rows"
            )
    return codes.astype(np.int64)


def _check_told(post: PosteriorFit, labels: Codes) -> None:
    """Whether the rows outside every fold tell the coefficients that no prior tells."""
    design = post.design
    names = [
        name
        for name in design.x_names
        if _is_flat(post.priors.get("Intercept") if name == "Intercept" else post.priors.get("fixed", term=name))
    ]
    X = design.X[:, [design.x_names.index(name) for name in names]]
    for fold in range(int(labels.max()) + 1) if names else ():
        if np.linalg.matrix_rank(X[labels != fold]) < len(names):
            raise InputError(
                f"kfold: without fold {fold} the rows do not tell all coefficients with flat priors "
                f"({', '.join(names)}). Give them priors, or other folds."
            )


def _is_flat(prior: Any) -> bool:
    return getattr(prior, "name", "") == "Flat"


def _without(post: PosteriorFit, out: NDArray[np.bool_], seed: int | None) -> Draws:
    settings = post.settings.changed({"random_seed": seed, "progressbar": False})
    with muted(SamplingWarning):
        return sample(post.design.rows(~out), post.priors, settings)


def _densities(design: Design, fit: Draws, unit: str, nested: str | None, draws: int) -> tuple[Array, float]:
    """Log densities of rows (S, n) or groups (S, levels) under a posterior's draws, and the error of the quadrature."""
    chosen = evenly(fit, draws)
    if unit == ROW:
        return flat(log_likelihood(design, thinned(fit, chosen))["y"].to_numpy()), 0.0
    return integrated.of_groups(design, fit, unit, nested, chosen)


def _warn_of_error(unit: str, error: Array) -> None:
    n_invalid = int((error > LARGE_ERROR).sum())
    if n_invalid:
        units = "rows" if unit == ROW else f"groups of {unit}"
        warn(
            f"kfold: the Monte Carlo error of {n_invalid} of {len(error):,} {units} is above {LARGE_ERROR} (largest "
            f"{error.max():.1f}): too few draws lie where they are likely. Fit with more draws.",
            SamplingWarning,
        )


def _record_of(post: PosteriorFit, unit: str, folds: Codes, elpd: Array, error: Array, lppd: Array, draws: int) -> Any:
    import xarray as xr

    dim, labels = units_of(post.design, unit)
    elpd_i = xr.DataArray(elpd, dims=dim, coords={dim: labels}, name="elpd_i")
    p_i = xr.DataArray(lppd - elpd, dims=dim, coords={dim: labels}, name="p_kfold_i")
    folds = folds.copy()
    folds.setflags(write=False)
    return record(
        "ELPDDataLOOKFold",
        unit=unit,
        design=post.design,
        folds=folds,
        mcse=float(np.sqrt((error**2).sum())),
        elpd_i=elpd_i,
        p=float(p_i.sum()),
        p_kfold_i=p_i,
        n_samples=draws,
        good_k=None,
        warning=bool((error > LARGE_ERROR).any()),
        n_folds=int(folds.max()) + 1,
    )
