"""Log prior and log likelihood of posterior draws, as ArviZ's groups of these names hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..design.design import Design
from ..design.names import BETA, CUTPOINT, EACH, LOG_RATIO, RESPONSE, RHO, ROW, Names
from ..design.priors import LKJ, Prior, Priors
from ..engine import hyperpriors, pymc_model
from ..families import densities
from ..terms.means import sheared
from ..tools.arrays import Array
from ..tools.lazy import stats
from .moments import in_columns


def linear_predictor(design: Design, posterior: Any) -> Array:
    """η (chain, draw, obs) of the rows of the fit."""
    names = design.names
    eta = np.broadcast_to(design.offset, (*(posterior.sizes[dim] for dim in EACH), design.n)).copy()
    if design.x_names:
        eta += posterior[BETA].to_numpy() @ design.X.T
    for group in design.groups:
        eta += group.contribution(posterior[names.b[group.name]].to_numpy())
    return eta


def log_likelihood(design: Design, posterior: Any) -> Any:
    """log p(y_i | β, b, parameters of the family) as a Dataset: y (chain, draw, obs), in the response's own units.

    Times the likelihood weights, where there are some, so that the sum over rows is what the posterior is of.
    """
    eta = linear_predictor(design, posterior)
    if design.residual is not None:
        return _as_log_likelihood(design, posterior, _of_residuals(design, posterior, eta))
    family = design.family
    if not family.is_compiled:
        return _as_log_likelihood(design, posterior, _uncompiled(design, posterior, eta) * design.counted)
    posterior_draws = {name: posterior[name].to_numpy() for name in design.of_rows}
    kind, link = densities.numbers(family.of_loops)
    ones, (y, trials) = np.ones(design.n), design.working_ends
    trials = ones if trials is None else trials
    weights = ones if design.precisions is None else design.precisions
    densities_of_rows, constants = np.empty_like(eta), design.density_constants
    by_value = family.normaliser_takes_y
    for draw in np.ndindex(eta.shape[:2]):
        parameters = _of_rows(design, {name: values[draw] for name, values in posterior_draws.items()})
        of_rows = densities.each_row_by_row if parameters.ndim == 2 else densities.each_row
        relative_eta, parameters, _ = family.for_loops(eta[draw], parameters)
        of_rows(kind, link, by_value, y, trials, weights, relative_eta, parameters, densities_of_rows[draw])
    return _as_log_likelihood(design, posterior, (densities_of_rows + constants) * design.counted)


def _uncompiled(design: Design, posterior: Any, eta: Array) -> Array:
    """The same (chain, draw, obs) of a family that no compiled loop knows."""
    posterior_draws, out = {name: posterior[name].to_numpy() for name in design.of_rows}, np.empty_like(eta)
    for chain, draw in np.ndindex(eta.shape[:2]):
        along = design.along({name: values[chain, draw] for name, values in posterior_draws.items()})
        out[chain, draw] = design.family.log_density(design.y, eta[chain, draw], along)
    return out


def _of_residuals(design: Design, posterior: Any, eta: Array) -> Array:
    """The same (chain, draw, obs) of normal responses whose residuals have parameters besides sigma.

    Where they are correlated, of each row given those before it in its block, which add up to the joint density.
    """
    part = design.residual
    assert part is not None
    values = np.concatenate([posterior[name].to_numpy() for name in part.variables], axis=-1)
    sigma, out = posterior["sigma"].to_numpy(), np.empty_like(eta)
    for draw in np.ndindex(eta.shape[:2]):
        out[draw] = part.structure.log_densities((design.y - eta[draw]) / sigma[draw], values[draw])
    return out - np.log(sigma)[..., None]


def _as_log_likelihood(design: Design, posterior: Any, values: Array) -> Any:
    import xarray as xr

    return xr.Dataset(
        {RESPONSE: ((*EACH, ROW), values)},
        coords={"chain": posterior["chain"], "draw": posterior["draw"], ROW: design.index.to_numpy()},
    )


def _of_rows(design: Design, values: Mapping[str, Array]) -> Array:
    """The family's parameters as the compiled densities take them: (r,), or (n, r) where rows have their own."""
    if not design.predictors:
        return design.family.among_all(values)
    along = design.along(values)
    return in_columns([along[name] for name in design.family.every_parameter], design.n)


def log_prior(design: Design, priors: Priors, posterior: Any) -> Any:
    """Log prior density of every parameter as a Dataset under the posterior's names, without the random effects'.

    The intercept's is that at centred predictors; improper priors count as zero.
    """
    import xarray as xr

    log_densities: dict[str, Any] = {}
    names = design.names
    shift = np.zeros((posterior.sizes["chain"], posterior.sizes["draw"]))
    if design.x_names:
        beta, columns = posterior[BETA].to_numpy(), design.x_names
        shift = beta @ design.X.mean(axis=0)
        entries = [priors.get("Intercept") if n == "Intercept" else priors.get("fixed", term=n) for n in columns]
        log_densities[BETA] = ((*EACH, *names.dims[BETA]), _linear(entries, columns, beta, design.X))
    for group in priors.at_means(design).every_group:
        sd, correlation = names.spread_of(group.name, group.is_at_means)
        if group.shear is not None and sd not in posterior.data_vars:  # draws made elsewhere may lack it
            posterior = _with_means(group.name, group.shear, posterior, names)
        sds = posterior[sd].to_numpy()
        template = group.template
        of_sds = np.zeros(sds.shape)  # of an sd that columns share, at the first of them
        for column, term in zip(template.sd_columns, group.sd_terms, strict=True):
            of_sds[..., column] = _positive(priors.get("sd", group.name, term), sds[..., column])
        log_densities[sd] = ((*EACH, *names.dims[sd]), of_sds)
        if template.correlated:
            lkj, matrices = priors.get("cor", group.name), posterior[correlation].to_numpy()
            assert isinstance(lkj, LKJ)
            blocks = [
                structure.log_density(lkj.eta, matrices[..., block, :][..., block])
                for block, structure in zip(map(list, template.blocks), template.structures, strict=True)
            ]
            log_densities[correlation] = (EACH, np.sum(blocks, axis=0))
    for name in design.parameters:
        values = posterior[name].to_numpy()
        if name in design.of_variable:
            part = design.of_variable[name]
            entries = [priors.get("coef", part.parameter, term) for term in part.x_names]
            log_densities[name] = ((*EACH, *names.dims[name]), _linear(entries, part.x_names, values, part.X))
        elif name == CUTPOINT:
            centred = values - shift[..., None]
            log_densities[name] = ((*EACH, *names.dims[name]), _real(priors.get(name), centred))
        else:
            log_densities[name] = (EACH, _positive(priors.get(name), values))
    log_densities |= _log_prior_of_residuals(design, priors, posterior)
    used_names = {dimension for dims, _ in log_densities.values() for dimension in dims}
    return xr.Dataset(log_densities, coords={d: posterior[d] for d in used_names})


def _log_prior_of_residuals(design: Design, priors: Priors, posterior: Any) -> dict[str, Any]:
    part, log_densities = design.residual, {}
    if part is None:
        return {}
    if part.n_spread:
        values = posterior[LOG_RATIO].to_numpy()
        each = [
            _real(priors.get(LOG_RATIO, term=label), values[..., k])
            for k, label in enumerate(part.labels[: part.n_spread])
        ]
        log_densities[LOG_RATIO] = ((*EACH, *design.names.dims[LOG_RATIO]), np.stack(each, axis=-1))
    correlation, blocks = part.structure.correlation, part.structure.blocks
    if correlation is not None and blocks is not None:
        lkj = priors.get(RHO)
        assert isinstance(lkj, LKJ)
        log_densities[RHO] = (EACH, correlation.log_density(posterior[RHO].to_numpy(), lkj.eta, blocks))
    return log_densities


def _with_means(group: str, shear: Array, posterior: Any, names: Names) -> Any:
    """The draws with sds and correlations of a factor at the means of predictors, from those at zero."""
    sds, correlations = (posterior[name].to_numpy() for name in names.spread_of(group, False))
    pairs = zip(names.spread_of(group, True), sheared(np.linalg.inv(shear), sds, correlations), strict=True)
    return posterior.assign({name: ((*EACH, *names.dims[name]), values) for name, values in pairs})


def _linear(entries: Sequence[Prior | LKJ], columns: Sequence[str], values: Array, X: Array) -> Array:
    """Log densities (..., p) of coefficients, that of an intercept at the means of X."""
    at_middle = values.copy()
    if "Intercept" in columns:
        at_middle[..., list(columns).index("Intercept")] = values @ X.mean(axis=0)
    return np.stack([_real(prior, at_middle[..., j]) for j, prior in enumerate(entries)], axis=-1)


def _positive(prior: Prior | LKJ, values: Array) -> Array:
    """Log density of a prior on positive numbers."""
    assert isinstance(prior, Prior)
    if hyperpriors.Positive.find(prior) is None:
        return pymc_model.log_density(prior, values)
    written_out = hyperpriors.Positive.of(prior)
    kind, a, b = written_out.kind, written_out.a, written_out.b
    density = getattr(
        hyperpriors.log_prior, "py_func", hyperpriors.log_prior
    )  # which takes arrays where it asks nothing
    if kind in (hyperpriors.Kind.UNIFORM, hyperpriors.Kind.BETA):
        return np.array([density(kind, a, b, v)[0] for v in values.reshape(-1).tolist()]).reshape(values.shape)
    with np.errstate(all="ignore"):
        return np.broadcast_to(density(kind, a, b, values)[0], values.shape).copy()


def _real(prior: Prior | LKJ, values: Array) -> Array:
    """Log density of a prior on real numbers."""
    assert isinstance(prior, Prior)
    written_out = hyperpriors.find_location_scale("", prior)
    if written_out is None:
        return pymc_model.log_density(prior, values)
    location, scale, dof = written_out
    if np.isinf(scale):
        return np.zeros_like(values)
    return (
        stats.t.logpdf(values, dof, location, scale) if np.isfinite(dof) else stats.norm.logpdf(values, location, scale)
    )
