"""Design × Priors → ``pm.Model``; a door to PyMC.

The graph avoids matrix products, Cholesky factors and ``LKJCholeskyCov``, whose first compilation takes a minute:
everything is elementwise arithmetic and gathers by group code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..design.categories import as_seen, category_numbers
from ..design.design import Design, GroupTerm
from ..design.names import BETA, COEF, OBSERVED, RESPONSE, ROW, THRESHOLD, Names
from ..design.predictors import ParameterPart
from ..design.priors import LKJ, Prior, Priors
from ..errors import NotAvailableError
from ..families import LINKS
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from ..tools.lazy import sparse
from .geometry import Geometry, middle_shifts
from .pymc_variables import Walked, correlations, cutpoints, effects, independent, prior_of, product, wide_effects


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

    with pm.Model(coords=design.coords) as model:
        eta, fixed, shift = _fixed_part(design, priors)
        eta = eta + design.offset
        every: dict[str, list[Any]] = {}
        moved = priors.at_means(design)
        for name in geometry.order:
            group = next(g for g in moved.groups if g.name == name)
            every[name] = _effects(group, design.names, priors, geometry, fixed, every)
        for group in design.groups:
            eta = eta + _random_part(group, every[group.name])
        parameters = {
            name: _predicted(design.predictors[name], moved.predictors[name], priors, design.names, geometry)
            if name in design.predictors
            else _parameter(name, priors, shift, design)
            for name in design.family.parameters
        }
    return PyMCParts(model=model, eta=eta, parameters=parameters)


def build_model(design: Design, priors: Priors, geometry: Geometry) -> Any:
    """The PyMC model of a mixed model.

    Variables: ``beta[coef]``, the family's parameters (``sigma``, ``nu``, ``shape``, ``phi``, ``zi``, ``hu``, ``zoi``,
    ``coi``, ``cutpoint[threshold]``), of one with a linear predictor ``beta_zi[coef_zi]``, and for each grouping factor
    g, and ``zi_g`` for bars of such a predictor, ``sd_g[g_term]``, ``cor_g[g_term, g_term_bis]`` where columns are
    correlated, ``b_g[g, g_term]``; ``y[obs]`` is the response, as in ``idata.observed_data``. All but y are free
    variables, so that the draws of any sampler are draws of them; NUTS moves in other coordinates, by transforms
    (`pymc_variables`). The values of the response are data (``pymc.set_data({"response": ...})``), so that others can
    be set without a new model.

    Returns
    -------
    pymc.Model
    """
    import pymc as pm

    parts = build_parts(design, priors, geometry)
    with parts.model:
        response = pm.Data(OBSERVED, as_seen(design, design.y), dims=ROW)
        options = {"observed": response, "dims": ROW}
        if design.likelihood_weights is None and design.bounds is None:
            _plain_response(design, parts.eta, parts.parameters, options)
        else:
            _response_known_in_part(design, parts, options)
    return parts.model


def _plain_response(design: Design, eta: Any, parameters: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """The variable y of rows that are observed and count once."""
    return design.family.graph(
        eta,
        {**parameters, **design.family.known},
        trials=design.trials,
        weights=design.weights,
        categories=category_numbers(design),
        options=options,
    )


def _response_known_in_part(design: Design, parts: PyMCParts, options: Mapping[str, Any]) -> None:
    """The variable y of rows that count several times or lie in intervals: one of its own, drawn as any other row.

    Its log density is the weight of a row times that of its value or of its interval, so that PyMC's own functions,
    such as ``pm.compute_log_likelihood``, answer with what the model is fitted by. A potential would be none of a row.
    """
    import pymc as pm
    import pytensor.tensor as pt

    names = list(parts.parameters)

    def plain(eta: Any, *values: Any) -> Any:
        with pm.Model(model=None):  # of its own: the families register what they make
            return _plain_response(design, eta, dict(zip(names, values, strict=True)), {})

    def draw(*values_and_size: Any) -> Any:
        return plain(*values_and_size[:-1])

    def log_density(value: Any, *values: Any) -> Any:
        y = plain(*values)
        density = pm.logp(y, value)
        if design.bounds is not None:
            low, high = design.bounds.T
            density = pt.where(low == high, density, design.family.graph_interval(y, low, high))
        return density if design.likelihood_weights is None else design.likelihood_weights * density

    values = [parts.eta, *(parts.parameters[name] for name in names)]
    pm.CustomDist(RESPONSE, *values, logp=log_density, dist=draw, **options)


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

    Adds the free variable ``beta`` on the user's scale; the prior of its intercept is that at centred predictors.
    """
    entries = [
        (name, priors.get("Intercept") if name == "Intercept" else priors.get("fixed", term=name))
        for name in design.x_names
    ]
    centred = design.has_intercept or design.family.has_cutpoints
    return _linear(BETA, COEF, design.X, entries, centred=centred)


def _predicted(part: ParameterPart, moved: ParameterPart, priors: Priors, names: Names, geometry: Geometry) -> Any:
    """A parameter (n,) by its linear predictor; adds its coefficients and effects on the user's scale.

    ``moved`` has the terms whose effects are sampled, at the means of predictors where the priors are stated there.
    """
    entries = [(name, priors.get("coef", part.parameter, name)) for name in part.x_names]
    eta, _, _ = _linear(part.variable, part.dimension, part.X, entries, centred=part.has_intercept)
    eta = eta + part.offset
    for group, sampled in zip(part.groups, moved.groups, strict=True):
        eta = eta + _random_part(group, _effects(sampled, names, priors, geometry, [], {}))
    return LINKS[part.link].graph(eta)


def _linear(
    variable: str, dim: str, X: Array, entries: list[tuple[str, Prior | LKJ]], *, centred: bool
) -> tuple[Any, list[Any], Any]:
    """Xβ of a vector of coefficients with these priors, by their names; as `_fixed_part`."""
    names = [name for name, _ in entries]
    if not names:
        return np.zeros(len(X)), [], np.float64(0.0)
    centre = X.mean(axis=0) if centred else np.zeros(len(names))
    intercept = names.index("Intercept") if "Intercept" in names else None
    slopes = [j for j in range(len(names)) if j != intercept]

    def shift_of(values: Sequence[Any]) -> Any:
        total: Any = np.float64(0.0)
        for j in slopes:
            total = total + values[j] * centre[j]
        return total

    beta = independent(variable, entries, dims=dim, shift=shift_of, shifted=intercept)
    fixed = [beta[j] for j in range(len(names))]
    shift = shift_of(fixed)
    mean: Any = np.float64(0.0)
    for j in slopes:
        mean = mean + fixed[j] * (X[:, j] - centre[j])
    if intercept is not None:
        fixed[intercept] = fixed[intercept] + shift
        mean = mean + fixed[intercept]
    return mean, fixed, shift


def _parameter(name: str, priors: Priors, shift: Any, design: Design) -> Any:
    """A parameter of the family besides the mean; cutpoints are those of centred predictors."""
    import pymc as pm

    if not design.family.is_positive(name):
        return cutpoints(name, priors.get(name), len(design.levels) - 1, shift, dims=THRESHOLD) - shift
    variable, transform = prior_of(name, priors.get(name), positive=True)
    model = pm.modelcontext(None)
    return model.register_rv(variable, name, default_transform=transform)


def _effects(
    group: GroupTerm, names: Names, priors: Priors, geometry: Geometry, fixed: list[Any], outer: dict[str, list[Any]]
) -> list[Any]:
    """The random effects b of a factor, (J,) a column."""
    name = group.name
    called_sd, called_cor = names.spread_of(name, group.is_at_means)
    called_b = names.b[name]
    template = group.template
    entries = [(f"sd({column} | {name})", priors.get("sd", name, column)) for column in group.sd_terms]
    params = [independent(called_sd, entries, dims=names.dims[called_sd], positive=True, places=template.sd_of)]
    if isinstance(group, WideTerm) and group.q == 1:
        around = [(fixed[a.coefficient], a.weights) for a in geometry.attached[name]]
        weights = geometry.placements[name].weights[:, 0]
        return [wide_effects(called_b, params[0], around, group, weights, dims=names.dims[called_b])[:, 0]]
    if template.correlated:
        lkj, blocks = priors.get("cor", name), geometry.placements[name].blocks
        dims = names.dims[called_cor]
        params.append(correlations(called_cor, lkj, group.q, blocks, template.structures, dims=dims))
    if group.shear is not None:
        _at_zero(group.shear, params, names, name)
    correlated = len(params)
    attached = sorted({a.coefficient for a in geometry.attached[name]})
    above = sorted({c for k in range(group.q) if (c := geometry.above_column(group, k)) is not None})
    params += [fixed[column] for column in attached]
    params += [outer[geometry.placements[name].parent][c] for c in above]

    def walk(columns: list[Any], symbols: Sequence[Any], start: str) -> Walked:
        others = list(symbols[correlated:])
        centres = Around(
            fixed=dict(zip(attached, others, strict=False)),
            above=dict(zip(above, others[len(attached) :], strict=True)),
        )
        correlation = symbols[1] if correlated > 1 else None
        if start == "effects":
            columns = [_turned(group, column, backwards=True) for column in columns]
            columns = _sheared(columns, group.shear, backwards=True)
        walked = _walk(group, geometry, symbols[0], correlation, centres, columns, start)
        sheared = _sheared(walked.effects, group.shear)
        return replace(walked, effects=[_turned(group, column) for column in sheared])

    volume = group.inwards[1] if isinstance(group, WideTerm) else 0.0
    shape = (group.n_levels, group.q)
    b = effects(called_b, params, walk, shape, dims=names.dims[called_b], log_volume=volume)
    return [b[:, k] for k in range(group.q)]


def _turned(group: GroupTerm, column: Any, *, backwards: bool = False) -> Any:
    """Effects (J,) of related levels from those of independent ones, or the way back."""
    if not isinstance(group, WideTerm) or group.root is None:
        return column
    inverse, _, dropped = group.inwards
    if dropped.size:
        raise NotAvailableError(
            f"{group.texts[0]}: the matrix has not full rank, so several effects of a level have no density for a PyMC "
            "model. Independent ones, with || in place of |, have one; fit() draws either"
        )
    return product(inverse if backwards else group.root, column)


def _sheared(columns: list[Any], A: Array | None, *, backwards: bool = False) -> list[Any]:
    """A times effects in columns (J,), or A⁻¹ times them."""
    if A is None:
        return columns
    by_column = np.linalg.inv(A) if backwards else A
    return [
        sum((np.float64(w) * columns[j] for j, w in enumerate(row) if w and j != k), columns[k])
        for k, row in enumerate(by_column)
    ]


def _at_zero(A: Array, at_means: Sequence[Any], names: Names, name: str) -> None:
    """Add sds and correlations at zero of effects whose free variables are those at the means of predictors."""
    import pymc as pm
    import pytensor.tensor as pt

    sd, correlation = at_means
    q = len(A)

    def entry(i: int, j: int) -> Any:
        pairs = [(a, b) for a in range(q) for b in range(q) if A[i, a] and A[j, b]]
        return sum(np.float64(A[i, a] * A[j, b]) * sd[a] * sd[b] * correlation[a, b] for a, b in pairs)

    sds = [pt.sqrt(entry(k, k)) for k in range(q)]
    rows = [entry(i, j) / (sds[i] * sds[j]) if i != j else np.float64(1.0) for i in range(q) for j in range(q)]
    called_sd, called_cor = names.spread_of(name, False)
    pm.Deterministic(called_sd, pt.stack(sds), dims=names.dims[called_sd])
    pm.Deterministic(called_cor, pt.stack(rows).reshape((q, q)), dims=names.dims[called_cor])


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What effects may be sampled around: fixed effects by number, effects (J,) of the factor above by column."""

    fixed: Mapping[int, Any]
    above: Mapping[int, Any]


def _walk(
    group: GroupTerm, geometry: Geometry, sd: Any, cor: Any, centres: Around, columns: list[Any], start: str
) -> Walked:
    """All coordinates of the effects from one of them; ``columns`` are its columns (J,).

    b = m + s z, where m are the columns before it in units of their sds, and v = w (m + a) + s^w z with a what the
    column is sampled around.
    """
    import pytensor.tensor as pt

    placement = geometry.placements[group.name]
    empty: list[Any] = [None] * group.q
    went = Walked(effects=empty, z=empty[:], values=empty[:], log_spread=empty[:], share=empty[:])
    for block, structure in zip(placement.blocks, group.template.structures, strict=True):
        L = structure.graph_factor_of(cor, block)
        for i, k in enumerate(block):
            mean: Any = np.float64(0.0)
            for j in range(i):
                mean = mean + sd[k] * L[i][j] * went.z[block[j]]
            spread = sd[k] * L[i][i]
            w = placement.weights[:, k]
            around = mean + _around(group, k, block, i, geometry, centres, went.effects) if w.any() else mean
            scale = np.float64(1.0) if not w.any() else spread if placement.is_centred(k) else spread**w
            if start == "z":
                z = columns[k]
            elif start == "effects":
                z = (columns[k] - mean) / spread
            else:
                z = (columns[k] - w * around) / scale if w.any() else columns[k]
            went.z[k] = z
            went.effects[k] = columns[k] if start == "effects" else mean + spread * z
            if start == "values" and placement.is_centred(k):
                went.effects[k] = columns[k] - around + mean
            went.values[k] = w * around + scale * z if w.any() else z
            went.log_spread[k], went.share[k] = pt.log(spread), 1.0 - w
    return went


def _around(
    group: GroupTerm, k: int, block: Sequence[int], place: int, geometry: Geometry, centres: Around, effects: list[Any]
) -> Any:
    """What a column that is not sampled as z is sampled around, besides its conditional mean."""
    placement = geometry.placements[group.name]
    total: Any = 0.0
    if placement.is_centred(k):
        for other, middle in middle_shifts(group, block, place):
            total = total + effects[other] * np.float64(middle)
    for part in geometry.attached[group.name]:
        if part.column == k:
            weights = part.weights
            effect = centres.fixed[part.coefficient]
            total = total + (effect if np.all(weights == 1.0) else effect * weights)
    column = geometry.above_column(group, k)
    return total if column is None else total + centres.above[column][placement.above]


def _random_part(group: GroupTerm, effects: list[Any]) -> Any:
    """Zb of one grouping factor (n,)."""
    total: Any = 0.0
    if isinstance(group, WideTerm):
        if not sparse.issparse(group.matrix):
            return product(np.asarray(group.matrix), effects[0])
        places, weights = group.slots()
        for slot in range(places.shape[1]):
            level, column = np.divmod(places[:, slot], group.q)
            for k, effect in enumerate(effects):
                weight = np.where(column == k, weights[:, slot], 0.0)
                if weight.any():
                    total = total + effect[level] * weight
        return total
    for k, effect in enumerate(effects):
        column = group.Z[:, k]
        gathered = effect[group.codes]
        total = total + (gathered if np.all(column == 1.0) else gathered * column)
    return total
