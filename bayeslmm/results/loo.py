"""Leave-one-out prediction of a posterior, by row or by group (docs/theory.md, section 12)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..engine.hyperpriors import location_scale
from ..engine.loo import Hyperdraws, leave_one_group_out, leave_one_out
from ..engine.scaling import Problem
from ..errors import InputError, NotAvailableError, SamplingWarning
from ..spec.frame import warn
from .log_density import log_likelihood
from .summaries import flat
from .variance import Values, nesting

if TYPE_CHECKING:
    from .posterior import PosteriorFit

Array = NDArray[np.float64]

ROW = "observation"
FEWEST = 200  # draws, where there are many rows
WORK = 10_000_000  # rows times draws that are used where there are more draws


def loo(fit: PosteriorFit, unit: str, draws: int | None, refit: bool | None) -> Any:
    """The ``ELPDDataLOO`` behind :meth:`PosteriorFit.loo`; kept as a group of ``idata`` for the next call."""
    whole = isinstance(draws, int | np.integer) and not isinstance(draws, bool)
    if draws is not None and not (whole and draws >= 100):
        raise InputError(f"loo(draws={draws!r}): a number of draws to use, at least 100")
    _check_unit(fit, unit)
    used = min(fit.n_chains * fit.n_draws, draws or max(FEWEST, WORK // fit.nobs))
    name = "loo" if unit == ROW else f"loo_{unit}"
    kept = fit.idata.children.get(name)
    if kept is None or int(kept.attrs["draws"]) != used:
        fit.idata[name] = kept = _leave_one_out(fit, unit, used)
    mend = refit or (refit is None and fit.design.family.is_normal)
    if mend:
        _refit(fit, unit, kept)
    found = _as_elpd(kept, mend=mend)
    _warn_of_bad(unit, found)
    return found


def ranked(found: Mapping[str, Any]) -> pd.DataFrame:
    """Models by their elpd, with differences and stacking weights, by ArviZ."""
    from arviz_stats import compare

    return compare(dict(found), round_to="none")


def _check_unit(fit: PosteriorFit, unit: str) -> None:
    """Whether the units are independent given the parameters that are left."""
    known = (ROW, *fit.ngroups)
    if unit not in known:
        raise InputError(f"loo(unit={unit!r}): units are {', '.join(map(repr, known))}")
    design = fit.design
    needed = [*(["beta"] if design.x_names else []), *design.family.parameters]
    for name in (*needed, *(f"b_{g.name}" for g in design.groups)):
        fit.draws(name)  # draws made elsewhere may lack some, and say so
    if unit == ROW:
        return
    if not design.family.is_normal:
        raise NotAvailableError(
            f"loo(unit={unit!r}) integrates the effects of a group out, which has a closed form for normal responses "
            f"only, not for {design.family}"
        )
    above = nesting(design)
    for g in design.groups:
        if g.name != unit and unit not in above[g.name]:
            coarser = f"; leave out one {g.name}" if g.name in above[unit] else ""
            raise NotAvailableError(
                f"loo(unit={unit!r}): {g.name} is not nested in {unit}, so that groups of {unit} hang together"
                f"{coarser}"
            )


def _leave_one_out(fit: PosteriorFit, unit: str, draws: int) -> Any:
    """Results by unit as a group of ``idata``: elpd_i, pareto_k, lppd_i, and room for the elpd of refits."""
    import xarray as xr
    from arviz_stats import loo as arviz_loo

    chosen = np.linspace(0, fit.n_chains * fit.n_draws - 1, draws).astype(np.int64)
    if fit.design.family.is_normal:
        without, within = _exact_densities(fit, unit, fit.values, chosen)
    else:
        without = within = flat(log_likelihood(fit.design, _thinned(fit, chosen))["y"].to_numpy())
    dim = "obs" if unit == ROW else unit
    elpd, k = np.full(without.shape[1], -np.inf), np.full(without.shape[1], np.inf)
    told = np.isfinite(without).all(axis=0)  # the others have no coefficient left to tell the rest by
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"draws": (("chain", "draw"), np.zeros((1, len(chosen))))}),
            "log_likelihood": xr.Dataset({"y": (("chain", "draw", dim), without[None][..., told])}),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large Pareto k: said below, with what they mean here
        found = arviz_loo(tree, pointwise=True, reff=1.0)
    elpd[told], k[told] = found.elpd_i.to_numpy(), found.pareto_k.to_numpy()
    labels = fit.design.index.to_numpy()
    if unit != ROW:
        labels = np.array(fit.design.group(unit).levels, dtype=object)
    lppd = logsumexp(np.where(told, within, 0.0), axis=0) - np.log(len(chosen))
    dataset = xr.Dataset(
        {
            "elpd_i": (dim, elpd),
            "pareto_k": (dim, k),
            "lppd_i": (dim, lppd),
            "refitted_elpd_i": (dim, np.full(len(k), np.nan)),
        },
        coords={dim: labels},
    )
    dataset.attrs = {"draws": draws, "good_k": float(found.good_k)}
    return xr.DataTree(dataset)


def _refit(fit: PosteriorFit, unit: str, kept: Any) -> None:
    """Where weights cannot tell what the others say, sample their posterior; its draws need no weights."""
    from .sampling import sample_posterior

    design, seed = fit.design, fit.settings.random_seed
    doubtful = (kept["pareto_k"] > kept.attrs["good_k"]) & np.isfinite(kept["elpd_i"])
    for i in np.flatnonzero(doubtful & np.isnan(kept["refitted_elpd_i"])):
        out = np.arange(design.n) == i if unit == ROW else design.group(unit).codes == i
        settings = fit.settings.changed(
            {"random_seed": None if seed is None else seed + 1 + int(i), "progressbar": False}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)
            others = sample_posterior(design.rows(~out), fit.priors, settings)
        if design.family.is_normal:
            chosen = np.linspace(0, others.n_chains * others.n_draws - 1, kept.attrs["draws"]).astype(
                np.int64
            )
            density = _exact_densities(fit, unit, others.values, chosen)[0][:, i]
        else:
            density = log_likelihood(design.rows(out), others.idata.posterior)["y"].to_numpy()
        kept["refitted_elpd_i"][i] = logsumexp(density) - np.log(density.size)


def _warn_of_bad(unit: str, found: Any) -> None:
    what = "rows" if unit == ROW else f"groups of {unit}"
    k, untold = found.pareto_k.to_numpy(), np.isneginf(found.elpd_i.to_numpy())
    if untold.any():
        warn(
            f"loo: {untold.sum()} of {len(k):,} {what} alone tell a coefficient with a flat prior, so that the "
            "others predict nothing for them: their elpd is -inf. Give the coefficient a prior.",
            SamplingWarning,
        )
    bad = int(((k > found.good_k) & ~untold).sum())
    if bad:
        warn(
            f"loo: {bad} of {len(k):,} {what} have a Pareto k above {found.good_k:.2f} (largest "
            f"{k[~untold].max():.2f}): the posterior without them is not near enough to this one, and their elpd is "
            "not reliable. loo(refit=True) samples it.",
            SamplingWarning,
        )


def _exact_densities(fit: PosteriorFit, unit: str, values: Values, chosen: Any) -> tuple[Array, Array]:
    """log p(y_i | the others, draw) and of a new response in its place (S, units), for a normal model.

    The values may be those of another posterior of the same model.
    """
    design = fit.design
    draws = Hyperdraws(
        sigma=np.ascontiguousarray(flat(values.family["sigma"])[chosen]),
        covariances=tuple(flat(cov)[chosen] for cov in values.covariances),
        beta=flat(values.beta)[chosen],
        prior=_normal_priors(fit),
    )
    problem = Problem.of(design)
    jacobian = np.log(design.y) if design.family.name == "lognormal" else np.zeros(design.n)
    if unit == ROW:
        found = leave_one_out(problem, draws, cores=fit.settings.cores or os.cpu_count() or 1)
        return found.without - jacobian, found.within - jacobian
    group = design.group(unit)
    factor = [g.name for g in design.groups].index(unit)
    found = leave_one_group_out(problem, draws, factor)
    summed = np.bincount(group.codes, weights=jacobian, minlength=group.n_levels)
    return found.without - summed, found.within - summed


def _thinned(fit: PosteriorFit, chosen: NDArray[np.int64]) -> Any:
    """The posterior with these draws, as one chain."""
    import xarray as xr

    posterior = fit.idata.posterior.to_dataset()
    found = {
        name: (variable.dims, flat(variable.to_numpy())[chosen][None])
        for name, variable in posterior.data_vars.items()
        if variable.dims[:2] == ("chain", "draw")
    }
    return xr.Dataset(found, coords={"chain": [0], "draw": np.arange(len(chosen))})


def _normal_priors(fit: PosteriorFit) -> tuple[Array, Array] | None:
    """Means and sds of the priors of the fixed effects, if all are normal or flat."""
    entries = []
    for name in fit.design.x_names:
        prior = fit.priors.get("Intercept") if name == "Intercept" else fit.priors.get("fixed", term=name)
        try:
            mean, sd, nu = location_scale(name, prior)
        except NotAvailableError:
            return None
        if np.isfinite(nu):
            return None
        entries.append((mean, sd))
    means, sds = np.array(entries, dtype=float).reshape(-1, 2).T
    return means, sds


def _as_elpd(kept: Any, *, mend: bool) -> Any:
    """Results by unit as ArviZ's record, with those of the refits, whose k is zero, if wanted."""
    from arviz_stats import ELPDDataLOO

    found = kept.to_dataset()
    elpd_i, k, good = found["elpd_i"], found["pareto_k"], float(found.attrs["good_k"])
    if mend:
        known = np.isfinite(found["refitted_elpd_i"])
        elpd_i, k = found["refitted_elpd_i"].where(known, elpd_i), k.where(~known, 0.0)
    values, p_i = elpd_i.to_numpy(), found["lppd_i"] - elpd_i
    return ELPDDataLOO(
        elpd=float(values.sum()),
        se=float(np.sqrt(values.size * values.var())) if np.isfinite(values).all() else np.nan,
        p=float(p_i.sum()),
        n_samples=int(found.attrs["draws"]),
        n_data_points=values.size,
        scale="log",
        warning=bool((k > good).any()),
        good_k=good,
        elpd_i=elpd_i,
        pareto_k=k,
        p_loo_i=p_i,
    )
