"""The sole door to PyMC: Design × Priors → ``pm.Model``, and NUTS.

The graph avoids matrix products, Cholesky factors and ``LKJCholeskyCov``, whose first compilation takes a minute:
everything is elementwise arithmetic and gathers by group code.  Correlations come from canonical partial
correlations, independent Beta variables whose joint density is exactly LKJ(eta) (Lewandowski et al. 2009, sec. 2.4).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, PriorError
from ..spec.design import Design, GroupTerm
from ..spec.priors import LKJ, Prior, Priors

Array = NDArray[np.float64]
CENTRED_ABOVE = 0.7  # mean reliability of a group's own estimate above which b itself is sampled
FAR_FROM_ZERO = 3.0  # |mean| of a predictor in sds
FEW_LEVELS = 10  # with fewer levels the sd is too uncertain for the centred form


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Per grouping factor and column: True where b is sampled itself (centred), False where b = sd · z is."""

    centred: dict[str, tuple[bool, ...]]
    reliability: dict[str, tuple[float, ...]]
    around_fixed: str = ""  # the factor whose centred columns are sampled as β + b, not as b around zero


def choose_geometry(design: Design, covariances: Sequence[Array], sigma: float) -> Geometry:
    """Centred where the rows of a group tell its effect well, non-centred where the prior does.

    The reliability of a column is the mean over levels of τ²/(τ² + σ²[(Z_jᵀZ_j)⁻¹]_kk), zero for a level that cannot
    estimate it; ``covariances`` and ``sigma`` are rough estimates, such as those of a REML fit.
    """
    centred, reliability, spread = {}, {}, {}
    for group, cov in zip(design.groups, covariances, strict=True):
        own = _own_variances(group)
        tau2 = np.diag(cov)
        share = np.where(np.isinf(own), 0.0, tau2 / (tau2 + sigma**2 * own + 1e-300)).mean(axis=0)
        reliability[group.name] = tuple(float(v) for v in share)
        centred[group.name] = tuple(bool(v > CENTRED_ABOVE and group.n_levels >= FEW_LEVELS) for v in share)
        spread[group.name] = float(tau2.max() / group.n_levels)
    # β is known up to the mean of the effects, so it moves with those of the factor with the widest mean
    around = max((name for name in spread if any(centred[name])), key=spread.__getitem__, default="")
    return Geometry(centred=centred, reliability=reliability, around_fixed=around)


def _own_variances(group: GroupTerm) -> Array:
    """[(Z_jᵀZ_j)⁻¹]_kk per level and column (J, q); infinite where the level cannot estimate its columns."""
    products = np.zeros((group.n_levels, group.q, group.q))
    for a in range(group.q):
        for b in range(group.q):
            products[:, a, b] = np.bincount(
                group.codes, weights=group.Z[:, a] * group.Z[:, b], minlength=group.n_levels
            )
    own = np.full((group.n_levels, group.q), np.inf)
    well = np.linalg.cond(products) < 1e10
    own[well] = np.diagonal(np.linalg.inv(products[well]), axis1=1, axis2=2)
    return own


def build_model(design: Design, priors: Priors, geometry: Geometry) -> Any:
    """The PyMC model of a Gaussian mixed model.

    Variables: ``beta[coef]``, ``sigma``, and for each grouping factor g ``sd_g[g_term]``,
    ``cor_g[g_term, g_term_bis]`` where columns are correlated, ``b_g[g, g_term]``; the rest (``intercept_centred``,
    ``slope_*``, ``z_*``, ``partial_*``) are the coordinates in which NUTS moves.

    Returns
    -------
    pymc.Model
    """
    import pymc as pm

    coords: dict[str, Any] = {"coef": list(design.x_names), "obs": design.index.to_numpy()}
    for g in design.groups:
        coords |= {
            g.name: list(g.levels),
            f"{g.name}_term": list(g.columns),
            f"{g.name}_term_bis": list(g.columns),
        }
    with pm.Model(coords=coords) as model:
        mean, fixed = _fixed_part(design, priors)
        mean = mean + design.offset
        for g in design.groups:
            around = fixed if g.name == geometry.around_fixed else {}
            mean = mean + _random_part(g, priors, geometry.centred[g.name], around)
        sigma = _variable("sigma", priors.get("sigma"), positive=True)
        scale = sigma if design.weights is None else sigma / np.sqrt(design.weights)
        pm.Normal("y", mean, scale, observed=design.y, dims="obs")
    return model


def _variable(name: str, prior: Prior | LKJ, *, positive: bool = False, **options: Any) -> Any:
    """One random variable with this prior."""
    import pymc as pm

    if isinstance(prior, LKJ):
        raise PriorError(f"{name}: LKJ is a prior of correlations")
    kind = "HalfFlat" if positive and prior.name == "Flat" else prior.name
    distribution = getattr(pm, kind, None)
    if not (isinstance(distribution, type) and issubclass(distribution, pm.Distribution)):
        raise PriorError(f"{name}: PyMC has no distribution {prior.name!r}")
    try:
        variable = distribution(name, **dict(prior.params), **options)
    except TypeError as error:
        raise PriorError(f"{name}: PyMC refuses {prior!r}: {error}") from error
    if positive and pm.modelcontext(None).rvs_to_transforms[variable] is None:
        raise PriorError(
            f"{name}: {prior!r} is not confined to positive values; use HalfNormal, HalfStudentT, ..."
        )
    return variable


def log_density(prior: Prior, values: Array) -> Array:
    """Log density of any univariate PyMC distribution at values."""
    import pymc as pm

    distribution = getattr(pm, prior.name).dist(**dict(prior.params))
    return np.asarray(pm.logp(distribution, values).eval())


def _fixed_part(design: Design, priors: Priors) -> tuple[Any, dict[str, Any]]:
    """Xβ on centred predictors with its variables by name, and the deterministic ``beta`` on the user's scale."""
    import pymc as pm
    import pytensor.tensor as pt

    names = list(design.x_names)
    if not names:
        return np.zeros(len(design.y)), {}
    intercept = "Intercept" in names
    centre = design.X.mean(axis=0) if intercept else np.zeros(len(names))
    mean: Any = 0.0
    fixed: dict[str, Any] = {}
    shift: Any = 0.0
    for j, name in enumerate(names):
        if name == "Intercept":
            continue
        fixed[name] = _variable(f"slope_{name}", priors.get("fixed", term=name))
        mean = mean + fixed[name] * (design.X[:, j] - centre[j])
        shift = shift + fixed[name] * centre[j]
    if intercept:
        fixed["Intercept"] = _variable("intercept_centred", priors.get("Intercept"))
        mean = mean + fixed["Intercept"]
    beta = fixed | ({"Intercept": fixed["Intercept"] - shift} if intercept else {})
    pm.Deterministic("beta", pt.stack([beta[n] for n in names]), dims="coef")
    return mean, fixed


def _random_part(group: GroupTerm, priors: Priors, centred: Sequence[bool], around: dict[str, Any]) -> Any:
    """Zb of one grouping factor, and its deterministics; centred columns are sampled ``around`` fixed effects."""
    import pymc as pm
    import pytensor.tensor as pt

    name = group.name
    sds = _standard_deviations(group, priors)
    correlation: list[list[Any]] = [[np.float64(i == j) for j in range(group.q)] for i in range(group.q)]
    effects: list[Any] = [None] * group.q
    for block in (_order(group, columns, centred) for columns in group.blocks):
        L = _correlation_factor(group, block, priors)
        z: list[Any] = []
        for i, k in enumerate(block):
            leaning: Any = 0.0
            for j in range(i):
                leaning = leaning + sds[k] * L[i][j] * z[j]
            own = sds[k] * L[i][i]
            suffix = f"{name}_{group.columns[k]}"
            if centred[k]:
                shift = _shift_to_centre(group, k, block[:i], effects) + around.get(group.columns[k], 0.0)
                moved = pm.Normal(f"effect_{suffix}", leaning + shift, own, dims=name)
                effects[k] = moved - shift
                z.append((effects[k] - leaning) / own)
            else:
                z.append(pm.Normal(f"z_{suffix}", dims=name))
                effects[k] = leaning + own * z[i]
            for j in range(i):
                value = sum(L[i][m] * L[j][m] for m in range(j + 1))
                correlation[k][block[j]] = correlation[block[j]][k] = value
    if any(len(block) > 1 for block in group.blocks):
        flat = pt.stack([v for row in correlation for v in row])
        pm.Deterministic(
            f"cor_{name}", flat.reshape((group.q, group.q)), dims=(f"{name}_term", f"{name}_term_bis")
        )
    pm.Deterministic(f"b_{name}", pt.stack(effects, axis=1), dims=(name, f"{name}_term"))
    total: Any = 0.0
    for k, effect in enumerate(effects):
        column = group.Z[:, k]
        gathered = effect[group.codes]
        total = total + (gathered if np.all(column == 1.0) else gathered * column)
    return total


def _order(group: GroupTerm, block: Sequence[int], centred: Sequence[bool]) -> list[int]:
    """The columns of a block in the order in which they are conditioned; LKJ does not mind it.

    Where a predictor lies far from zero, a centred intercept goes last, to be sampled at the middle of the predictors:
    at zero it is almost collinear with the slopes given the rows of a group.
    """
    constant = [k for k in block if np.all(group.Z[:, k] == group.Z[0, k])]
    far = any(abs(z.mean()) > FAR_FROM_ZERO * z.std() > 0.0 for z in group.Z[:, list(block)].T)
    if not far or not any(centred[k] for k in constant):
        return list(block)
    return [k for k in block if k not in constant] + constant


def _shift_to_centre(group: GroupTerm, k: int, earlier: Sequence[int], effects: list[Any]) -> Any:
    """What takes a group's intercept to the middle of the predictors conditioned on before it."""
    if not np.all(group.Z[:, k] == 1.0):
        return 0.0
    shift: Any = 0.0
    for other in earlier:
        shift = shift + effects[other] * np.float64(group.Z[:, other].mean())
    return shift


def _standard_deviations(group: GroupTerm, priors: Priors) -> list[Any]:
    """The sds of a factor's columns, and the contract's ``sd_<group>``."""
    import pymc as pm
    import pytensor.tensor as pt

    sds = [
        _variable(f"sd_{group.name}_{c}", priors.get("sd", group.name, c), positive=True)
        for c in group.columns
    ]
    pm.Deterministic(f"sd_{group.name}", pt.stack(sds), dims=f"{group.name}_term")
    return sds


def _correlation_factor(group: GroupTerm, block: Sequence[int], priors: Priors) -> list[list[Any]]:
    """Lower-triangular factor of a block's correlation matrix, by canonical partial correlations."""
    import pymc as pm

    d = len(block)
    if d == 1:
        return [[np.float64(1.0)]]
    lkj = priors.get("cor", group.name)
    assert isinstance(lkj, LKJ)
    L: list[list[Any]] = [[np.float64(1.0)]]
    for i in range(1, d):
        row: list[Any] = []
        left: Any = np.float64(1.0)  # what is left of a unit row
        for j in range(i):
            shape = np.float64(lkj.eta + (d - 2 - j) / 2.0)
            label = f"partial_{group.name}_{group.columns[block[i]]}_{group.columns[block[j]]}"
            partial = 2.0 * pm.Beta(label, shape, shape) - 1.0
            row.append(partial * left)
            left = (
                left * np.sqrt(1.0 - partial**2)
                if isinstance(left, np.float64)
                else left * (1 - partial**2) ** 0.5
            )
        row.append(left)
        L.append(row)
    return L


def sample_nuts(
    model: Any,
    *,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    cores: int | None = None,
    random_seed: int | None = None,
    nuts_sampler: str = "nutpie",
    progressbar: bool = True,
    **options: Any,
) -> Any:
    """Sample by NUTS; an ``xarray.DataTree`` whose ``posterior`` holds the contract's variables only.

    Floating-point reassociation is switched off while compiling: with it the same seed gives other draws when the
    compiled code comes from the cache.
    """
    import pymc as pm
    import pytensor

    if min(draws, tune, chains) < 1:
        raise InputError(f"draws={draws}, tune={tune}, chains={chains}: each must be at least 1")
    started = time.perf_counter()
    with model, pytensor.config.change_flags(numba__fastmath=False):
        tree = pm.sample(
            draws=draws,
            tune=tune,
            chains=chains,
            cores=cores,
            random_seed=random_seed,
            nuts_sampler=nuts_sampler,
            progressbar=progressbar,
            quiet=not progressbar,
            **options,
        )
    kept = [v for v in tree.posterior.data_vars if _is_contract(str(v))]
    free = {rv.name for rv in model.free_RVs} - {"sigma"}
    tree["posterior"] = tree.posterior.to_dataset()[[v for v in kept if v not in free]]
    tree.posterior.attrs |= {
        "sampler": f"NUTS ({nuts_sampler})",
        "seconds": round(time.perf_counter() - started, 3),
        "tuning_steps": tune,
    }
    return tree


def _is_contract(name: str) -> bool:
    return name in ("beta", "sigma") or name.startswith(("sd_", "cor_", "b_"))
