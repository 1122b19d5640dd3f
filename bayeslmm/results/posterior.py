"""The posterior fit: the same verbs as the point fit, answered with distributions.

Naming contract of ``idata.posterior``, whatever the method: ``beta[coef]``, the parameters of the family (``sigma``,
``nu``, ``shape``, ``phi``, ``cutpoint[threshold]``), ``sd_<group>[<group>_term]``,
``cor_<group>[<group>_term, <group>_term_bis]``, ``b_<group>[<group>, <group>_term]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InputError, NotAvailableError
from ..spec.covariance import covariance
from ..spec.design import Design
from ..spec.priors import Priors, resolve_priors
from . import log_density, text, variance
from .diagnosis import Diagnosis, convergence
from .settings import Settings
from .tables import coefficient_terms, level_table, stack, wide_table

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PosteriorFit:
    """Posterior of a mixed model.

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
        Probability of the intervals in tables (0.95).
    """

    design: Design
    priors: Priors
    idata: Any
    diagnosis: Diagnosis
    settings: Settings
    ci_prob: float = 0.95

    # -- draws as arrays -------------------------------------------------------------------------------------

    def draws(self, name: str) -> Array:
        """Draws of one variable as an array (chain, draw, ...)."""
        if name not in self.idata.posterior.data_vars:
            raise NotAvailableError(f"these draws hold no {name!r}, so what needs it cannot be told")
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
    def nobs(self) -> int:
        """Number of rows used."""
        return len(self.design.y)

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels of each grouping factor."""
        return {g.name: g.n_levels for g in self.design.groups}

    @property
    def verdict(self) -> str:
        """What the diagnostics say, in words."""
        return str(self.diagnosis)

    def covariances(self) -> list[Array]:
        """Covariance matrix of the random effects of each factor, per draw (chain, draw, q, q)."""
        out = []
        for g in self.design.groups:
            sd = self.draws(f"sd_{g.name}")
            name = f"cor_{g.name}"
            cor = self.draws(name) if name in self.idata.posterior.data_vars else np.eye(g.q)
            out.append(covariance(sd, cor))
        return out

    def _residual_sd(self) -> tuple[Array | None, str]:
        """The residual sd on the scale of the linear predictor (chain, draw), or None and why there is none."""
        parts = [
            variance.mean_group_variance(g.Z, cov)
            for g, cov in zip(self.design.groups, self.covariances(), strict=True)
        ]
        posterior = self.idata.posterior
        random = sum(parts, np.zeros((self.n_chains, self.n_draws)))
        drawn = {name: posterior[name].to_numpy() for name in posterior.data_vars}
        found, why = variance.residual_variance(self.design, drawn, random)
        return (None if found is None else np.sqrt(found)), why

    def _compared_sd(self) -> Array:
        found, why = self._residual_sd()
        if found is None:
            raise NotAvailableError(why)
        return found

    def with_priors(self, priors: Mapping[Any, Any], **settings: Any) -> PosteriorFit:
        """The posterior under other priors, sampled in the same way.

        Parameters
        ----------
        priors : mapping
            Priors that replace or join those given before, under the keys that `bayeslmm.Model` takes.
        **settings
            What to change in the sampling: ``random_seed``, ``draws``, ...

        Examples
        --------
        >>> import bayeslmm as blm
        >>> model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
        >>> post = model.fit(random_seed=1)
        >>> other = post.with_priors({"sd": blm.Prior("HalfNormal", sigma=20)})
        >>> bool(other.draws("sd_Batch").mean() < post.draws("sd_Batch").mean())
        True
        """
        from .sampling import sample_posterior

        resolved = resolve_priors(self.design, priors, given=self.priors.given)
        return sample_posterior(self.design, resolved, self.settings.changed(settings))

    def refit(self, y: Any, **settings: Any) -> PosteriorFit:
        """The same model and priors with another response, such as a simulated one; nothing is compiled anew.

        Parameters
        ----------
        y : array-like (nobs,), or Series with the index labels of the rows used
            Response as the design holds it: successes for binomial, 0 and 1 for bernoulli, 0, 1, ... for categories.
        **settings
            What to change in the sampling: ``random_seed``, ``draws``, ...

        Raises
        ------
        DataError
            Another number of values, or values that the family cannot have.
        """
        from .sampling import sample_posterior

        design = self.design.with_response(y)
        return sample_posterior(design, self.priors, self.settings.changed(settings))

    def compute_log_likelihood(self) -> None:
        """Add the group ``log_likelihood`` to ``idata``: log p(y_i | β, b, σ), (chain, draw, obs)."""
        self._add("log_likelihood", log_density.log_likelihood(self.design, self.idata.posterior))

    def compute_log_prior(self) -> None:
        """Add the group ``log_prior`` to ``idata``: the log prior density of every fixed effect, sd, correlation, σ."""
        self._add("log_prior", log_density.log_prior(self.design, self.priors, self.idata.posterior))

    def _add(self, group: str, dataset: Any) -> None:
        import xarray as xr

        self.idata[group] = xr.DataTree(dataset)

    def prior_sensitivity(self) -> pd.DataFrame:
        """Sensitivity of every parameter to power scaling of the priors and of the likelihood, by ArviZ.

        Above 0.05 a posterior moves noticeably with the prior; with a sensitivity to the likelihood as well, prior and
        data pull it in different directions (Kallioinen, Paananen, Bürkner & Vehtari 2024). Adds the groups
        ``log_prior`` and ``log_likelihood`` to ``idata``.

        Returns
        -------
        DataFrame
            ``prior``, ``likelihood`` and ``diagnosis`` by parameter.
        """
        import xarray as xr
        from arviz_stats import psense_summary

        for group, compute in (
            ("log_prior", self.compute_log_prior),
            ("log_likelihood", self.compute_log_likelihood),
        ):
            if group not in self.idata.children:
                compute()
        groups = {group: self.idata[group].to_dataset() for group in ("log_prior", "log_likelihood")}
        tree = xr.DataTree.from_dict({"posterior": self._without_effects(), **groups})
        return psense_summary(tree, round_to=3).rename_axis("parameter")

    def _without_effects(self) -> Any:
        """The posterior without random effects; of each correlation matrix only what varies, (chain, draw, pair)."""
        import xarray as xr

        posterior = self.idata.posterior.to_dataset()
        kept = posterior.drop_vars(
            [name for name in posterior.data_vars if str(name).startswith(("b_", "cor_"))]
        )
        for g in self.design.groups:
            pairs = [(a, b) for block in g.blocks for i, a in enumerate(block) for b in block[i + 1 :]]
            if pairs:
                labels = [f"{g.columns[a]}, {g.columns[b]}" for a, b in pairs]
                draws = np.stack([self.draws(f"cor_{g.name}")[..., a, b] for a, b in pairs], axis=-1)
                pair = f"{g.name}_pair"
                kept[f"cor_{g.name}"] = xr.DataArray(
                    draws, dims=("chain", "draw", pair), coords={pair: np.array(labels, dtype=object)}
                )
        return kept

    # -- tables ----------------------------------------------------------------------------------------------

    def fixef(self, *, ci_prob: float | None = None) -> pd.DataFrame:
        """Fixed effects: mean, sd, median and equal-tailed interval, one row a coefficient."""
        table = summarise(self.draws("beta"), ci_prob or self.ci_prob)
        return table.set_index(pd.Index(self.design.x_names, name="term"))

    def ranef(self, *, wide: bool = False, draws: bool = False, ci_prob: float | None = None) -> Any:
        """Posterior of the random effects b.

        Parameters
        ----------
        wide : bool
            One row a level, one column a term (posterior means).
        draws : bool
            An ``xarray.Dataset`` of draws (chain, draw, level, term) instead of a table.
        ci_prob : float, optional
            Probability of the equal-tailed interval.
        """
        names = {g.name: f"b_{g.name}" for g in self.design.groups}
        if draws:
            return self.idata.posterior.to_dataset()[list(names.values())]
        parts = [
            self._levels(g.name, g.levels, g.columns, self.draws(names[g.name]), ci_prob)
            for g in self.design.groups
        ]
        table = stack(parts)
        return wide_table(table, "mean") if wide else table

    def coef(self, *, wide: bool = False, ci_prob: float | None = None) -> pd.DataFrame:
        """Posterior of β + b for every level of every grouping factor, over the union of fixed and random terms."""
        parts = []
        beta = self.draws("beta")
        for g in self.design.groups:
            names, fixed, where = coefficient_terms(self.design.x_names, g.columns)
            values = np.zeros((*beta.shape[:2], g.n_levels, len(names)))
            values[..., : len(fixed)] = beta[:, :, None, :]
            values[..., where] += self.draws(f"b_{g.name}")
            parts.append(self._levels(g.name, g.levels, names, values, ci_prob))
        table = stack(parts)
        return wide_table(table, "mean") if wide else table

    def var_corr(self) -> dict[str, pd.DataFrame]:
        """Posterior mean of the covariance matrix of the random effects of each grouping factor."""
        return {
            g.name: pd.DataFrame(cov.mean(axis=(0, 1)), index=list(g.columns), columns=list(g.columns))
            for g, cov in zip(self.design.groups, self.covariances(), strict=True)
        }

    def variance_components(self, *, ci_prob: float | None = None) -> pd.DataFrame:
        """Posterior of variance, sd, share of the total and correlations; rows as in the point fit's table."""
        rows = variance.components(self.design, self.covariances(), self._residual_sd()[0])
        table = pd.DataFrame([labels for *labels, _ in rows], columns=["group", "term", "quantity"])
        values = np.stack([value for *_, value in rows], axis=-1)
        return table.join(summarise(values, ci_prob or self.ci_prob))

    def icc(
        self,
        *,
        at: dict[str, list[float]] | None = None,
        draws: bool = False,
        ci_prob: float | None = None,
    ) -> Any:
        """Posterior of the intraclass correlations: adjusted, unadjusted, by grouping factor; or at given values.

        ``draws=True`` gives an ``xarray.DataArray`` (chain, draw, icc). Definitions: :mod:`.variance`.
        """
        import xarray as xr

        covariances, sigma = self.covariances(), self._compared_sd()
        if at is not None:
            grid, values = variance.icc_at(self.design, covariances, sigma, at)
            if draws:
                return xr.DataArray(values, dims=("chain", "draw", "row"))
            return grid.join(summarise(values, ci_prob or self.ci_prob))
        fixed = variance.fixed_part_variance(self.design, self.draws("beta"))
        parts = variance.icc(self.design, covariances, sigma, fixed)
        values = np.stack(list(parts.values()), axis=-1)
        if draws:
            return xr.DataArray(values, dims=("chain", "draw", "icc"), coords={"icc": list(parts)})
        return summarise(values, ci_prob or self.ci_prob).set_index(pd.Index(parts, name="icc"))

    def r2(self, *, draws: bool = False, ci_prob: float | None = None) -> Any:
        """R² marginal and conditional of every draw (Nakagawa et al. 2017), summarised or as a DataArray."""
        import xarray as xr

        fixed = variance.fixed_part_variance(self.design, self.draws("beta"))
        parts = variance.r2(self.design, self.covariances(), self._compared_sd(), fixed)
        values = np.stack(list(parts.values()), axis=-1)
        if draws:
            return xr.DataArray(values, dims=("chain", "draw", "r2"), coords={"r2": list(parts)})
        return summarise(values, ci_prob or self.ci_prob).set_index(pd.Index(parts, name="r2"))

    def parameters(self, part: str) -> pd.DataFrame:
        """Summary with R-hat and ESS of ``"fixed"``, ``"family"`` or the sds and correlations of a grouping factor."""
        names, values = [], []
        if part == "fixed":
            names, values = list(self.design.x_names), [self.draws("beta")]
        elif part == "family":
            for name in self.design.family.parameters:
                drawn = self.draws(name)
                many = drawn.ndim == 3
                names += [f"{name}[{level}]" for level in self.design.levels[:-1]] if many else [name]
                values.append(drawn if many else drawn[..., None])
        else:
            known = {g.name: g for g in self.design.groups}
            if part not in known:
                raise InputError(
                    f"parameters({part!r}): parts are 'fixed', 'family', {', '.join(map(repr, known))}"
                )
            group = known[part]
            names = [f"sd({c})" for c in group.columns]
            values = [self.draws(f"sd_{group.name}")]
            for block in group.blocks:
                for i, a in enumerate(block):
                    for b in block[i + 1 :]:
                        names.append(f"cor({group.columns[a]}, {group.columns[b]})")
                        values.append(self.draws(f"cor_{group.name}")[..., a, b, None])
        if not names:  # a family without parameters besides its mean
            return pd.DataFrame(columns=[*SUMMARY, "rhat", "ess_bulk", "ess_tail"])
        stacked = np.concatenate(values, axis=-1)
        table = summarise(stacked, self.ci_prob).set_index(pd.Index(names, name="term"))
        rhat, bulk, tail = convergence(stacked)
        return table.assign(rhat=rhat, ess_bulk=bulk, ess_tail=tail)

    def _levels(self, group, levels, terms, values: Array, ci_prob) -> pd.DataFrame:  # type: ignore[no-untyped-def]
        flat = summarise(values.reshape(*values.shape[:2], -1), ci_prob or self.ci_prob)
        return level_table(group, levels, terms, **{c: flat[c].to_numpy() for c in flat})

    # -- print -----------------------------------------------------------------------------------------------

    def summary(self) -> text.Text:
        """brms-style tables: group-level, population-level and family parameters, and the verdict."""
        return text.posterior_summary(self)

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


SUMMARY = ("mean", "sd", "median", "conf_low", "conf_high")


def summarise(values: Array, ci_prob: float) -> pd.DataFrame:
    """Mean, sd, median and equal-tailed interval of draws (chain, draw, k): k rows."""
    if not 0.0 < ci_prob < 1.0:
        raise InputError(f"ci_prob={ci_prob}: the probability of an interval lies between 0 and 1")
    flat = values.reshape(-1, values.shape[-1])
    tail = (1.0 - ci_prob) / 2.0
    low, median, high = np.quantile(flat, [tail, 0.5, 1.0 - tail], axis=0)
    return pd.DataFrame(
        {
            "mean": flat.mean(axis=0),
            "sd": flat.std(axis=0, ddof=1),
            "median": median,
            "conf_low": low,
            "conf_high": high,
        }
    )
