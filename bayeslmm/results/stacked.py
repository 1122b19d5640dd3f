"""Posteriors of one model given several imputed tables as one: their draws, as many of each, chains side by side.

What follows from draws alone is told of all of them together. What looks at rows as well (averages over them, R², the
coding of new rows) is asked of every table's own fit, and its draws are put together. What is of the rows of one table,
such as leaving them out, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from ..design.names import EACH
from ..engine.randomness import seed_sequence
from ..errors import InputError, NotAvailableError
from ..tools.arrays import Array
from ..tools.frame import as_frame
from ..tools.summed import GoneRows, called_verb
from . import means, posterior_tables, streamed, wald
from .beside import beside_data
from .diagnosis import Diagnosis
from .effects import RATIOS
from .hypotheses import hypothesis_over
from .posterior import PosteriorFit
from .posterior_tidy import diagnostics
from .reading import tables_for_reading
from .summaries import P_POSITIVE, SUMMARY, check_interval
from .tables import stack, wide_table
from .targets import Transform, check_count

AT_ONCE = 20_000_000  # numbers of a prediction that are held at a time
NUMBERS = {"mean": "mean", "estimate": "mean", "sd": "sd", "std_error": "sd"} | {
    name: name for name in ("median", "conf_low", "conf_high", P_POSITIVE)
}


class RowsOfTables(GoneRows):
    """Rows of imputed tables, which are those of no single one: their number is known, whatever else is refused."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Refused as the values are."""
        raise self._refusal()

    def _refusal(self) -> NotAvailableError:
        return of_one_table(called_verb())

    def __reduce__(self) -> Any:
        return (RowsOfTables, (len(self),))


def of_one_table(verb: str) -> NotAvailableError:
    """The error for what is of the rows of one table."""
    return NotAvailableError(
        f"{verb} is of the rows of one table, and those of imputed tables differ: ask every fit of .fits"
    )


def _refused(verb: str) -> Callable[..., NoReturn]:
    def refuse(self: Any, *arguments: Any, **options: Any) -> NoReturn:
        raise of_one_table(verb)

    refuse.__name__ = verb
    refuse.__doc__ = f"Refused: ``{verb}`` is of the rows of one table; the fits in ``fits`` have it."
    return refuse


@tables_for_reading
@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class StackedFit(PosteriorFit):
    """Posteriors of one model given several imputed tables as one, under the verbs of a posterior.

    Attributes
    ----------
    fits : tuple of PosteriorFit
        One a table. ``design``, ``priors`` and ``settings`` are those of the first one, but for the response;
        ``diagnosis`` is the worst of all, each table's chains among themselves: that tables differ is no doubt about
        a sampler.

    References
    ----------
    Zhou & Reiter (2010), A note on Bayesian inference after multiple imputation, Am. Stat. 64.
    """

    fits: tuple[PosteriorFit, ...]

    fitted = _refused("fitted")
    residuals = _refused("residuals")
    augment = _refused("augment")
    simulate = _refused("simulate")
    loo = _refused("loo")
    refit = _refused("refit")
    with_priors = _refused("with_priors")
    compute_log_likelihood = _refused("compute_log_likelihood")
    compute_log_prior = _refused("compute_log_prior")
    compute_posterior_predictive = _refused("compute_posterior_predictive")
    prior_sensitivity = _refused("prior_sensitivity")
    prior_influence = _refused("prior_influence")
    pseudo_r2 = _refused("pseudo_r2")
    heterogeneity = _refused("heterogeneity")
    smooth = _refused("smooth")
    smooths = _refused("smooths")

    @property
    def verdict(self) -> str:
        """What the diagnostics of every table's draws say."""
        doubtful = [
            f"table {k}: {fit.verdict}" for k, fit in enumerate(self.fits, start=1) if not fit.diagnosis.converged
        ]
        return "; ".join(doubtful) or f"{len(self.fits)} imputed tables, all {self.diagnosis}"

    def _convergence(self, draws: Array) -> tuple[Array, Array, Array]:
        """The largest R-hat of any table, and effective sizes (k,) that are sums of those of all tables."""
        of_tables = [fit._convergence(part) for fit, part in zip(self.fits, self._by_table(draws), strict=True)]
        rhat, bulk, tail = (np.array(each) for each in zip(*of_tables, strict=True))
        return rhat.max(axis=0), bulk.sum(axis=0), tail.sum(axis=0)

    def _by_table(self, draws: Array) -> list[Array]:
        return np.split(draws, len(self.fits))

    def _side_by_side(
        self,
        verb: str,
        arguments: tuple[Any, ...] = (),
        *,
        draws: bool | int = False,
        random_seed: int | None = None,
        null: float = 0.0,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
        **options: Any,
    ) -> Any:
        """A verb of every fit, its draws put together: as a DataArray, or summarised in the first one's table."""
        m = len(self.fits)
        each: list[dict[str, Any]] = [dict(options) for _ in self.fits]
        if random_seed is not None:
            for own, seed in zip(each, _seeds(random_seed, m), strict=True):
                own["random_seed"] = seed
        check_interval(self.ci_prob if ci_prob is None else ci_prob, self.ci_kind if ci_kind is None else ci_kind)
        wanted = draws or True
        if not isinstance(wanted, bool):
            check_count("draws", wanted)
            wanted = -(-wanted // m)
        parts = [getattr(fit, verb)(*arguments, **own, draws=wanted) for fit, own in zip(self.fits, each, strict=True)]
        joined = _joined(verb, parts)
        if draws is not False:
            return joined
        table = getattr(self.fits[0], verb)(*arguments, **each[0])
        values = joined.to_numpy().reshape(*joined.shape[:2], -1)
        numbers = self.summarise(values, ci_prob, ci_kind)
        numbers[P_POSITIVE] = (values > null).mean(axis=(0, 1))
        numbers[np.isnan(values).any(axis=(0, 1))] = np.nan
        told = {str(name): numbers[NUMBERS[str(name)]].to_numpy() for name in table if str(name) in NUMBERS}
        if P_POSITIVE in told:  # of what cannot be negative it is missing
            told[P_POSITIVE] = np.where(table[P_POSITIVE].isna(), np.nan, told[P_POSITIVE])
        return table.assign(**told)

    # -- what looks at rows: by every table's fit

    def icc(
        self,
        *,
        at: Mapping[str, Sequence[Any]] | str | None = None,
        by_group: bool = True,
        draws: bool = False,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> Any:
        """As of a posterior; each table's at its own rows."""
        asked: dict[str, Any] = {"draws": draws, "ci_prob": ci_prob, "ci_kind": ci_kind}
        return self._side_by_side("icc", at=at, by_group=by_group, **asked)

    def r2(self, *, draws: bool = False, ci_prob: float | None = None, ci_kind: str | None = None) -> Any:
        """As of a posterior; each table's at its own rows."""
        return self._side_by_side("r2", draws=draws, ci_prob=ci_prob, ci_kind=ci_kind)

    def bayes_r2(self, *, draws: bool = False, ci_prob: float | None = None, ci_kind: str | None = None) -> Any:
        """As of a posterior; each table's at its own rows."""
        return self._side_by_side("bayes_r2", draws=draws, ci_prob=ci_prob, ci_kind=ci_kind)

    def variance_components(
        self, *, draws: bool = False, ci_prob: float | None = None, ci_kind: str | None = None
    ) -> Any:
        """As of a posterior; each table's at its own rows."""
        return self._side_by_side("variance_components", draws=draws, ci_prob=ci_prob, ci_kind=ci_kind)

    def within_correlation(
        self,
        at: Mapping[str, Sequence[Any]] | str,
        *,
        group: str | None = None,
        wide: bool = False,
        draws: bool = False,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> Any:
        """As of a posterior; variables that are not named are held where each table has them."""
        asked: dict[str, Any] = {"draws": draws, "ci_prob": ci_prob, "ci_kind": ci_kind}
        table = self._side_by_side("within_correlation", (at,), group=group, **asked)
        if draws or not wide:
            return table
        matrices = [fit.within_correlation(at, group=group, wide=True) for fit in self.fits]
        return matrices[0] * 0.0 + np.mean(matrices, axis=0)

    def coef(
        self, *, wide: bool = False, draws: bool = False, ci_prob: float | None = None, ci_kind: str | None = None
    ) -> Any:
        """As of a posterior; a term that a bar codes differently is told in the columns of each table's fit."""
        import xarray as xr

        datasets = [_in_order(fit.coef(draws=True), self.fits[0]) for fit in self.fits]
        joined = {name: _joined("coef", [each[name] for each in datasets]) for name in datasets[0].data_vars}
        if draws:
            return xr.Dataset(joined)
        names = self.design.names
        factors = {names.coef[group.name]: group.name for group in self.design.every_group if group.is_grouping}
        parts = []
        for name, values in joined.items():
            levels, terms = (values[dim].to_numpy() for dim in values.dims[2:])
            group, numbers = factors[str(name)], values.to_numpy()
            parts.append(posterior_tables.of_levels(self, group, levels, terms, numbers, ci_prob, ci_kind))
        table = stack(parts, (*SUMMARY, P_POSITIVE))
        return wide_table(table, "mean") if wide else table

    def glance(self, *, loo: bool | None = None) -> pd.DataFrame:
        """As of a posterior, without what leaves rows out."""
        if loo:
            raise of_one_table("glance(loo=True)")
        means_of_fits = pd.concat([fit.glance(loo=False) for fit in self.fits]).mean().to_frame().T
        return means_of_fits.assign(nobs=self.nobs, **diagnostics(self.diagnosis))

    def comparisons(self, variable: str, **options: Any) -> Any:
        """As of a posterior; each table's numbers are averages over its own rows."""
        null = 1.0 if options.get("kind", "difference") in RATIOS else 0.0
        return self._side_by_side("comparisons", (variable,), null=null, **options)

    def slopes(self, variable: str, **options: Any) -> Any:
        """As of a posterior; each table's numbers are averages over its own rows."""
        return self._side_by_side("slopes", (variable,), **options)

    def hypothesis(
        self,
        hypotheses: str | Sequence[str],
        *,
        rope: float | tuple[float, float] | None = None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> pd.DataFrame:
        """As of a posterior, by the draws of all tables."""
        return hypothesis_over(self.fits, hypotheses, rope=rope, ci_prob=ci_prob, ci_kind=ci_kind)

    def _marginal(
        self, of: Any, ddf: str | None, ci_prob: float | None, ci_kind: str | None, **request: Any
    ) -> means.Means:
        verb = "trends" if request.get("trend") else "means"
        wald.refuse_ddf(verb, ddf)
        if self.design.smooths:
            raise NotAvailableError(f"{verb}: not offered for smooths of imputed tables; .fits are the single fits")
        parts = [fit._marginal(of, ddf, ci_prob, ci_kind, **request) for fit in self.fits]
        return means.over_tables(parts, means.of_draws(self, ci_kind))

    @streamed.of_new_rows
    def predict(
        self,
        newdata: pd.DataFrame | None = None,
        *,
        groups: str | Mapping[str, str] = "observed",
        kind: str = "mean",
        draws: bool | int = False,
        shares: bool = False,
        random_seed: int | None = None,
        offset: Any = None,
        trials: Any = None,
        transform: Transform | None = None,
        parameter: str | None = None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
        with_data: bool = False,
    ) -> Any:
        """As of a posterior, by the draws of all tables.

        Without ``newdata`` every table predicts its own rows, which have to have the same labels and, each, the same
        groups. ``shares`` are of one fit, and refused.
        """
        if shares:
            raise of_one_table("predict(shares=True)")
        asked: dict[str, Any] = {"groups": groups, "kind": kind, "offset": offset, "trials": trials}
        asked |= {"transform": transform, "parameter": parameter, "ci_prob": ci_prob, "ci_kind": ci_kind}
        if newdata is None:
            if with_data:
                raise of_one_table("predict(with_data=True) of no newdata")
            refuse_other_rows(self.fits)
        else:
            newdata = as_frame(newdata)
        blocks = [newdata]
        if newdata is not None and draws is False and not any(np.ndim(values) for values in (offset, trials)):
            # a table tells each row by itself, so that new groups may have other draws in other blocks of rows
            size = max(1, AT_ONCE // (self.n_chains * self.n_draws * max(len(self.design.levels), 1)))
            blocks = [newdata.iloc[start : start + size] for start in range(0, max(len(newdata), 1), size)]
        seeds = [random_seed] if len(blocks) == 1 else _seeds(random_seed, len(blocks))
        parts = [
            self._side_by_side("predict", (block,), draws=draws, random_seed=seed, **asked)
            for block, seed in zip(blocks, seeds, strict=True)
        ]
        table = parts[0] if len(parts) == 1 else pd.concat(parts)
        if with_data and draws is False:
            return beside_data(table, self.design, newdata, groups, ci_prob, ci_kind)
        return table


def _seeds(random_seed: int | None, count: int) -> list[int | None]:
    if random_seed is None:
        return [None] * count
    return [int(seed >> 1) for seed in seed_sequence(random_seed).generate_state(count)]


def _joined(verb: str, parts: Sequence[Any]) -> Any:
    """DataArrays (chain, draw, ...) of the same numbers, their chains side by side.

    Raises
    ------
    InputError
        They are of other numbers in other tables.
    """
    import xarray as xr

    first = parts[0]
    for part in parts[1:]:
        names = [*(set(first.coords) | set(part.coords))]
        alike = first.sizes == part.sizes and all(
            name in EACH or (name in first.coords and name in part.coords and first[name].equals(part[name]))
            for name in names
        )
        if not alike:
            raise InputError(
                f"{verb}(at=...): the tables differ in where this would be told; give its values, at={{'x': [0, 1]}}"
            )
    values = np.concatenate([part.to_numpy() for part in parts])
    coords = {name: coord for name, coord in first.coords.items() if "chain" not in coord.dims}
    return xr.DataArray(values, dims=first.dims, coords=coords, name=first.name, attrs=first.attrs)


def refuse_other_rows(fits: Sequence[Any]) -> None:
    """Raise InputError where a row of one table is not the same row, of the same groups, in all."""
    first = fits[0].design
    for k, fit in enumerate(fits[1:], start=2):
        if not fit.design.index.equals(first.index):
            differ = "other labels of rows"
        else:
            names = [
                one.name
                for one, other in zip(first.groups, fit.design.groups, strict=True)
                if not one.is_wide and not np.array_equal(_levels_of_rows(one), _levels_of_rows(other))
            ]
            if not names:
                continue
            differ = f"other levels of {names[0]!r} in its rows"
        raise InputError(
            f"predict(): table {k} has {differ} than the first, so that a row is not the same in all tables; give "
            "newdata"
        )


def _levels_of_rows(group: Any) -> Array:
    return np.array(group.levels, dtype=object)[group.codes]


def _in_order(dataset: Any, first: PosteriorFit) -> Any:
    """Draws of the same levels in the order that the first fit has them in."""
    names = first.design.names.level.values()
    levels = {name: first.idata.posterior[name].to_numpy() for name in names if name in dataset.dims}
    return dataset.sel(levels) if levels else dataset


def stacked(fits: Sequence[PosteriorFit]) -> StackedFit:
    """Posteriors of one model and the same levels as one; levels in the order of the first."""
    import xarray as xr

    first = fits[0]
    posteriors = [_in_order(fit.idata.posterior.to_dataset(), first) for fit in fits]
    kept = [name for name in posteriors[0].data_vars if all(name in each.data_vars for each in posteriors)]
    variables = {
        name: (posteriors[0][name].dims, np.concatenate([each[name].to_numpy() for each in posteriors]))
        for name in kept
    }
    coords = {name: coord for name, coord in posteriors[0].coords.items() if name not in EACH}
    posterior = xr.Dataset(variables, coords=coords)
    posterior = posterior.assign_coords({step: np.arange(posterior.sizes[step]) for step in EACH})
    samplers = {str(fit.idata.posterior.attrs.get("sampler", "NUTS")) for fit in fits}
    posterior.attrs = {"sample_dims": list(EACH), "sampler": "; ".join(sorted(samplers))}
    gone: Any = RowsOfTables(first.design.n)
    return StackedFit(
        design=replace(first.design, y=gone, X=gone),
        priors=first.priors,
        idata=xr.DataTree.from_dict({"posterior": posterior}),
        diagnosis=_worst([fit.diagnosis for fit in fits]),
        settings=first.settings,
        ci_prob=first.ci_prob,
        ci_kind=first.ci_kind,
        fits=tuple(fits),
    )


def _worst(diagnoses: Sequence[Diagnosis]) -> Diagnosis:
    def largest(values: Sequence[float | None]) -> float | None:
        numbers = [value for value in values if value is not None]
        return max(numbers) if numbers else None

    divergences = [each.divergences for each in diagnoses if each.divergences is not None]
    ebfmi = largest([None if each.min_ebfmi is None else -each.min_ebfmi for each in diagnoses])
    return Diagnosis(
        max_rhat=float(np.max([each.max_rhat for each in diagnoses])),
        min_ess_bulk=float(np.sum([each.min_ess_bulk for each in diagnoses])),
        min_ess_tail=float(np.sum([each.min_ess_tail for each in diagnoses])),
        divergences=sum(divergences) if divergences else None,
        min_ebfmi=None if ebfmi is None else -ebfmi,
        k_hat=largest([each.k_hat for each in diagnoses]),
        reasons=tuple(f"table {k}: {reason}" for k, each in enumerate(diagnoses, start=1) for reason in each.reasons),
    )
