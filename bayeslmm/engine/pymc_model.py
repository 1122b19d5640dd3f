"""Design × Priors → ``pm.Model``; a door to PyMC.

The graph avoids matrix products, Cholesky factors and ``LKJCholeskyCov``, whose first compilation takes a minute:
everything is elementwise arithmetic and gathers by group code.  Correlations come from canonical partial
correlations, independent Beta variables whose joint density is exactly LKJ(eta) (Lewandowski et al. 2009, sec. 2.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NotAvailableError, PriorError
from ..spec.design import Design, GroupTerm
from ..spec.names import BETA, CUTPOINT, OBSERVED, ROW, THRESHOLD, Names, labels
from ..spec.priors import LKJ, Prior, Priors
from .geometry import Geometry, middle_shifts
from .pymc_draws import distribution

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PyMCParts:
    """A PyMC model without its response, for those who write that themselves.

    Attributes
    ----------
    model : pymc.Model
    eta : TensorVariable (obs,)
        The linear predictor.
    parameters : dict
        The family's parameters, such as ``sigma``, as variables; cutpoints are those of centred predictors.
    """

    model: Any
    eta: Any
    parameters: dict[str, Any]


def build_parts(design: Design, priors: Priors, geometry: Geometry) -> PyMCParts:
    """Everything of the model but the response."""
    import pymc as pm

    with pm.Model(coords=labels(design)) as model:
        eta, fixed, shift = _fixed_part(design, priors)
        eta = eta + design.offset
        effects: dict[str, list[Any]] = {}
        for name in geometry.order:
            group = next(g for g in design.groups if g.name == name)
            effects[name] = _effects(group, design.names, priors, geometry, fixed, effects)
        for group in design.groups:
            eta = eta + _random_part(group, effects[group.name])
        parameters = {name: _parameter(name, priors, shift, design) for name in design.family.parameters}
    return PyMCParts(model=model, eta=eta, parameters=parameters)


def build_model(design: Design, priors: Priors, geometry: Geometry) -> Any:
    """The PyMC model of a mixed model.

    Variables: ``beta[coef]``, the family's parameters (``sigma``, ``nu``, ``shape``, ``phi``, ``cutpoint[threshold]``),
    and for each grouping factor g ``sd_g[g_term]``, ``cor_g[g_term, g_term_bis]`` where columns are correlated,
    ``b_g[g, g_term]``; ``y[obs]`` is the response. The rest (``intercept_centred``, ``slope_*``, ``z_*``, ``effect_*``,
    ``partial_*``, ``cutpoint_centred``) are the coordinates in which NUTS moves. The values of the response are data
    (``pymc.set_data({"response": ...})``), so that others can be set without a new model.

    Returns
    -------
    pymc.Model
    """
    import pymc as pm

    parts = build_parts(design, priors, geometry)
    with parts.model:
        response = pm.Data(OBSERVED, design.y, dims=ROW)
        design.family.graph(
            parts.eta, parts.parameters, trials=design.trials, weights=design.weights,
            categories=len(design.levels), options={"observed": response, "dims": ROW},
        )  # fmt: skip
    return parts.model


def variable(name: str, prior: Prior | LKJ, *, positive: bool = False, **options: Any) -> Any:
    """One random variable with this prior."""
    import pymc as pm

    if isinstance(prior, LKJ):
        raise PriorError(f"{name}: LKJ is a prior of correlations")
    kind = "HalfFlat" if positive and prior.name == "Flat" else prior.name
    made = distribution(Prior(kind, **dict(prior.params)), name)
    try:
        found = made(name, **dict(prior.params), **options)
    except (TypeError, ValueError) as error:
        raise PriorError(f"{name}: PyMC refuses {prior!r}: {error}") from None
    if positive and pm.modelcontext(None).rvs_to_transforms[found] is None:
        raise PriorError(
            f"{name}: {prior!r} is not confined to positive values; use HalfNormal, HalfStudentT, ..."
        )
    return found


def graph(model: Any) -> Any:
    """A ``graphviz.Digraph`` of a PyMC model."""
    import importlib.util

    import pymc as pm

    if importlib.util.find_spec("graphviz") is None:
        raise NotAvailableError(
            "model.graph() needs the package graphviz: pip install graphviz. Without it "
            "pymc.model_to_mermaid(model.pymc) gives the same picture as text."
        )
    return pm.model_to_graphviz(model)


def log_density(prior: Prior, values: Array) -> Array:
    """Log density of any univariate PyMC distribution at values."""
    import pymc as pm

    distribution = getattr(pm, prior.name).dist(**dict(prior.params))
    return np.asarray(pm.logp(distribution, values).eval())


def _fixed_part(design: Design, priors: Priors) -> tuple[Any, list[Any], Any]:
    """Xβ on centred predictors, its variables in order, and what centring moves into the intercept or the cutpoints.

    Adds the deterministic ``beta`` on the user's scale.
    """
    import pymc as pm
    import pytensor.tensor as pt

    names = list(design.x_names)
    if not names:
        return np.zeros(design.n), [], 0.0
    centred = design.has_intercept or design.family.has_categories
    centre = design.X.mean(axis=0) if centred else np.zeros(len(names))
    mean: Any = 0.0
    fixed: dict[str, Any] = {}
    shift: Any = 0.0
    for j, name in enumerate(names):
        if name == "Intercept":
            continue
        fixed[name] = variable(design.names.slope[name], priors.get("fixed", term=name))
        mean = mean + fixed[name] * (design.X[:, j] - centre[j])
        shift = shift + fixed[name] * centre[j]
    if design.has_intercept:
        fixed["Intercept"] = variable(design.names.intercept, priors.get("Intercept"))
        mean = mean + fixed["Intercept"]
    beta = fixed | ({"Intercept": fixed["Intercept"] - shift} if design.has_intercept else {})
    pm.Deterministic(BETA, pt.stack([beta[n] for n in names]), dims=design.names.dims[BETA])
    return mean, [fixed[n] for n in names], shift


def _parameter(name: str, priors: Priors, shift: Any, design: Design) -> Any:
    """A parameter of the family besides the mean; cutpoints are those of centred predictors."""
    import pymc as pm

    if name != CUTPOINT:
        return variable(name, priors.get(name), positive=True)
    ordered = pm.distributions.transforms.ordered
    thresholds = len(design.levels) - 1
    start = np.linspace(-1.0, 1.0, thresholds) if thresholds > 1 else np.zeros(1)
    centred = variable(
        design.names.cutpoint, priors.get(name), transform=ordered, dims=THRESHOLD, initval=start
    )
    pm.Deterministic(CUTPOINT, centred + shift, dims=THRESHOLD)
    return centred


def _effects(
    group: GroupTerm, names: Names, priors: Priors, geometry: Geometry,
    fixed: list[Any], outer: dict[str, list[Any]],
) -> list[Any]:  # fmt: skip
    """The random effects b of a factor, (J,) a column, and its deterministics."""
    import pymc as pm
    import pytensor.tensor as pt

    name, placement = group.name, geometry.placements[group.name]
    sds = _standard_deviations(group, names, priors)
    correlation: list[list[Any]] = [[np.float64(i == j) for j in range(group.q)] for i in range(group.q)]
    effects: list[Any] = [None] * group.q
    for block in placement.blocks:
        L = _correlation_factor(group, names, block, priors)
        z: list[Any] = []
        for i, k in enumerate(block):
            mean: Any = 0.0
            for j in range(i):
                mean = mean + sds[k] * L[i][j] * z[j]
            own = sds[k] * L[i][i]
            weights = placement.weights[:, k]
            column, level = group.columns[k], names.level[name]
            if not weights.any():
                z.append(pm.Normal(names.z[name, column], dims=level))
                effects[k] = mean + own * z[i]
            else:
                around = mean + _around(group, k, block, i, geometry, fixed, outer, effects)
                w, spread = (1.0, own) if placement.is_centred(k) else (weights, own**weights)
                moved = pm.Normal(names.effect[name, column], w * around, spread, dims=level)
                z.append((moved - w * around) / spread)
                effects[k] = moved - around + mean if placement.is_centred(k) else mean + own * z[i]
            for j in range(i):
                value = sum(L[i][m] * L[j][m] for m in range(j + 1))
                correlation[k][block[j]] = correlation[block[j]][k] = value
    cor, b = names.cor[name], names.b[name]
    if group.correlated:
        flat = pt.stack([v for row in correlation for v in row])
        pm.Deterministic(cor, flat.reshape((group.q, group.q)), dims=names.dims[cor])
    pm.Deterministic(b, pt.stack(effects, axis=1), dims=names.dims[b])
    return effects


def _around(
    group: GroupTerm, k: int, block: Sequence[int], place: int, geometry: Geometry,
    fixed: list[Any], outer: dict[str, list[Any]], effects: list[Any],
) -> Any:  # fmt: skip
    """What a column that is not sampled as z is sampled around, besides its conditional mean."""
    placement = geometry.placements[group.name]
    total: Any = 0.0
    if placement.is_centred(k):
        for other, middle in middle_shifts(group, block, place):
            total = total + effects[other] * np.float64(middle)
    for part in geometry.attached[group.name]:
        if part.column == k:
            weights = part.weights
            effect = fixed[part.coefficient]
            total = total + (effect if np.all(weights == 1.0) else effect * weights)
    column = geometry.above_column(group, k)
    return total if column is None else total + outer[placement.parent][column][placement.above]


def _random_part(group: GroupTerm, effects: list[Any]) -> Any:
    """Zb of one grouping factor (n,)."""
    total: Any = 0.0
    for k, effect in enumerate(effects):
        column = group.Z[:, k]
        gathered = effect[group.codes]
        total = total + (gathered if np.all(column == 1.0) else gathered * column)
    return total


def _standard_deviations(group: GroupTerm, names: Names, priors: Priors) -> list[Any]:
    """The sds of a factor's columns, and the contract's ``sd_<group>``."""
    import pymc as pm
    import pytensor.tensor as pt

    sd = names.sd[group.name]
    sds = [
        variable(names.sd_of[group.name, c], priors.get("sd", group.name, c), positive=True)
        for c in group.columns
    ]
    pm.Deterministic(sd, pt.stack(sds), dims=names.dims[sd])
    return sds


def _correlation_factor(
    group: GroupTerm, names: Names, block: Sequence[int], priors: Priors
) -> list[list[Any]]:
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
            label = names.partial[group.name, group.columns[block[i]], group.columns[block[j]]]
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
