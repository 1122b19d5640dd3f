"""The naming contract: what the variables and dimensions of draws are called, for every sampler.

Variables ``beta[coef]``, the parameters of the family, of residuals with parameters besides sigma
``log_ratio[log_ratio_term]`` and ``rho[rho_term]``, and for a grouping factor g ``sd_g[g_term]``,
``cor_g[g_term, g_term_bis]`` and ``b_g[g, g_term]``. Where a name is taken already, by something that stands earlier in
`Names`, or cannot stand in a file, the later one is changed: a factor ``obs`` has the dimension ``obs_level``. So every
name is looked up here, and none is made or taken apart elsewhere; tables keep the user's words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

EACH = ("chain", "draw")  # dimensions of every draw
ARVIZ = (  # dimensions that ArviZ makes, and coordinates of its figures: its functions fail where draws have them
    "sample",
    "variable",
    "column",
    "model",
    "plot",
    "summary",
    "ci_bound",
    "plot_axis",
    "kde_dim",
    "qd_dim",
    "var_name",
    "__variable__",
)
ROW, COEF, THRESHOLD = "obs", "coef", "threshold"
LOO = "loo_{}"  # a group of the tree, by unit
BETA, CUTPOINT, RESPONSE, OBSERVED = "beta", "cutpoint", "y", "response"
LOG_RATIO, RHO = "log_ratio", "rho"  # parameters of residuals: log ratios of sds to sigma, and correlations
LOG_RATIO_TERM, RHO_TERM = "log_ratio_term", "rho_term"

ByGroup = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of one model; mappings are keyed by the grouping factor.

    Attributes
    ----------
    sd, cor, b, coef : mapping
        Variables: sds, correlations, effects, and the sums of fixed and random effects.
    level, term, other, coef_term, pair : mapping
        Dimensions: levels, columns, columns once more (of a correlation matrix), columns of ``coef``, correlated pairs.
    loo : mapping
        Groups of the tree: what leave-one-out found by level of a factor.
    sd_at_means, cor_at_means : mapping
        Variables: sds and correlations where intercepts are those at the means of the slopes' predictors, of factors
        whose priors are stated there.
    dims : mapping
        The dimensions of every variable of a posterior, beyond chain and draw.
    """

    sd: ByGroup
    cor: ByGroup
    b: ByGroup
    coef: ByGroup
    level: ByGroup
    term: ByGroup
    other: ByGroup
    coef_term: ByGroup
    pair: ByGroup
    loo: ByGroup
    sd_at_means: ByGroup
    cor_at_means: ByGroup
    dims: Mapping[str, tuple[str, ...]]

    @property
    def effects(self) -> frozenset[str]:
        """The variables that hold random effects."""
        return frozenset(self.b.values())

    @property
    def correlations(self) -> frozenset[str]:
        """The variables that hold correlation matrices."""
        return frozenset((*self.cor.values(), *self.cor_at_means.values()))

    def spread_of(self, group: str, at_means: bool) -> tuple[str, str]:
        """The variables of a factor's sds and correlations: at zero, or at the means of predictors."""
        sd, correlation = (self.sd_at_means, self.cor_at_means) if at_means else (self.sd, self.cor)
        return sd[group], correlation[group]

    def loo_of(self, unit: str) -> str:
        """What leave-one-out found by level of a factor, or of a unit of correlated residuals that is none."""
        return self.loo.get(unit, LOO.format(unit))

    @property
    def at_means(self) -> frozenset[str]:
        """The variables that say once more what others say, at the means of predictors."""
        return frozenset((*self.sd_at_means.values(), *self.cor_at_means.values()))


@lru_cache(maxsize=64)
def contract(
    parameters: tuple[str, ...],
    x_names: tuple[str, ...],
    groups: tuple[tuple[str, tuple[str, ...]], ...],
    residual: tuple[str, ...] = (),
    predicted: tuple[tuple[str, str], ...] = (),
) -> Names:
    """The names of a model.

    Parameters
    ----------
    parameters : tuple of str
        The family's, and the coefficients of those that have a linear predictor.
    x_names : tuple of str
        Columns of the fixed part.
    groups : tuple of (str, tuple of str)
        Each grouping factor with its columns.
    residual : tuple of str
        Which of `LOG_RATIO` and `RHO` there are.
    predicted : tuple of (str, str)
        The variables of such coefficients, and their dimensions.

    Examples
    --------
    >>> names = contract(("sigma",), ("Intercept",), (("g", ("Intercept",)), ("obs", ("Intercept",))))
    >>> dict(names.level), names.dims["b_obs"]
    ({'g': 'g', 'obs': 'obs_level'}, ('obs_level', 'obs_term'))
    """
    taken = _Taken((*EACH, *ARVIZ, ROW, COEF, THRESHOLD, BETA, *parameters, *(dim for _, dim in predicted)))
    terms = {LOG_RATIO: LOG_RATIO_TERM, RHO: RHO_TERM}
    taken.update(name for kind in residual for name in (kind, terms[kind]))
    factors = [name for name, _ in groups]

    def each(template: str) -> ByGroup:
        return MappingProxyType({name: taken.new(template.format(name)) for name in factors})

    sd, correlation, b, coef = each("sd_{}"), each("cor_{}"), each("b_{}"), each("coef_{}")
    level = MappingProxyType({name: taken.new(_listed(name), "_level") for name in factors})
    term, other = (
        MappingProxyType({name: taken.new(_listed(name) + ending) for name in factors})
        for ending in ("_term", "_term_bis")
    )
    dims: dict[str, tuple[str, ...]] = {name: () for name in parameters}
    dims |= {kind: (terms[kind],) for kind in residual}
    if CUTPOINT in dims:
        dims[CUTPOINT] = (THRESHOLD,)
    dims |= {variable: (dim,) for variable, dim in predicted}
    if x_names:
        dims[BETA] = (COEF,)
    for factor in factors:
        dims |= {
            sd[factor]: (term[factor],),
            correlation[factor]: (term[factor], other[factor]),
            b[factor]: (level[factor], term[factor]),
        }
    coef_term, pair, loo = each("{}_coef"), each("{}_pair"), each(LOO)
    sd_at_means, cor_at_means = each("sd_{}_at_means"), each("cor_{}_at_means")
    for factor in factors:
        dims |= {sd_at_means[factor]: dims[sd[factor]], cor_at_means[factor]: dims[correlation[factor]]}
    taken.update((RESPONSE, OBSERVED))
    return Names(
        sd=sd,
        cor=correlation,
        b=b,
        coef=coef,
        level=level,
        term=term,
        other=other,
        coef_term=coef_term,
        pair=pair,
        loo=loo,
        sd_at_means=sd_at_means,
        cor_at_means=cor_at_means,
        dims=MappingProxyType(dims),
    )


def _listed(dimension: str) -> str:
    """A dimension's name as nutpie can keep it, which writes those of a variable between commas."""
    return dimension.replace(",", ";")


class _Taken(set[str]):
    """Names that are taken."""

    def new(self, preferred: str, ending: str = "_") -> str:
        """The name wanted, if a file can hold it and it is free; else one like it."""
        name = preferred.encode("utf-8", "replace").decode().replace("/", "_").replace("\0", "_")
        if not name.replace(".", "").strip():
            name += ending
        while name in self:
            name, ending = name + ending, "_"
        self.add(name)
        return name


def as_labels(values: Sequence[Any]) -> np.ndarray:
    """Labels of any kind as an object array (k,)."""
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array
