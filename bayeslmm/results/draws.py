"""The record of a posterior: draws, and what they are draws of. Verbs are functions of it.

Naming contract of ``idata.posterior``, whatever the method: ``beta[coef]``, the parameters of the family (``sigma``,
``nu``, ``shape``, ``phi``, ``zi``, ``hu``, ``zoi``, ``coi``, ``cutpoint[threshold]``) or the coefficients of their
linear predictors (``beta_zi[coef_zi]``), ``sd_<group>[<group>_term]``, ``cor_<group>[<group>_term, <group>_term_bis]``,
``b_<group>[<group>, <group>_term]``. A factor in the predictor of a parameter is a group ``zi_<group>``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..covariances.template import covariance
from ..design.design import Design, GroupTerm
from ..design.identification import by_form_alone, untold_variances
from ..design.priors import Priors
from ..errors import NotAvailableError, UnknownArgumentError
from ..tools.arrays import Array
from ..tools.words import is_one_of
from .convergence import convergence
from .diagnosis import Diagnosis
from .misnamed import variable_hint
from .reading import for_reading
from .settings import Settings
from .summaries import summarise
from .variance import Values


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Draws:
    """Draws of a posterior.

    Attributes
    ----------
    design : Design
        What was fitted.
    priors : Priors
        Every prior with its scale and reason.
    idata : xarray.DataTree
        Draws; any ArviZ function takes it.
    diagnosis : Diagnosis
        R-hat, effective sample sizes, divergences, E-BFMI and what follows from them.
    settings : Settings
        How it was sampled.
    ci_prob : float
        Probability of the intervals in tables (0.95); verbs take others.
    ci_kind : {"eti", "hdi"}
        Whether these are equal-tailed or of highest density.
    """

    design: Design
    priors: Priors
    idata: Any
    diagnosis: Diagnosis
    settings: Settings
    ci_prob: float = 0.95
    ci_kind: str = "eti"

    def draws(self, name: str | None = None) -> Array:
        """Draws of one variable as an array (chain, draw, ...)."""
        if not is_one_of(name, self.idata.posterior.data_vars):
            hint = variable_hint(name, self.design, self.idata.posterior.data_vars)
            if name is None:
                raise UnknownArgumentError(f"draws(): say of which variable. {hint}")
            raise NotAvailableError(f"these draws hold no {name!r}, so what needs it cannot be told. {hint}")
        return self.idata.posterior[name].to_numpy()

    @property
    def n_chains(self) -> int:
        """Number of chains."""
        return int(self.idata.posterior.sizes["chain"])

    @property
    def n_draws(self) -> int:
        """Draws a chain."""
        return int(self.idata.posterior.sizes["draw"])

    @property
    def verdict(self) -> str:
        """What the diagnostics say, in words, and where the priors decide what the data do not tell."""
        combinations = untold_variances(self.design)
        alone = by_form_alone(self.design)
        return (
            str(self.diagnosis)
            + (f"; of the sds {combinations}, the rest is the priors'" if combinations else "")
            + (f"; {alone}, so that the priors decide much of the split" if alone else "")
        )

    def _convergence(self, draws: Array) -> tuple[Array, Array, Array]:
        """R-hat, bulk and tail effective sizes (k,) of draws (chain, draw, k) of this posterior."""
        return convergence(draws)

    def covariances(self) -> list[Array]:
        """Covariance matrix of the random effects of each factor of the mean, per draw (chain, draw, q, q)."""
        return [covariance_of(self, group) for group in self.design.groups]

    @property
    def values(self) -> Values:
        """β, covariance matrices and the family's parameters as arrays (chain, draw, ...)."""
        present = self.idata.posterior.data_vars
        empty = np.zeros((self.n_chains, self.n_draws, 0))
        family = self.design.family
        drawn = {name: self.draws(name) for name in self.design.parameters if name in present}
        return Values(
            beta=self.draws("beta") if self.design.x_names else empty,
            covariances=tuple(self.covariances()),
            family=family.complete(drawn, empty.shape[:-1]),
            residual=self._residual_values(),
            curves=self._curves(present),
        )

    def _residual_values(self) -> Array | None:
        """Parameters of residuals besides sigma (chain, draw, d + r)."""
        part = self.design.residual
        return None if part is None else np.concatenate([self.draws(name) for name in part.variables], axis=-1)

    def _curves(self, present: Any) -> tuple[Array, ...] | None:
        """The coefficients of every smooth; None of draws made elsewhere that lack some."""
        names = [self.design.names.b[smooth.name] for smooth in self.design.smooths]
        return tuple(self.draws(name)[..., 0] for name in names) if set(names) <= set(present) else None

    def summarise(
        self,
        values: Array,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
        *,
        signs: bool | NDArray[np.bool_] = False,
    ) -> pd.DataFrame:
        """mean, sd, median and interval of draws (chain, draw, k); with ``signs``, of all or some, p_positive too."""
        prob = self.ci_prob if ci_prob is None else ci_prob
        kind = self.ci_kind if ci_kind is None else ci_kind
        return for_reading(summarise(values, prob, kind, signs=signs))


def add_group(record: Draws, group: str, dataset: Any) -> None:
    """Put a Dataset into ``idata`` as a group."""
    import xarray as xr

    record.idata[group] = xr.DataTree(dataset)


def of_all_groups(record: Draws) -> tuple[Design, Values]:
    """The design and its values for verbs of variances; of all categories' groups where these have predictors."""
    if not record.design.of_categories:
        return record.design, record.values
    groups = record.design.parameter_groups
    covariances = tuple(covariance_of(record, group) for group in groups)
    return replace(record.design, groups=groups, predictors={}), replace(record.values, covariances=covariances)


def covariance_of(record: Draws, group: GroupTerm) -> Array:
    """Covariance matrix of the effects of a term, of the mean or of another parameter, per draw (chain, draw, q, q)."""
    sd = record.draws(record.design.names.sd[group.name])
    name = record.design.names.cor[group.name]
    correlation = record.draws(name) if name in record.idata.posterior.data_vars else np.eye(group.q)
    return covariance(sd, correlation)
