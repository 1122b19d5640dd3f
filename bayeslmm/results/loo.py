"""Leave-one-out prediction of a posterior, by row or by group (docs/theory.md, section 12)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..design import names
from ..design.design import Design
from ..engine import residual_loo
from ..engine.level_loo import leave_one_level_out
from ..engine.loo import Hyperdraws, leave_one_group_out, leave_one_out
from ..engine.quadrature import MOST_EFFECTS
from ..engine.scaling import Problem
from ..errors import InputError, NotAvailableError, SamplingWarning
from ..tools.arrays import Array
from ..tools.lazy import special
from ..tools.warned import muted, warn
from ..tools.words import is_one_of
from . import integrated, psis
from .bridge import log_ratio
from .conditional import normal_priors
from .draws import Draws
from .elpd import ROW, record, units_of, units_there_are
from .log_density import log_likelihood
from .progress import Bar
from .sampling import sample
from .streamed import level_sums, need_rows
from .summaries import flat
from .variance import nesting

# A group tells more of the hyperparameters than a row, most of all where groups are few. Beyond 1/2 its weights have no
# variance, and 4,000 draws were off by up to 0.3 (tests/results/test_loo_groups.py holds them to quadrature).
GOOD_K_OF_GROUPS = 0.5
LARGE_ERROR = 0.2  # Monte Carlo error of a refitted unit's elpd, from which it is said
REFIT_ERROR = "refitted_error_i"
ROW_GROUP = "loo"  # of the tree, with what leaving rows out gives
OF_ROWS = ". loo(conditional=True) and kfold() leave out rows"
ONE_PREDICTOR = (
    "the quadrature that integrates effects out knows one linear predictor. Rows can be left out: "
    "loo(conditional=True), kfold()"
)
KFOLD = "blm.kfold(post, unit={unit!r}) refits without whole groups instead"


def loo(fit: Draws, unit: str, *, conditional: bool, draws: int | None, refit: bool | None) -> Any:
    """The record behind :meth:`PosteriorFit.loo`; what it is made of is a group of ``idata`` for the next call."""
    is_whole = isinstance(draws, int | np.integer) and not isinstance(draws, bool)
    if draws is not None and not (is_whole and draws >= 100):
        raise InputError(f"loo(draws={draws!r}): a number of draws to use, at least 100")
    _check_unit(fit, unit, conditional)
    if refit:
        need_rows(fit.design)
    available = fit.n_chains * fit.n_draws
    used = min(available, draws or integrated.draws_used(fit.design, unit, available))
    of_unit = fit.design.names.loo_of(unit)
    name = "conditional_loo" if conditional else ROW_GROUP if unit == ROW else of_unit
    kept, without = fit.idata.children.get(name), None
    if kept is None or int(kept.attrs["draws"]) != used:
        fit.idata[name], without = _leave_one_out(fit, unit, conditional, used)
        kept = fit.idata[name]
    if refit and fit.design.sums is not None:
        raise NotAvailableError(
            "loo(refit=True) needs the rows of the others, and those of data in chunks are not kept"
        )
    mend = not conditional and fit.design.sums is None if refit is None else refit
    if mend:
        _refit(fit, unit, kept, None if conditional else without)
    elpd = _record_of(fit, unit, conditional, kept, mend=mend)
    _warn_of_bad(unit, elpd, mended=mend)
    return elpd


def is_wanted(fit: Draws, asked: bool | None) -> bool:
    """Whether a table shows what leaving rows out gives: if asked to, or if that is there and nobody says no."""
    return ROW_GROUP in fit.idata.children if asked is None else asked


def _check_unit(fit: Draws, unit: str, conditional: bool) -> None:
    """Whether the units are independent given the parameters that are left, and what is left out can be integrated."""
    if not is_one_of(unit, (ROW,)):
        fit.design.refuse_nominal(f"loo(unit={unit!r})", ONE_PREDICTOR)
    units = units_there_are(fit.design)
    parts = fit.design.predictors.values()
    of_parameters = [part.factor_of(group) for part in parts for group in part.groups]  # refused below, and why
    if not is_one_of(unit, (*units, *of_parameters)):
        raise InputError(f"loo(unit={unit!r}): units are {', '.join(map(repr, units))}")
    design = fit.design
    design.refuse_likelihood_weights("loo()")
    needed = [*([names.BETA] if design.x_names else []), *design.parameters]
    for name in (*needed, *design.names.b.values()):
        fit.draws(name)  # draws made elsewhere may lack some, and say so
    if conditional:
        design.refuse_correlated("loo(conditional=True)")
    integrates = bool(design.every_group) or design.family.is_normal
    if design.every_group and not conditional:
        design.refuse_nominal("loo()", ONE_PREDICTOR)
        design.refuse_uncompiled(f"loo(unit={unit!r})", OF_ROWS)
    if design.predictors and integrates and not (unit == ROW and conditional):
        predicted = ", ".join(dict.fromkeys(part.said for part in design.predictors.values()))
        raise NotAvailableError(
            f"loo(): the quadrature that integrates effects out takes the family's parameters to be the same in all "
            f"rows, and here are {predicted}{OF_ROWS}"
        )
    if unit == ROW:
        ordinary = any(not group.is_wide for group in design.groups)
        if ordinary and not (conditional or design.family.is_normal or integrated.factor_of_rows(design)):
            raise NotAvailableError(
                f"loo(): every factor has more than {MOST_EFFECTS} effects a level, which quadrature cannot integrate "
                f"out of {design.family}; loo(conditional=True) reweights draws of them"
            )
        return
    if conditional and unit != ROW:
        raise InputError(
            f"loo(unit={unit!r}, conditional=True): of a group that is left out there are no draws of effects to "
            "condition on; they are always integrated out"
        )
    if unit not in (group.name for group in design.groups):
        return
    if len(design.groups) > 1 or not design.family.is_normal:
        integrated.refuse_wide_unit(design, unit, f"loo(unit={unit!r})")
    above = nesting(design)
    for group in design.groups:
        if group.name != unit and unit not in above[group.name]:
            coarser = f", or leave out one {group.name}" if group.name in above[unit] else ""
            raise NotAvailableError(
                f"loo(unit={unit!r}): {group.name} is not nested in {unit}, so that groups of {unit} hang together; "
                f"{KFOLD.format(unit=unit)}{coarser}"
            )
    effects = sum(group.q for group in design.groups)
    if not design.family.is_normal and (len(design.groups) > 2 or effects > MOST_EFFECTS):
        raise NotAvailableError(
            f"loo(unit={unit!r}) of {design.family} integrates random effects out by quadrature, of one factor and at "
            f"most one nested in it, with {MOST_EFFECTS} effects a level together; here are {len(design.groups)} "
            f"factors with {effects}. {_instead_of_quadrature(design, unit)}"
        )


def _instead_of_quadrature(design: Design, unit: str) -> str:
    """What leaves out levels of a factor, or else rows, where quadrature takes not all effects together."""
    is_few = design.group(unit).q <= MOST_EFFECTS
    return KFOLD.format(unit=unit) if is_few else "blm.kfold(post) leaves out rows, and needs no quadrature"


def _leave_one_out(fit: Draws, unit: str, conditional: bool, draws: int) -> tuple[Any, Array]:
    """Results by unit as a group of ``idata``: elpd_i, pareto_k, lppd_i, and room for the elpd of refits.

    Beside them log p(y_i | the others, draw) (S, units).
    """
    import xarray as xr

    without, within = _densities(fit, unit, conditional, fit, evenly(fit, draws))
    dim, labels = units_of(fit.design, unit)
    elpd, k = np.full(without.shape[1], -np.inf), np.full(without.shape[1], np.inf)
    finite = np.isfinite(without.sum(axis=0))  # the others have no coefficient left to tell the rest by
    if not finite.all():  # tens of millions of numbers
        within = np.where(finite, within, 0.0)
    elpd[finite], k[finite] = _smoothed(without if finite.all() else without[:, finite], fit.settings.threads)
    dataset = xr.Dataset(
        {
            "elpd_i": (dim, elpd),
            "pareto_k": (dim, k),
            "lppd_i": (dim, log_mean(within)),
            "refitted_elpd_i": (dim, np.full(len(k), np.nan)),
            REFIT_ERROR: (dim, np.full(len(k), np.nan)),
        },
        coords={dim: labels},
    )
    # from this k on so many draws are not enough: Vehtari et al. (2024), Pareto smoothed importance sampling, JMLR 25
    largest = 0.7 if unit == ROW else GOOD_K_OF_GROUPS
    dataset.attrs = {"draws": draws, "good_k": min(1.0 - 1.0 / math.log10(draws), largest) if draws > 1 else largest}
    return xr.DataTree(dataset), without


def _smoothed(without: Array, cores: int = 1) -> tuple[Array, Array]:
    """elpd and Pareto k (units,) by Pareto smoothed importance sampling, from log densities (S, units)."""
    elpd, k, is_told = psis.leave_out(without, cores=cores)
    if not is_told.all():
        elpd[~is_told], k[~is_told] = _smoothed_by_unit(without[:, ~is_told])
    return elpd, k


def _smoothed_by_unit(without: Array) -> tuple[Array, Array]:
    """The same by ArviZ, unit by unit.

    Where all weights of a tail are alike, as of few draws of a chain that stands, there is no shape: k is infinite, and
    the weights are taken as they are.
    """
    from arviz_stats.base import array_stats

    try:
        elpd, k, _ = array_stats.loo(without[None], chain_axis=0, draw_axis=1)
    except ValueError:
        if without.shape[1] > 1:
            parts = [_smoothed_by_unit(without[:, [unit]]) for unit in range(without.shape[1])]
            return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        return np.log(len(without)) - special.logsumexp(-without, axis=0), np.full(1, np.inf)
    return np.atleast_1d(elpd), np.atleast_1d(k)


def log_mean(log_density: Array) -> Array:
    """log of the mean density over draws (S, units)."""
    largest = log_density.max(axis=0)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    total, away = np.zeros_like(largest), np.empty_like(largest)
    for of_draw in log_density:  # one at a time, since all together do not fit into a processor's cache
        np.subtract(of_draw, largest, out=away)
        np.exp(away, out=away)
        total += away
    with np.errstate(divide="ignore"):
        return np.log(total / len(log_density)) + largest


def evenly(fit: Draws, draws: int) -> NDArray[np.int64]:
    """So many of the draws of all chains, or all where there are fewer."""
    available = fit.n_chains * fit.n_draws
    return np.linspace(0, available - 1, min(draws, available)).astype(np.int64)


def _refit(fit: Draws, unit: str, kept: Any, without: Array | None) -> None:
    """Where weights cannot tell what the others say, sample their posterior, and compare the draws of both."""
    doubtful = (kept["pareto_k"] > kept.attrs["good_k"]) & np.isfinite(kept["elpd_i"])
    todo = np.flatnonzero(doubtful & np.isnan(kept["refitted_elpd_i"]))
    if not len(todo):
        return
    if REFIT_ERROR not in kept:  # of a file that an older version wrote
        kept[REFIT_ERROR] = kept["refitted_elpd_i"] * np.nan
    chosen = evenly(fit, kept.attrs["draws"])
    if not fit.design.family.is_normal:
        without = None  # of rows the effects are integrated out there, and taken as they are drawn below
    elif without is None:
        without = _exact_densities(fit, unit, fit, chosen)[0]
    with Bar("Leaving out in earnest", len(todo), show=fit.settings.progressbar) as bar:
        for i in todo:
            others = _others(fit, unit, int(i))
            by_others = _held_out(fit, unit, int(i), others, evenly(others, kept.attrs["draws"]))
            by_all = _held_out(fit, unit, int(i), fit, chosen) if without is None else without[:, i]
            kept["refitted_elpd_i"][i], kept[REFIT_ERROR][i] = log_ratio(by_all, by_others)
            bar.advance(1)


def _rows_of(design: Design, unit: str, i: int) -> NDArray[np.bool_]:
    """Which rows (n,) a unit has."""
    return np.arange(design.n) == i if unit == ROW else _codes_of(design, unit) == i


def _others(fit: Draws, unit: str, i: int) -> Draws:
    """Draws of the posterior of the other units."""
    design, seed = fit.design, fit.settings.random_seed
    settings = fit.settings.changed({"random_seed": None if seed is None else seed + 1 + i, "progressbar": False})
    with muted(SamplingWarning):
        return sample(design.rows(~_rows_of(design, unit, i)), fit.priors, settings)


def _held_out(fit: Draws, unit: str, i: int, source: Draws, chosen: NDArray[np.int64]) -> Array:
    """log p(y_i | the others, draw) (S,) under draws of the posterior of all units, or of the others."""
    design = fit.design
    if design.family.is_normal:
        return np.asarray(_exact_densities(fit, unit, source, chosen)[0][:, i])
    rows = design.rows(_rows_of(design, unit, i))
    if unit == ROW:
        return flat(log_likelihood(rows, thinned(source, chosen))["y"].to_numpy())[:, 0]
    return integrated.of_groups(rows, source, unit, integrated.nested_in(design, unit), chosen)[0][:, i]


def _codes_of(design: Design, unit: str) -> NDArray[np.int64]:
    """The unit (n,) of every row: a level of a factor, or rows whose residuals are correlated."""
    if design.residual is not None and unit not in (group.name for group in design.groups):
        blocks = design.residual.structure.blocks
        assert blocks is not None
        return blocks.codes()
    return design.group(unit).codes


def _warn_of_bad(unit: str, elpd: Any, *, mended: bool) -> None:
    units = "rows" if unit == ROW else f"groups of {unit}"
    k, untold = elpd.pareto_k.to_numpy(), np.isneginf(elpd.elpd_i.to_numpy())
    if untold.any():
        warn(
            f"loo: {untold.sum()} of {len(k):,} {units} alone tell a coefficient with a flat prior, so that the "
            "others predict nothing for them: their elpd is -inf. Give the coefficient a prior.",
            SamplingWarning,
        )
    n_invalid = int(((k > elpd.good_k) & ~untold).sum())
    if n_invalid:
        remedy = (
            f"Their posterior was sampled, and the Monte Carlo error is still above {LARGE_ERROR}. Fit with more draws."
            if mended
            else "loo(refit=True) samples it."
        )
        warn(
            f"loo: {n_invalid} of {len(k):,} {units} have a Pareto k above {elpd.good_k:.2f} (largest "
            f"{k[~untold].max():.2f}): the posterior without them is not near enough to this one, and their elpd is "
            f"not reliable. {remedy}",
            SamplingWarning,
        )


def _densities(fit: Draws, unit: str, conditional: bool, source: Draws, chosen: Any) -> tuple[Array, Array]:
    """log p(y_i | the others, draw) and of a new response in its place (S, units), under draws of a posterior."""
    design = fit.design
    if design.family.is_normal and not conditional:
        return _exact_densities(fit, unit, source, chosen)
    if unit != ROW:
        nested = integrated.nested_in(design, unit)
        density, error = integrated.of_groups(design, source, unit, nested, chosen)
        integrated.warn_of_error(f"loo(unit={unit!r})", error)
        return density, density
    factor = integrated.factor_of_rows(design)
    if conditional or factor is None:
        density = flat(log_likelihood(design, thinned(source, chosen))["y"].to_numpy())
        return density, density
    densities, error = integrated.of_rows(design, source, factor.name, chosen)
    integrated.warn_of_error("loo()", error)
    return densities.without, densities.within


def _exact_densities(fit: Draws, unit: str, source: Draws, chosen: Any) -> tuple[Array, Array]:
    """The same for a normal model; the draws may be those of another posterior of the same model."""
    design, values = fit.design, source.values
    draws = Hyperdraws(
        sigma=np.ascontiguousarray(flat(values.family["sigma"])[chosen]),
        covariances=tuple(flat(covariance)[chosen] for covariance in values.covariances),
        beta=flat(values.beta)[chosen],
        prior=normal_priors(fit),
    )
    problem = Problem.of(design)
    if design.sums is not None:
        levels = leave_one_level_out(problem, draws, level_sums(design, unit, "loo"))
        return levels.without, levels.within
    if values.residual is not None:
        codes = None if unit == ROW else _codes_of(design, unit)
        left = residual_loo.leave_out(problem, draws, flat(values.residual)[chosen], codes)
        return left.without, left.within
    jacobian = design.family.log_jacobian(design.y)
    if unit == ROW:
        left_out = leave_one_out(problem, draws, cores=fit.settings.threads)
        if not jacobian.any():  # tens of millions of numbers
            return left_out.without, left_out.within
        return left_out.without - jacobian, left_out.within - jacobian
    group = design.group(unit)
    factor = [g.name for g in design.groups].index(unit)
    left_out = leave_one_group_out(problem, draws, factor)
    summed = np.bincount(group.codes, weights=jacobian, minlength=group.n_levels)
    return left_out.without - summed, left_out.within - summed


def thinned(fit: Draws, chosen: NDArray[np.int64]) -> Any:
    """The posterior with these draws, as one chain."""
    import xarray as xr

    posterior = fit.idata.posterior.to_dataset()
    variables = {
        name: (variable.dims, flat(variable.to_numpy())[chosen][None])
        for name, variable in posterior.data_vars.items()
        if variable.dims[:2] == ("chain", "draw")
    }
    return xr.Dataset(variables, coords={"chain": [0], "draw": np.arange(len(chosen))})


def _record_of(fit: Draws, unit: str, conditional: bool, kept: Any, *, mend: bool) -> Any:
    """Results by unit as ArviZ's record, if wanted with those of the refits, whose k is zero if they are good."""
    results = kept.to_dataset()
    elpd_i, k, good = results["elpd_i"], results["pareto_k"], float(results.attrs["good_k"])
    if mend:
        refitted = np.isfinite(results["refitted_elpd_i"])
        large = results[REFIT_ERROR] > LARGE_ERROR if REFIT_ERROR in results else ~refitted
        elpd_i, k = results["refitted_elpd_i"].where(refitted, elpd_i), k.where(~refitted | large, 0.0)
    p_i = results["lppd_i"] - elpd_i
    return record(
        "ELPDDataLOO",
        unit=unit,
        design=fit.design,
        conditional=conditional,
        elpd_i=elpd_i,
        pareto_k=k,
        p_loo_i=p_i,
        p=float(p_i.sum()),
        n_samples=int(results.attrs["draws"]),
        good_k=good,
        warning=bool((k > good).any()),
    )
