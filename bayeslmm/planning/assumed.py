"""A model with values of its parameters: assumed ones, estimates, or draws of a posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import default_rng

from ..covariances.template import covariance, sd_and_correlation
from ..design.design import Design
from ..errors import InputError
from ..families import Family
from ..formulas.formula import Formula
from ..results.draws import Draws
from ..results.estimates import Estimates
from ..results.reading import Shown
from ..results.summaries import flat
from ..results.text import Text, number, table
from ..results.variance import Parts as VarianceParts
from ..results.variance import Values, components
from ..terms.group import GroupTerm
from ..tools.arrays import Array
from ..tools.frame import as_frame

TRIES = 100  # of a response that is not constant
MIDDLE = 0.5  # a linear predictor whose mean every link and family can have


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Assumed(Shown):
    """A model whose parameters are said to be known: what studies are simulated from.

    Attributes
    ----------
    design : Design
        The rows and columns; its response plays no part.
    beta : float64 array (p,)
        Fixed effects.
    covariances : tuple of float64 arrays (q, q)
        Of the random effects of each grouping factor.
    parameters : mapping
        Those of the family by name, such as ``sigma``.
    """

    design: Design
    beta: Array
    covariances: tuple[Array, ...]
    parameters: Mapping[str, Array]

    @property
    def sigma(self) -> float:
        """Residual sd of a family that has one."""
        return float(self.parameters["sigma"])

    @property
    def values(self) -> Values:
        """The same as the record from which quantities are computed."""
        return Values(beta=self.beta, covariances=self.covariances, family=self.parameters)

    def text(self) -> Text:
        """The assumed values as tables."""
        effects = [(name, number(value)) for name, value in zip(self.design.x_names, self.beta, strict=True)]
        spread = [
            (group, term.replace("Intercept:", "Intercept, "), what, number(float(value)))
            for group, term, what, value in components(
                self.design, self.values, VarianceParts.of(self.design, self.values)
            )
            if what in ("sd", "cor")
        ]
        others = [
            (name, ", ".join(number(v) for v in np.ravel(value)))
            for name, value in self.parameters.items()
            if name != "sigma"
        ]
        return Text.of(
            f"Assumed values of {self.design.formula.text}",
            table(("", "Value"), effects, title="Fixed effects") if effects else None,
            table(("Group", "Term", "", "Value"), spread, left=3, title="Random effects") if spread else None,
            table(("", "Value"), others, title=f"Family {self.design.family}") if others else None,
        )


def assumed(
    source: Any,
    *,
    beta: Mapping[str, float] | Sequence[float] | None = None,
    sd: Any = None,
    cor: Any = None,
    **parameters: Any,
) -> Assumed:
    """A model with assumed values; of a fit, its estimates where no other value is given.

    Parameters
    ----------
    source : Model, PointFit, PosteriorFit or Assumed
        A posterior gives its means.
    beta : mapping or sequence
        Fixed effects by name, or all in order. Of a Model all are needed.
    sd : number, sequence or mapping
        Standard deviations of the random effects: by grouping factor a number, a sequence in the order of its columns,
        or a mapping by column. A number or sequence alone is for the only factor.
    cor : number, matrix or mapping
        Correlations of a factor's effects, by factor or for the only one: a number for two effects, else a matrix.
        Zero by default.
    **parameters
        Those of the family: ``sigma=25.0``, ``shape=2.0``, ``cutpoint=[-1, 0, 1]``.

    Raises
    ------
    InputError
        A name that is not there, a value that is missing, negative, or no number, or correlations that no effects can
        have.
    NotAvailableError
        Smooths, relationship matrices and multi-membership.
    """
    design = getattr(source, "design", None)
    if not isinstance(design, Design):
        raise InputError(f"assume: values are assumed of a Model or a fit, not of {type(source).__name__}")
    design.refuse_wide("assume()")
    design.refuse_predictors("assume()")
    design.refuse_likelihood_weights("assume()")
    design.refuse_censored("assume()")
    source_values = _of(source)
    return Assumed(
        design=design,
        beta=_beta(design, beta, None if source_values is None else source_values.beta),
        covariances=_covariances(design, sd, cor, None if source_values is None else source_values.covariances),
        parameters=_parameters(design, parameters, {} if source_values is None else source_values.family),
    )


def _of(source: Any) -> Values | None:
    """The values that a source has; a model has none."""
    if isinstance(source, Estimates | Assumed):
        return source.values
    if isinstance(source, Draws):
        values = source.values
        return Values(
            beta=flat(values.beta).mean(axis=0),
            covariances=tuple(flat(covariance_matrix).mean(axis=0) for covariance_matrix in values.covariances),
            family={name: flat(value).mean(axis=0) for name, value in values.family.items()},
        )
    return None


def _numbers(values: Any, what: str, *, least: float = -np.inf) -> Array:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"assume({what}={values!r}): numbers are needed") from None
    if not np.isfinite(numbers).all() or (numbers < least).any():
        raise InputError(f"assume({what}={values!r}): finite numbers{' of at least 0' if least == 0.0 else ''}")
    return numbers


def _named(
    named_values: Mapping[Any, Any], names: Sequence[str], what: str, start: Array | None, least: float
) -> Array:
    """Numbers by name, in the order of the names."""
    unknown = [name for name in named_values if name not in names]
    if unknown:
        raise InputError(f"assume({what}=...): {unknown[0]!r} is not there; there are {_listed(names)}")
    missing = [name for name in names if name not in named_values] if start is None else []
    if missing:
        raise InputError(f"assume({what}=...): no value of {_listed(missing)}")
    values = np.zeros(len(names)) if start is None else np.array(start, dtype=np.float64)
    for name, value in named_values.items():
        number_given = _numbers(value, f"{what}: {name}", least=least)
        if number_given.ndim:
            raise InputError(f"assume({what}=...): {name} is one number, not {value!r}")
        values[list(names).index(name)] = number_given
    return values


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _beta(design: Design, numbers: Any, start: Array | None) -> Array:
    names = design.x_names
    if numbers is None and start is not None:
        return start
    if numbers is None and not names:
        return np.empty(0)
    if isinstance(numbers, Mapping) or numbers is None:
        return _named(numbers or {}, names, "beta", start, -np.inf)
    values = _numbers(numbers, "beta")
    if values.shape != (len(names),):
        raise InputError(f"assume(beta=...): {len(names)} values are needed, of {_listed(names)}")
    return values


def _by_factor(design: Design, by_factor: Any, what: str) -> dict[str, Any]:
    """What is given of each factor, by name."""
    names = [group.name for group in design.groups]
    if by_factor is None:
        return {}
    if isinstance(by_factor, Mapping) and set(by_factor) <= set(names):
        return dict(by_factor)
    if len(names) == 1:
        return {names[0]: by_factor}
    unknown = [key for key in by_factor if key not in names] if isinstance(by_factor, Mapping) else []
    if unknown:
        raise InputError(f"assume({what}=...): no grouping factor {unknown[0]!r}; there are {_listed(names)}")
    raise InputError(f"assume({what}={by_factor!r}): by grouping factor, of {_listed(names)}: {{{names[0]!r}: ...}}")


def _covariances(design: Design, sd: Any, cor: Any, start: Sequence[Array] | None) -> tuple[Array, ...]:
    sds, correlations = _by_factor(design, sd, "sd"), _by_factor(design, cor, "cor")
    covariances = []
    for k, group in enumerate(design.groups):
        before = None if start is None else start[k]
        if before is not None and group.name not in sds and group.name not in correlations:
            covariances.append(before)
        else:
            covariances.append(_covariance(group, sds.get(group.name), correlations.get(group.name), before))
    return tuple(covariances)


def _covariance(group: GroupTerm, sd: Any, cor: Any, before: Array | None) -> Array:
    label, q = f"sd: {group.name}", group.q
    start, matrix = (None, np.eye(q)) if before is None else sd_and_correlation(before)
    if isinstance(sd, Mapping) or sd is None:
        sds = _named(sd or {}, group.columns, label, start, 0.0)
    else:
        sds = np.atleast_1d(_numbers(sd, label, least=0.0))
        if sds.shape == (1,) and len(group.sd_terms) == 1:  # one for all columns
            sds = np.repeat(sds, q)
        if sds.shape != (q,):
            raise InputError(f"assume({label}={sd!r}): {q} values are needed, of {_listed(group.columns)}")
    if cor is not None:
        matrix = _correlations(group, cor)
    covariance_matrix = covariance(sds, matrix)
    apart = np.ones((q, q), dtype=bool)
    for block, structure in zip(group.blocks, group.template.structures, strict=True):
        columns = np.ix_(block, block)
        apart[columns] = False
        template = structure.template(structure.parameters(covariance_matrix[columns]), len(block))
        if not np.allclose(
            template @ template.T, covariance_matrix[columns], rtol=1e-6, atol=1e-9 * np.max(sds, initial=0.0) ** 2
        ):
            raise InputError(
                f"assume(sd={sd!r}, cor={cor!r}): the effects of {' + '.join(group.texts)} are {structure.words}, and "
                "these values are not of that kind"
            )
    if np.any(covariance_matrix[apart] != 0.0):
        raise InputError(f"assume({label}): {' + '.join(group.texts)} are independent of each other, without cor")
    return covariance_matrix


def _correlations(group: GroupTerm, cor: Any) -> Array:
    label, q = f"cor: {group.name}", group.q
    values = _numbers(cor, label)
    structures = group.template.structures
    if values.ndim == 0 and len(structures) == 1 and structures[0].n_correlations(q) == 1:
        low, high = structures[0].interval(q)
        if not low <= float(values) <= high:
            raise InputError(f"assume({label}={cor!r}): it lies between {low:.4g} and {high:.4g}")
        numbers = np.concatenate([np.ones(structures[0].n_sds(q)), [float(values)]])
        template = structures[0].template(numbers, q)
        return np.asarray(template @ template.T)
    if values.shape != (q, q) or not np.allclose(values, values.T) or not np.allclose(np.diag(values), 1.0):
        raise InputError(
            f"assume({label}={cor!r}): the correlations of {_listed(group.columns)} are a matrix ({q}, {q}), symmetric "
            "with ones on its diagonal; a single one is a number"
        )
    if np.linalg.eigvalsh(values).min() < -1e-10:
        raise InputError(f"assume({label}={cor!r}): no effects have these correlations; an eigenvalue is negative")
    return values


def _parameters(design: Design, named_values: Mapping[str, Any], start: Mapping[str, Array]) -> dict[str, Array]:
    family = design.family
    unknown = [name for name in named_values if name not in family.parameters]
    if unknown:
        raise InputError(f"assume({unknown[0]}=...): {family} has {_listed(family.parameters)} besides the mean")
    values = {name: np.asarray(start[name], dtype=np.float64) for name in family.parameters if name in start}
    for name, value in named_values.items():
        values[name] = _parameter(family, name, value)
    missing = [name for name in family.parameters if name not in values]
    if missing:
        raise InputError(f"assume: no value of {_listed(missing)}")
    return {**{name: np.asarray(value) for name, value in family.known.items()}, **values}


def _parameter(family: Family, name: str, value: Any) -> Array:
    """A parameter of the family, one that a response can have."""
    numbers = _numbers(value, name, least=-np.inf if np.ndim(value) else 0.0)
    is_share = family.is_probability(name)
    if np.ndim(value) == 0 and family.positive_parameters and not (numbers < 1.0 if is_share else numbers > 0.0):
        raise InputError(f"assume({name}={value!r}): it is {'a share below 1' if is_share else 'above zero'}")
    return numbers


def with_response(formula: Formula, data: Any, family: Family, parameters: Mapping[str, Any]) -> pd.DataFrame:
    """The table of a study that is not yet made, with values of its response that the family can have.

    They play no part: nothing is estimated from them.

    Raises
    ------
    InputError
        A response that is no plain name, or a parameter of the family that is missing.
    """
    frame = as_frame(data)
    name = formula.response
    if name in frame.columns:
        return frame
    if not name.isidentifier():
        raise InputError(
            f"assume: the table has no {name!r}. Of a response that is more than a name its columns have to be there, "
            "with any values that the family can have."
        )
    missing = [parameter for parameter in family.parameters if parameter not in parameters]
    if missing:
        raise InputError(f"assume: no value of {_listed(missing)}")
    rng, shape = default_rng(1), (len(frame),)
    values = {parameter: _parameter(family, parameter, parameters[parameter]) for parameter in family.parameters}
    if family.has_mean:
        values = {parameter: np.broadcast_to(value, shape) for parameter, value in values.items()}
    for _ in range(TRIES):
        y = family.draw(np.full(shape, MIDDLE), values, None, rng)
        if np.ptp(y) > 0.0 and (not family.has_cutpoints or len(np.unique(y)) == np.size(parameters["cutpoint"]) + 1):
            return frame.assign(**{name: y})
    raise InputError(f"assume: {TRIES} simulated responses of {len(frame):,} rows were constant; add a column {name!r}")
