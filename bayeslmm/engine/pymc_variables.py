"""The free variables of the PyMC model: named and shaped as those of a posterior; a door to PyMC.

What NUTS moves in are values *behind* these variables, by transforms: fixed effects of centred predictors, logarithms
of sds, canonical partial correlations, effects in the coordinates of `bayeslmm.engine.geometry`.  So any draws under
the naming contract are draws of the free variables, which is what ``pymc.sample_posterior_predictive``,
``compute_log_likelihood`` and ``compute_log_prior`` look for, whichever sampler they are from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..covariances import Structure
from ..design.priors import LKJ, Prior
from ..errors import PriorError
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from .pymc_draws import distribution

Blocks = Sequence[Sequence[int]]

_LOG_ROOT_2PI = np.float64(0.5 * np.log(2.0 * np.pi))


def prior_of(name: str, prior: Prior | LKJ, *, positive: bool = False) -> Any:
    """The distribution of one number, unregistered, and the transform of its support."""
    from pymc.distributions.transforms import _default_transform

    if isinstance(prior, LKJ):
        raise PriorError(f"{name}: LKJ is a prior of correlations")
    kind = "HalfFlat" if positive and prior.name == "Flat" else prior.name
    family = distribution(Prior(kind, **dict(prior.params)), name)
    try:
        variable = family.dist(**dict(prior.params))
        transform = _default_transform(variable.owner.op, variable)
    except (TypeError, ValueError) as error:
        raise PriorError(f"{name}: PyMC refuses {prior!r}: {error}") from None
    if positive and transform is None:
        raise PriorError(f"{name}: {prior!r} is not confined to positive values; use HalfNormal, HalfStudentT, ...")
    return variable, transform


def _custom(
    name: str,
    label: str,
    *params: Any,
    dims: Any,
    core: int,
    draw: Callable[..., Any],
    log_density: Callable[..., Any],
    start: Callable[..., Any],
    transform: Any,
    core_params: Sequence[int] = (),
) -> Any:
    """A free variable with its own density, draws, start and transform.

    ``core`` is the number of its dimensions that belong together; ``core_params`` those of the parameters.
    """
    import pymc as pm

    return pm.CustomDist(
        name,
        *params,
        dims=dims,
        class_name=label,
        dist=draw,
        logp=log_density,
        support_point=start,
        default_transform=transform,
        ndim_supp=core,
        ndims_params=list(core_params),
    )


def _transform(label: str, n_params: int, forward: Any, backward: Any, log_jacobian: Any) -> Any:
    """A transform of functions of the value and the parameters of its variable."""
    from pymc.logprob.transforms import Transform

    class Made(Transform):  # type: ignore[misc]
        name = label
        ndim_supp = 1

        def forward(self, value: Any, *inputs: Any) -> Any:
            return forward(value, *inputs[1 : 1 + n_params])  # the first input is the size, the last are generators

        def backward(self, value: Any, *inputs: Any) -> Any:
            return backward(value, *inputs[1 : 1 + n_params])

        def log_jac_det(self, value: Any, *inputs: Any) -> Any:
            return log_jacobian(value, *inputs[1 : 1 + n_params])

    return Made()


def independent(
    name: str,
    entries: Sequence[tuple[str, Prior | LKJ]],
    *,
    dims: str | tuple[str, ...],
    positive: bool = False,
    shift: Callable[[list[Any]], Any] | None = None,
    shifted: int | None = None,
    places: Sequence[int] | None = None,
) -> Any:
    """A vector (k,) of independent numbers, each with its own prior.

    Parameters
    ----------
    name : str
    entries : sequence of (str, Prior)
        What each is called, for messages, and its prior.
    dims : str
    positive : bool
        Whether the priors have to be of positive numbers.
    shift, shifted : callable, int, optional
        The prior of the element ``shifted`` is that of its value plus ``shift(elements)``, which leaves it out: the
        intercept's at centred predictors.
    places : sequence of int (m,), optional
        Which of the numbers each element is, where elements share one: the vector is (m,) then.
    """
    import pymc as pm
    import pytensor.tensor as pt

    alike = places is not None and len(places) > len(entries)
    gathered = list(places) if alike and places is not None else list(range(len(entries)))
    firsts = [gathered.index(j) for j in range(len(entries))]
    made = [prior_of(label, prior, positive=positive) for label, prior in entries]
    transforms = [transform for _, transform in made]
    inputs = [variable.owner.inputs for variable, _ in made]
    k = len(made)

    def moved(values: list[Any], sign: float) -> list[Any]:
        if shift is None or shifted is None:
            return values
        step = sign * shift(values)
        return [value + step if j == shifted else value for j, value in enumerate(values)]

    def of_elements(values: list[Any], what: str) -> list[Any]:
        arguments = zip(values, transforms, inputs, strict=True)
        return [value if t is None else getattr(t, what)(value, *symbols) for value, t, symbols in arguments]

    def split(vector: Any) -> list[Any]:
        return [vector[j] for j in range(k)]

    def of_vector(vector: Any) -> list[Any]:
        return [vector[j] for j in firsts]

    def whole(values: list[Any]) -> Any:
        return pt.stack([values[j] for j in gathered])

    def one_or_each(values: list[Any]) -> Any:
        return pt.sum(pt.stack(values)) if alike else pt.stack(values)

    def draw(size: Any) -> Any:
        fresh = [prior_of(label, prior, positive=positive)[0] for label, prior in entries]
        return whole(moved(fresh, -1.0))

    def log_density(value: Any) -> Any:
        values = moved(of_vector(value), 1.0)
        return one_or_each([pm.logp(variable, v) for (variable, _), v in zip(made, values, strict=True)])

    def start(rv: Any, size: Any) -> Any:
        from pymc.distributions.distribution import support_point

        return whole(moved([support_point(variable) for variable, _ in made], -1.0))

    def log_jacobian(value: Any) -> Any:
        arguments = zip(split(value), transforms, inputs, strict=True)
        return one_or_each(
            [pt.zeros_like(v) if t is None else t.log_jac_det(v, *symbols) for v, t, symbols in arguments]
        )

    of_sds = all(t is not None and t.name == "log" for t in transforms)
    transform = _transform(
        "log" if of_sds else "centred",
        0,
        lambda value: pt.stack(of_elements(moved(of_vector(value), 1.0), "forward")),
        lambda value: whole(moved(of_elements(split(value), "backward"), -1.0)),
        log_jacobian,
    )
    return _custom(
        name,
        "Independent",
        dims=dims,
        core=int(alike),
        draw=draw,
        log_density=log_density,
        start=start,
        transform=transform,
    )


def cutpoints(name: str, prior: Prior | LKJ, number: int, shift: Any, *, dims: str) -> Any:
    """Ordered thresholds (k,), whose prior is that of their values less ``shift``: those of centred predictors."""
    import pymc as pm
    import pytensor.tensor as pt

    ordered = pm.distributions.transforms.ordered
    variable, bounded = prior_of(name, prior)
    begin = np.linspace(-1.0, 1.0, number) if number > 1 else np.zeros(1)
    if bounded is not None:
        raise PriorError(f"{name}: {prior!r} is confined to some values; cutpoints may have any")

    def draw(step: Any, size: Any) -> Any:
        return pt.stack(_sorted([prior_of(name, prior)[0] for _ in range(number)])) + step

    transform = _transform(
        "ordered",
        1,
        lambda value, step: ordered.forward(value - step),
        lambda value, step: ordered.backward(value) + step,
        lambda value, step: ordered.log_jac_det(value),
    )
    return _custom(
        name,
        "Cutpoints",
        shift,
        dims=dims,
        core=0,
        core_params=(0,),
        draw=draw,
        log_density=lambda value, step: pm.logp(variable, value - step),
        start=lambda rv, size, step: pt.as_tensor(begin) + step,
        transform=transform,
    )


def _sorted(values: list[Any]) -> list[Any]:
    """A few numbers in order, by exchanging neighbours."""
    import pytensor.tensor as pt

    ordered = list(values)
    for last in range(len(ordered) - 1, 0, -1):
        for j in range(last):
            first, other = ordered[j], ordered[j + 1]
            ordered[j], ordered[j + 1] = pt.minimum(first, other), pt.maximum(first, other)
    return ordered


# -- correlations


def _matrix(q: int, factors: Sequence[tuple[Sequence[int], list[list[Any]]]]) -> Any:
    """The correlation matrix (q, q) of independent blocks, given by their factors."""
    import pytensor.tensor as pt

    entries: list[list[Any]] = [[np.float64(i == j) for j in range(q)] for i in range(q)]
    for block, L in factors:
        for i, k in enumerate(block):
            for j in range(i):
                value = sum(L[i][m] * L[j][m] for m in range(j + 1))
                entries[k][block[j]] = entries[block[j]][k] = value
    return pt.stack([v for row in entries for v in row]).reshape((q, q))


def correlations(
    name: str, lkj: Prior | LKJ, q: int, blocks: Blocks, structures: Sequence[Structure], *, dims: tuple[str, ...]
) -> Any:
    """A correlation matrix (q, q) of independent blocks; behind it log odds of what their structures hang on.

    The prior is that of `bayeslmm.covariances.structure`, LKJ(eta) for an unstructured block.
    """
    import pymc as pm
    import pytensor.tensor as pt

    assert isinstance(lkj, LKJ)
    pairs = zip(blocks, structures, strict=True)
    wide = [(tuple(block), each) for block, each in pairs if each.n_correlations(len(block))]
    # log of the volume per position, (1 - p²)^excess, of every coordinate in their order
    excess = [float(e) for block, term in wide for e in term.excess(len(block))]
    shapes = np.array([lkj.eta + entry for entry in excess])
    constant = sum(term.log_constant(len(block), lkj.eta) for block, term in wide)
    volume = sum(term.log_volume(len(block)) for block, term in wide)

    def split(values: Any) -> list[list[Any]]:
        """A vector as the positions of each block."""
        out, k = [], 0
        for block, term in wide:
            n = term.n_correlations(len(block))
            out.append([values[k + j] for j in range(n)])
            k += n
        return out

    def matrix(positions: Any) -> Any:
        each_block = zip(wide, split(positions), strict=True)
        return _matrix(q, [(block, each.graph_factor(p, len(block))) for (block, each), p in each_block])

    def draw(size: Any) -> Any:
        return matrix([2.0 * pm.Beta.dist(np.float64(shape), np.float64(shape)) - 1.0 for shape in shapes])

    def log_density(value: Any) -> Any:
        total: Any = -np.float64(constant)
        for block, term in wide:
            total = total + np.float64(lkj.eta - 1.0) * term.graph_log_shrinkage(value, block)
        return total

    def forward(value: Any) -> Any:
        positions = [position for block, term in wide for position in term.positions(value, block)]
        return pt.stack([pt.log1p(position) - pt.log1p(-position) for position in positions])

    def backward(value: Any) -> Any:
        return matrix(2.0 * pt.sigmoid(value) - 1.0)

    def log_jacobian(value: Any) -> Any:
        # 1 - p² is 4 s(1 - s) with s = sigmoid(value), and dp is 2 s(1 - s)
        log_slope = -pt.softplus(value) - pt.softplus(-value)
        powers = np.array(excess)
        return pt.sum((powers + 1.0) * log_slope) + np.float64(np.sum(powers * np.log(4.0) + np.log(2.0)) + volume)

    return _custom(
        name,
        "Correlations",
        dims=dims,
        core=2,
        draw=draw,
        log_density=log_density,
        start=lambda rv, size: pt.as_tensor(np.eye(q)),
        transform=_transform("partial", 0, forward, backward, log_jacobian),
    )


# -- effects


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """The random effects of a factor in three coordinates, each a list of (J,), one a column.

    Attributes
    ----------
    effects : list
        b.
    z : list
        b in units of its sd given the columns before it: standard normal.
    values : list
        What NUTS moves.
    log_spread : list
        Logarithms of these sds.
    share : list of float64 array (J,)
        1 - w: with what power of the sd b moves with its value.
    """

    effects: list[Any]
    z: list[Any]
    values: list[Any]
    log_spread: list[Any]
    share: list[Array]


def effects(
    name: str,
    params: Sequence[Any],
    walk: Callable[..., Walked],
    shape: tuple[int, int],
    *,
    dims: tuple[str, ...],
    log_volume: float = 0.0,
) -> Any:
    """Random effects (J, q) that are normal given ``params``, in the coordinates that ``walk`` knows.

    ``walk(columns, params, start)`` gives a `Walked` from one of its parts, which ``start`` names. Where levels are
    related, ``log_volume`` is log|L|, by which the effects of a column are wider than those of independent levels.
    """
    import pytensor.tensor as pt

    J, q = shape

    def columns(value: Any) -> list[Any]:
        return [value[:, k] for k in range(q)]

    def draw(*symbols: Any) -> Any:
        import pymc as pm

        z = [pm.Normal.dist(0.0, 1.0, size=(J,)) for _ in range(q)]
        return pt.stack(walk(z, symbols[:-1], "z").effects, axis=1)

    def log_density(value: Any, *symbols: Any) -> Any:
        went = walk(columns(value), symbols, "effects")
        total: Any = -q * (_LOG_ROOT_2PI + log_volume / J)
        for z, spread in zip(went.z, went.log_spread, strict=True):
            total = total - 0.5 * z**2 - spread
        return total

    def log_jacobian(value: Any, *symbols: Any) -> Any:
        went = walk(columns(value), symbols, "values")
        total: Any = np.full(J, q * log_volume / J)
        for share, spread in zip(went.share, went.log_spread, strict=True):
            total = total + share * spread
        return pt.as_tensor(total)

    transform = _transform(
        "coordinates",
        len(params),
        lambda value, *symbols: pt.stack(walk(columns(value), symbols, "effects").values, axis=1),
        lambda value, *symbols: pt.stack(walk(columns(value), symbols, "values").effects, axis=1),
        log_jacobian,
    )
    return _custom(
        name,
        "Effects",
        *params,
        dims=dims,
        core=1,
        core_params=[param.ndim for param in params],
        draw=draw,
        log_density=log_density,
        start=lambda rv, size, *symbols: pt.zeros((J, q)),
        transform=transform,
    )


def product(matrix: Array, u: Any) -> Any:
    """Matrix (J, K) times u (K,), without a product of matrices."""
    return (u[None, :] * matrix).sum(axis=1)


def wide_effects(
    name: str, sd: Any, around: Sequence[tuple[Any, Array]], term: WideTerm, weights: Array, *, dims: tuple[str, ...]
) -> Any:
    """Effects b = R u (J, 1) of a wide term with u ~ N(0, sd² I) and R the root of its rotation.

    NUTS moves in v = w c + sd^w u/sd, each coordinate of u with its weight w. Of a matrix without full rank the density
    is that on the effects that it allows.

    Parameters
    ----------
    sd : TensorVariable (1,)
    around : sequence of (TensorVariable, float64 array (J,))
        Fixed effects, and what c has of each.
    weights : float64 array (J,)
    """
    import pymc as pm
    import pytensor.tensor as pt

    root = term.rotation.root
    inverse, log_determinant, dropped = term.inwards
    J = len(root)

    def inside(value: Any) -> Any:
        return product(inverse, value[:, 0])

    def centre(others: Sequence[Any]) -> Any:
        total: Any = np.zeros(J)
        for other, (_, share) in zip(others, around, strict=True):
            total = total + other * (weights * share)
        return total

    def draw(spread: Any, *rest: Any) -> Any:
        return product(root, spread[0] * pm.Normal.dist(0.0, 1.0, size=(J,)))[:, None]

    def log_density(value: Any, spread: Any, *others: Any) -> Any:
        z = inside(value) / spread[0]
        return -J * _LOG_ROOT_2PI - 0.5 * pt.sum(z**2) - J * pt.log(spread[0]) - np.float64(log_determinant)

    def log_jacobian(value: Any, spread: Any, *others: Any) -> Any:
        total = np.float64(np.sum(1.0 - weights)) * pt.log(spread[0]) + np.float64(log_determinant)
        for column in dropped.T:  # coordinates without effects, which are standard normal all the same
            total = total - 0.5 * pt.sum((value[:, 0] - centre(others)) * spread[0] ** -weights * column) ** 2
        return total

    transform = _transform(
        "coordinates",
        1 + len(around),
        lambda value, spread, *others: (centre(others) + inside(value) * spread[0] ** (weights - 1.0))[:, None],
        lambda value, spread, *others: product(root, (value[:, 0] - centre(others)) * spread[0] ** (1.0 - weights))[
            :, None
        ],
        log_jacobian,
    )
    return _custom(
        name,
        "WideEffects",
        sd,
        *(effect for effect, _ in around),
        dims=dims,
        core=2,
        core_params=[1, *(0 for _ in around)],
        draw=draw,
        log_density=log_density,
        start=lambda rv, size, *rest: pt.zeros((J, 1)),
        transform=transform,
    )
