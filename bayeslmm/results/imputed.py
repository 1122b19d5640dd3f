"""Fits of several imputed tables as one: Rubin's rules for estimates, stacked draws for posteriors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..errors import InputError, NotAvailableError, UnknownArgumentError
from ..tools.arrays import Array
from ..tools.frame import as_frame
from ..tools.lazy import stats
from . import wald
from .effects import RATIOS
from .means import Distribution, Means, over_tables
from .parameter_draws import parameter_draws
from .point import PointFit
from .posterior import PosteriorFit
from .posterior_tables import fixed_draws
from .reading import Shown
from .stacked import StackedFit, refuse_other_rows, stacked
from .statements import linear, parse
from .summaries import check_interval, summarise
from .tables import wide_table
from .targets import OF_POINTS, check_kind
from .text import Text, number, percent, probability, table
from .variance import PARTS

LARGE_SHARE = 0.5  # of a coefficient's variance between imputations: the imputation model decides
LEVEL = ["group", "level", "term"]  # columns that say whose effect a row is


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Imputed(Shown):
    """One model fitted to several imputed tables.

    Attributes
    ----------
    fits : tuple of PointFit or of PosteriorFit
        One a table, in their order; their verbs are those of a single fit. ``Imputed(fits=tuple(fits))`` puts fits
        together that were made, or saved and loaded, one by one.

    Raises
    ------
    InputError
        Fewer than two fits, or of other models, rows, columns or levels.
    """

    fits: tuple[Any, ...]

    def __post_init__(self) -> None:
        _refuse_unlike(self.fits)

    @property
    def is_posterior(self) -> bool:
        """Whether the fits are posteriors."""
        return isinstance(self.fits[0], PosteriorFit)

    @property
    def stacked(self) -> StackedFit:
        """The posteriors as one, which has the verbs of a posterior and can be drawn in pictures.

        Its draws are those of all tables, as many of each, their chains side by side. What is of the rows of one table
        (`loo`, residuals, checks of the response) is refused.

        Raises
        ------
        NotAvailableError
            Point fits have no draws.
        """
        if not self.is_posterior:
            raise NotAvailableError("stacked: these are point fits; fit_imputed(..., how='posterior') has draws")
        return stacked(self.fits)

    def fixef(self, *, ci_prob: float = 0.95, ci_kind: str = "eti") -> pd.DataFrame:
        """Fixed effects over all imputations.

        Parameters
        ----------
        ci_prob, ci_kind : float, {"eti", "hdi"}
            Probability of the intervals; of posteriors their kind.

        Returns
        -------
        DataFrame
            Of point fits estimate, std_error, df (Barnard & Rubin 1999, of complete data the residual ones), statistic,
            p_value, conf_low, conf_high; of posteriors mean, sd, median, interval and p_positive of the draws of all
            imputations together. ``between_share``: the part of the variance that imputations make (mice's
            ``lambda``); of point fits ``fmi``, the fraction of missing information.

        References
        ----------
        Rubin (1987), Multiple Imputation for Nonresponse in Surveys; Barnard & Rubin (1999), Biometrika 86; Zhou &
        Reiter (2010), A note on Bayesian inference after multiple imputation, Am. Stat. 64.
        """
        if self.is_posterior:
            betas = [fixed_draws(fit)[1] for fit in self.fits]
            names = pd.Index(fixed_draws(self.fits[0])[0], name="term")
            summary = summarise(np.concatenate(betas), ci_prob, ci_kind, signs=True).set_index(names)
            within = np.mean([draws.var(axis=(0, 1)) for draws in betas], axis=0)
            between = np.var([draws.mean(axis=(0, 1)) for draws in betas], axis=0)
            return summary.assign(between_share=_share(between, within + between))
        names = pd.Index(self.fits[0].design.coefficient_labels, name="term")
        estimate, within, between = _moments(self.fits)
        U, B = np.diag(within), np.diag(between)
        return _pooled(estimate, U, B, len(self.fits), self._complete_df, ci_prob).set_index(names)

    @property
    def _complete_df(self) -> float:
        return float(min(fit.df_resid for fit in self.fits))

    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the fixed effects, within and between imputations together."""
        if self.is_posterior:
            names = list(fixed_draws(self.fits[0])[0])
            draws = np.concatenate([fixed_draws(fit)[1] for fit in self.fits]).reshape(-1, len(names))
            return pd.DataFrame(np.cov(draws, rowvar=False).reshape(len(names), -1), index=names, columns=names)
        names = list(self.fits[0].design.coefficient_labels)
        _, within, between = _moments(self.fits)
        return pd.DataFrame(within + (1.0 + 1.0 / len(self.fits)) * between, index=names, columns=names)

    def parameters(self, *, ci_prob: float = 0.95, ci_kind: str = "eti") -> pd.DataFrame:
        """Sds, correlations and parameters of the family: means of the estimates, or the draws of all imputations.

        Returns
        -------
        DataFrame
            effect, group, term and, of point fits, estimate and the sd ``between`` imputations; of posteriors mean, sd,
            median, interval and, of correlations, p_positive.
        """
        if self.is_posterior:
            labels, draws = parameter_draws(self.stacked)
            not_fixed = (labels["part"] != PARTS[0]).to_numpy()
            signed = labels.loc[not_fixed, "signed"].to_numpy(dtype=bool)
            names = labels.loc[not_fixed, ["effect", "group", "term"]].reset_index(drop=True)
            return names.join(summarise(draws[..., not_fixed], ci_prob, ci_kind, signs=signed))
        check_interval(ci_prob, ci_kind)
        tables = [fit.tidy("ran_pars") for fit in self.fits]
        estimates = np.array([one_table["estimate"].to_numpy() for one_table in tables])
        kept = tables[0][[c for c in ("effect", "group", "term") if c in tables[0]]]
        return kept.assign(estimate=estimates.mean(axis=0), between=estimates.std(axis=0, ddof=1))

    def means(self, specs: Any, **options: Any) -> Means:
        """Marginal means over all imputations, with their contrasts: options as of :meth:`PointFit.means`.

        Numbers stand at the mean of their means in the tables; degrees of freedom are Barnard and Rubin's.

        Raises
        ------
        InputError
            ``ddf=``, of which there is one kind.
        NotAvailableError
            Models with smooths.
        """
        return self._pooled_means("means", (specs,), options)

    def trends(self, variable: str, specs: Any = None, **options: Any) -> Means:
        """Slopes of a number over all imputations: options as of :meth:`PointFit.trends`; see `means`."""
        return self._pooled_means("trends", (variable, specs), options)

    def _pooled_means(self, verb: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Means:
        if "ddf" in options:
            raise InputError(f"{verb}(ddf=...): of imputed tables degrees of freedom are Barnard and Rubin's")
        if self.is_posterior:
            pooled_means: Means = getattr(self.stacked, verb)(*arguments, **options)
            return pooled_means
        if any(fit.design.smooths for fit in self.fits):
            raise NotAvailableError(f"{verb}: not offered for smooths of imputed tables; .fits are the single fits")
        parts = [getattr(fit, verb)(*arguments, **options) for fit in self.fits]
        return over_tables(parts, self._distribution())

    def _distribution(self) -> Distribution:
        estimate, within, between = _moments(self.fits)
        m, complete = len(self.fits), self._complete_df
        total = within + (1.0 + 1.0 / m) * between

        def of(L: Array, matrix: Array) -> Array:
            return np.einsum("ka,ab,kb->k", L, matrix, L)

        def df(L: Array) -> Array:
            return _pooled(L @ estimate, of(L, within), of(L, between), m, complete, 0.95)["df"].to_numpy()

        return Distribution(
            estimate=estimate, variances=lambda L: of(L, total), df=df, covariance=total, caption="Barnard-Rubin df"
        )

    def comparisons(self, variable: str, **options: Any) -> pd.DataFrame:
        """How the expected response differs over all imputations: options as of :meth:`PointFit.comparisons`.

        Each table's numbers are averaged over its own rows. Point fits are pooled by Rubin's rules, with Barnard and
        Rubin's degrees of freedom; of posteriors the draws of all imputations are put together.

        Raises
        ------
        InputError
            ``ddf=``, of which there is one kind; of point fits ``draws=``.
        """
        return self._pooled_effects("comparisons", variable, options)

    def slopes(self, variable: str, **options: Any) -> pd.DataFrame:
        """How steeply the expected response rises over all imputations: as `comparisons`."""
        return self._pooled_effects("slopes", variable, options)

    def _pooled_effects(self, verb: str, variable: str, options: dict[str, Any]) -> pd.DataFrame:
        if "ddf" in options:
            raise InputError(f"{verb}(ddf=...): of imputed tables degrees of freedom are Barnard and Rubin's")
        if self.is_posterior:
            return getattr(self.stacked, verb)(variable, **options)
        if "draws" in options:
            raise InputError(f"{verb}(draws=...): point fits have no draws")
        first = getattr(self.fits[0], verb)(variable, **options)
        labels = first.loc[:, : first.columns[list(first.columns).index("estimate") - 1]]
        null = 1.0 if options.get("kind", "difference") in RATIOS else 0.0
        tables = [first, *(getattr(fit, verb)(variable, **options) for fit in self.fits[1:])]
        estimates, errors = _estimates_and_errors(tables)
        on_log = null == 1.0 and bool((estimates > 0.0).all())  # ratios
        if on_log:
            estimates, errors = np.log(estimates), errors / estimates
        ci_prob = options.get("ci_prob") or 0.95
        numbers = self._by_rubin(estimates, errors, ci_prob)
        if on_log:
            ratios = np.exp(numbers["estimate"])
            numbers = numbers.assign(estimate=ratios, std_error=ratios * numbers["std_error"])
        tested = wald.with_tests(
            numbers[["estimate", "std_error", "df"]], ci_prob, options.get("adjust", "none"), null=null, verb=verb
        )
        return labels.join(tested.assign(between_share=numbers["between_share"]))

    def predict(
        self,
        newdata: pd.DataFrame | None = None,
        *,
        groups: str | Mapping[str, str] = "observed",
        kind: str = "mean",
        interval: str | None = None,
        ci_prob: float = 0.95,
        offset: Any = None,
        **of_draws: Any,
    ) -> Any:
        """Predictions over all imputations: of point fits means, with intervals by Rubin's rules; of posteriors draws.

        Parameters
        ----------
        newdata : DataFrame, optional
            Complete rows, the same for every fit. Without it every fit predicts the rows of its own table, which
            have to have the same labels and, each, the same groups.
        groups, kind, offset
            As of :meth:`PointFit.predict`.
        interval : {None, "plug-in"}
            ``plug-in``: estimate ± t std_error, where the variance is the mean of the fits' plug-in variances and
            1 + 1/m times the variance between their predictions; degrees of freedom are Barnard and Rubin's. Of the
            linear predictor, ``kind="link"``, and of responses that are on its scale.
        ci_prob : float
            Probability of the interval.
        **of_draws
            Of posteriors further options of :meth:`PosteriorFit.predict`: ``draws``, ``random_seed``, ``trials``, ...

        Returns
        -------
        Series or DataFrame
            Of posteriors as of one, by the draws of all tables. Of point fits estimates with the index of ``newdata``,
            of ordinal responses one column a category; with ``interval`` estimate, std_error, df, conf_low, conf_high,
            interval, target_<factor> of a mixed target, and ``between_share`` as in `fixef`.

        Raises
        ------
        NotAvailableError
            Intervals of responses that a link bends, of point fits; ``shares`` of posteriors.
        InputError
            Another interval; no ``newdata`` where the tables' rows are not the same.
        UnknownArgumentError
            Options of draws, of point fits.

        References
        ----------
        Rubin (1987), Multiple Imputation for Nonresponse in Surveys, chapter 3; van Buuren (2018), Flexible Imputation
        of Missing Data, sections 2.3 and 5.1: of quantities that are near to normal, so not beyond a link.
        """
        if self.is_posterior:
            if interval is not None:
                raise InputError(
                    f"predict(interval={interval!r}): of posteriors intervals are those of the draws, always there"
                )
            return self.stacked.predict(newdata, groups=groups, kind=kind, ci_prob=ci_prob, offset=offset, **of_draws)
        _refuse_of_draws("predict", of_draws)
        check_kind(kind, OF_POINTS)
        family = self.fits[0].design.family
        if interval not in (None, "plug-in"):
            raise InputError(
                f"predict(interval={interval!r}): of imputed tables it is 'plug-in'; the fits in .fits have others"
            )
        if interval and kind != "link" and not (family.has_reml or (family.is_on_response_scale and kind == "mean")):
            raise NotAvailableError(
                f"predict(kind={kind!r}, interval='plug-in'): Rubin's rules are of what is near to normal, which of "
                f"{family} responses is the linear predictor: kind='link', whose ends the link takes to the response"
            )
        if newdata is None:
            refuse_other_rows(self.fits)
        else:
            newdata = as_frame(newdata)
        options: dict[str, Any] = {"groups": groups, "kind": kind, "offset": offset}
        if interval is None:
            return _averaged([fit.predict(newdata, **options) for fit in self.fits])
        tables = [fit.predict(newdata, **options, interval=interval, ci_prob=ci_prob, ddf=None) for fit in self.fits]
        numbers = self._by_rubin(*_estimates_and_errors(tables), ci_prob).set_index(tables[0].index)
        pooled_table = tables[0].assign(**{name: numbers[name] for name in numbers if name in tables[0]})
        return pooled_table.assign(between_share=numbers["between_share"])

    def ranef(self, *, wide: bool = False, ci_prob: float = 0.95, **of_draws: Any) -> Any:
        """Random effects over all imputations: conditional modes of point fits by Rubin's rules, or stacked draws.

        Parameters
        ----------
        wide : bool
            One row a level, one column a term (means of the modes only) instead of one row a number.
        ci_prob : float
            Probability of the interval.
        **of_draws
            Of posteriors ``draws`` and ``ci_kind``, as of :meth:`PosteriorFit.ranef`.

        Returns
        -------
        DataFrame
            Of posteriors as of one. Of point fits group, level, term; estimate, the mean of the fits' modes; std_error
            by the mean of their squared conditional sds and 1 + 1/m times the variance between their modes; df (Barnard
            and Rubin's), conf_low, conf_high and ``between_share`` as in `fixef`. Variances are taken as known, as in a
            single fit.

        References
        ----------
        Rubin (1987), Multiple Imputation for Nonresponse in Surveys, chapter 3; van Buuren (2018), Flexible Imputation
        of Missing Data, section 2.3.
        """
        if self.is_posterior:
            return self.stacked.ranef(wide=wide, ci_prob=ci_prob, **of_draws)
        _refuse_of_draws("ranef", of_draws)
        return self._pooled_levels([fit.ranef(ci_prob=ci_prob) for fit in self.fits], wide, ci_prob)

    def coef(self, *, wide: bool = False, ci_prob: float = 0.95, **of_draws: Any) -> Any:
        """β + b for every level of every grouping factor over all imputations, by Rubin's rules or stacked draws.

        Parameters
        ----------
        wide, ci_prob, **of_draws
            As of `ranef`.

        Returns
        -------
        DataFrame
            As of `ranef`; the standard errors that are pooled are those of :meth:`PointFit.coef`, of β̂ + b̂ as a
            predictor of β + b.

        References
        ----------
        As of `ranef`.
        """
        if self.is_posterior:
            return self.stacked.coef(wide=wide, ci_prob=ci_prob, **of_draws)
        _refuse_of_draws("coef", of_draws)
        return self._pooled_levels([fit.coef(ci_prob=ci_prob, ddf=None) for fit in self.fits], wide, ci_prob)

    def _pooled_levels(self, tables: Sequence[pd.DataFrame], wide: bool, ci_prob: float) -> pd.DataFrame:
        labels = tables[0][LEVEL]
        keys = pd.MultiIndex.from_frame(labels)
        aligned = [table.set_index(LEVEL).reindex(keys) for table in tables]  # tables may order levels differently
        numbers = self._by_rubin(*_estimates_and_errors(aligned), ci_prob)
        table = labels.join(numbers[["estimate", "std_error", "df", "conf_low", "conf_high", "between_share"]])
        return wide_table(table) if wide else table

    def icc(self, *, at: Mapping[str, Sequence[Any]] | None = None, by_group: bool = True, **of_draws: Any) -> Any:
        """Intraclass correlations: means over all point fits, and how far these differ; of posteriors by all draws.

        Parameters
        ----------
        at, by_group
            As of :meth:`PointFit.icc`; other variables are held where each table has them.
        **of_draws
            Of posteriors ``draws``, ``ci_prob`` and ``ci_kind``, as of :meth:`PosteriorFit.icc`.

        Returns
        -------
        DataFrame
            Of posteriors as of one. Of point fits ``estimate``, the mean of the fits' estimates, and ``between``, their
            sd between the tables: what the imputations add, not a standard error, since point fits have none of an
            intraclass correlation.

        Raises
        ------
        NotAvailableError
            Models without random effects.
        InputError
            ``at`` names a variable whose range differs between the tables.

        References
        ----------
        Rubin (1987), Multiple Imputation for Nonresponse in Surveys, chapter 3, whose estimate is the mean.
        """
        if self.is_posterior:
            return self.stacked.icc(at=at, by_group=by_group, **of_draws)
        _refuse_of_draws("icc", of_draws)
        return _with_spread("icc", [fit.icc(at=at, by_group=by_group) for fit in self.fits])

    def r2(self, **of_draws: Any) -> Any:
        """R², marginal and conditional: means over all point fits, how far these differ; of posteriors by all draws.

        Parameters
        ----------
        **of_draws
            Of posteriors, as of `icc`.

        Returns
        -------
        DataFrame
            ``estimate`` and ``between``, or numbers of draws, as of `icc`.
        """
        if self.is_posterior:
            return self.stacked.r2(**of_draws)
        _refuse_of_draws("r2", of_draws)
        return _with_spread("r2", [fit.r2() for fit in self.fits])

    def _by_rubin(self, estimates: Array, errors: Array, ci_prob: float) -> pd.DataFrame:
        """Rubin's rules for estimates (m, k) with standard errors (m, k)."""
        within, between = (errors**2).mean(axis=0), estimates.var(axis=0, ddof=1)
        return _pooled(estimates.mean(axis=0), within, between, len(estimates), self._complete_df, ci_prob)

    def hypothesis(
        self,
        hypotheses: str | Sequence[str],
        *,
        rope: float | tuple[float, float] | None = None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> pd.DataFrame:
        """Probabilities of statements by the draws of all imputations: as :meth:`PosteriorFit.hypothesis`.

        Raises
        ------
        NotAvailableError
            Point fits have none.
        """
        if not self.is_posterior:
            raise NotAvailableError(
                "hypothesis: these are point fits, which test equations, test('x = 0'); fit_imputed(..., "
                "how='posterior') has probabilities"
            )
        return self.stacked.hypothesis(hypotheses, rope=rope, ci_prob=ci_prob, ci_kind=ci_kind)

    def draws(self, name: str) -> Array:
        """Draws of a variable of posteriors, the chains of all imputations together (chain, draw, ...).

        Raises
        ------
        NotAvailableError
            Point fits have none, or the posteriors no such variable.
        """
        if not self.is_posterior:
            raise NotAvailableError("draws: these are point fits; fit_imputed(..., how='posterior') has draws")
        return self.stacked.draws(name)

    def test(self, hypotheses: str | Sequence[str]) -> pd.DataFrame:
        """One F test that all equations about the fixed effects hold (Li, Raghunathan & Rubin 1991; mice's ``D1``).

        Parameters
        ----------
        hypotheses : str or sequence of str
            As of :meth:`PointFit.test`.

        Returns
        -------
        DataFrame
            One row: num_df, den_df (Reiter 2007), f, p_value.

        Raises
        ------
        NotAvailableError
            Posteriors have no tests.
        InputError
            A name that is no coefficient, an inequality, or what is not linear.
        """
        if self.is_posterior:
            raise NotAvailableError("test: posteriors have probabilities, hypothesis('x > 0'), and no tests")
        names = self.fits[0].design.coefficient_labels
        statements = parse(hypotheses, names, "test")
        L, r = linear(statements, names, "test")
        L, r = _independent(L, r)
        estimate, within, between = _moments(self.fits)
        k, m = len(L), len(self.fits)
        U, B = L @ within @ L.T, L @ between @ L.T
        away = L @ estimate - r
        increase = (1.0 + 1.0 / m) * float(np.trace(np.linalg.solve(U, B))) / k
        f = float(away @ np.linalg.solve(U, away)) / (k * (1.0 + increase))
        den_df = _denominator(k, m, increase, self._complete_df)
        index = pd.Index([", ".join(statement.text for statement in statements)], name="hypothesis")
        numbers = {"num_df": k, "den_df": den_df, "f": f, "p_value": float(stats.f.sf(f, k, den_df))}
        return pd.DataFrame(numbers, index=index)

    @property
    def verdict(self) -> str:
        """What the fits say that did not end well, and where the imputations decide more than the data."""
        remarks = [
            f"table {k + 1}: {fit.verdict}"
            for k, fit in enumerate(self.fits)
            if not fit.verdict.startswith("converged")
        ]
        shares = self.fixef()["between_share"]
        large = [f"{name} ({share:.0%})" for name, share in shares.items() if share > LARGE_SHARE]
        if large:
            remarks.append(
                f"more than half of the variance is between imputations for {', '.join(large)}: what is said of them "
                "rests on how values were imputed"
            )
        if not self.is_posterior and not shares.any():
            remarks.append("the tables do not differ in what the model uses: nothing was imputed there, or only once")
        return "; ".join(remarks) or f"all {len(self.fits)} fits converged"

    def text(self) -> Text:
        """The pooled tables and the verdict."""
        design = self.fits[0].design
        fixed = self.fixef()
        kind = "posteriors, draws stacked" if self.is_posterior else "point fits, pooled by Rubin's rules"
        rows = [[str(term), *(_cell(str(c), row[c], row) for c in fixed)] for term, row in fixed.iterrows()]
        others = self.parameters()
        cells = [
            [str(value) if isinstance(value, str) else number(float(value)) for value in row]
            for row in others.to_numpy()
        ]
        return Text.of(
            f"{len(self.fits)} imputed tables: {kind}\nFormula: {design.described}\nRows: {design.n:,} each",
            table(["", *map(str, fixed)], rows, title="Fixed effects:"),
            table([*map(str, others)], cells, left=3, title="Other parameters:"),
            f"Verdict: {self.verdict}",
        )


def _refuse_of_draws(verb: str, options: Mapping[str, Any]) -> None:
    if options:
        raise UnknownArgumentError(
            f"{verb}() of imputed point fits takes no {next(iter(options))!r}; posteriors have draws, "
            "fit_imputed(..., how='posterior')"
        )


def _cell(column: str, value: float, row: pd.Series) -> str:
    if column == "p_value":
        return probability(value)
    if column in ("between_share", "fmi"):
        return percent(round(value, 3))
    return f"{value:.2f}" if column in ("statistic", "df") else number(value, row.get("std_error", row.get("sd")))


def _refuse_unlike(fits: Any) -> None:
    """Raise InputError where fits are not of one model and the same rows."""
    if not isinstance(fits, tuple) or not all(isinstance(fit, PointFit | PosteriorFit) for fit in fits):
        raise InputError("imputed tables: fits are a tuple of what fit_reml(), fit_ml() or fit() gave, one a table")
    if any(isinstance(fit, StackedFit) for fit in fits):
        raise InputError(
            "imputed tables: a posterior of stacked draws is one of several tables already; give its .fits"
        )
    if len(fits) < 2:
        raise InputError("fit_imputed: one table is not imputed several times; give two or more, better twenty")
    first = fits[0]
    for k, fit in enumerate(fits[1:], start=2):
        if type(fit) is not type(first):
            raise InputError("fit_imputed: point fits and posteriors cannot be pooled")
        _refuse_other_model(k, first, fit)
        a, b = first.design, fit.design
        if a.n != b.n:
            raise InputError(f"fit_imputed: table {k} gives {b.n:,} rows, the first {a.n:,}; impute all missing values")
        _refuse_other_losses(k, a, b)
        if _columns(a) != _columns(b):
            differ = sorted(set(_columns(a)[0]) ^ set(_columns(b)[0]))
            raise InputError(
                f"fit_imputed: table {k} gives other columns than the first ({', '.join(differ) or 'other factors'}): "
                "give factors the same categories, and numbers the same type, in every table"
            )
        for one, other in zip(a.every_group, b.every_group, strict=True):
            differ = [level for level in other.levels if level not in set(one.levels)]
            if differ or len(one.levels) != len(other.levels):
                raise InputError(
                    f"fit_imputed: table {k} has other levels of {one.name!r} than the first"
                    f"{f' ({differ[0]!r})' if differ else ''}: give every table the same rows"
                )


def _refuse_other_model(k: int, first: Any, fit: Any) -> None:
    def said(of: Any) -> dict[str, str]:
        kind = {} if isinstance(of, PosteriorFit) else {"criterion": "REML" if of.solution.reml else "ML"}
        family = of.design.family
        return {"formula": of.design.described, "family": f"{family} with link {family.link}", **kind}

    for what, value in said(fit).items():
        if value != said(first)[what]:
            raise InputError(
                f"imputed tables: fit {k} has another {what} ({value}) than the first ({said(first)[what]}), and "
                "estimates of different models are no estimates of one thing"
            )
    if isinstance(fit, PosteriorFit) and (fit.n_chains, fit.n_draws) != (first.n_chains, first.n_draws):
        raise InputError(
            f"imputed tables: fit {k} has {fit.n_chains} x {fit.n_draws:,} draws, the first {first.n_chains} x "
            f"{first.n_draws:,}; every table counts alike, so draw as many of each"
        )


def _refuse_other_losses(k: int, first: Design, design: Design) -> None:
    """Tables that lost as many rows to missing values, but others."""
    if first.sums is not None or design.sums is not None or not (first.n_dropped or design.n_dropped):
        return
    here, there = first.index, design.index
    lost = [label for labels, kept in ((there, here), (here, there)) for label in labels[~labels.isin(kept)]]
    if lost or first.n_dropped != design.n_dropped:
        named = ", ".join(map(repr, lost[:3])) + (", ..." if len(lost) > 3 else "")
        raise InputError(
            f"fit_imputed: rows dropped for missing values are {design.n_dropped:,} in table {k} and "
            f"{first.n_dropped:,} in the first, and not the same ones{f' ({named})' if named else ''}: "
            "impute all missing values, or drop the same rows from every table"
        )


def _columns(design: Design) -> tuple[tuple[str, ...], list[tuple[str, tuple[str, ...]]], tuple[Any, ...]]:
    """Coefficients of all linear predictors, the terms of all factors, and the categories of the response."""
    labels = (*design.x_names, *(label for part in design.predictors.values() for label in part.labels))
    return labels, [(group.name, group.columns) for group in design.every_group], design.levels


def _moments(fits: Sequence[PointFit]) -> tuple[Array, Array, Array]:
    """Means of the estimates (p,) and of their covariances (p, p), and the covariance between imputations (p, p)."""
    estimates = np.array([wald.coefficients_of(fit.design, fit.solution) for fit in fits])
    within = np.mean([fit.solution.vcov for fit in fits], axis=0)
    between = np.cov(estimates, rowvar=False).reshape(within.shape)
    return estimates.mean(axis=0), within, between


def _estimates_and_errors(tables: Sequence[pd.DataFrame]) -> tuple[Array, Array]:
    """Columns estimate and std_error of tables of the same k rows, (m, k) each."""
    estimates, errors = (np.array([table[c] for table in tables], dtype=float) for c in ("estimate", "std_error"))
    return estimates, errors


def _averaged(predictions: Sequence[Any]) -> Any:
    """The mean of series, or of the numbers of tables, of the same rows."""
    first = predictions[0]
    if isinstance(first, pd.Series):
        mean = pd.Series(np.mean(predictions, axis=0), index=first.index, name=first.name)
        mean.attrs = dict(first.attrs)
        return mean
    numbers = [name for name in first if first[name].dtype.kind == "f"]  # the others say for whom
    return first.assign(**{name: np.mean([table[name] for table in predictions], axis=0) for name in numbers})


def _with_spread(verb: str, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Means of the estimates of tables of the same rows, with the sd between them."""
    labels = [table.drop(columns="estimate") for table in tables]
    if not all(each.equals(labels[0]) for each in labels):
        raise InputError(
            f"{verb}(at=...): the tables differ in where this would be told; give its values, at={{'x': [0, 1]}}"
        )
    estimates = np.array([table["estimate"] for table in tables], dtype=float)
    return tables[0].assign(estimate=estimates.mean(axis=0), between=estimates.std(axis=0, ddof=1))


def _share(part: Array, total: Array) -> Array:
    return np.divide(part, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0.0)


def _pooled(estimate: Array, U: Array, B: Array, m: int, complete: float, ci_prob: float) -> pd.DataFrame:
    """Rubin's rules for single coefficients."""
    total = U + (1.0 + 1.0 / m) * B
    share = _share((1.0 + 1.0 / m) * B, total)
    observed = (complete + 1.0) / (complete + 3.0) * complete * (1.0 - share)
    # harmonic sum with Rubin's (m − 1)/share², which is infinite where the imputations agree
    df = observed / (1.0 + observed * share**2 / (m - 1.0))
    se = np.sqrt(total)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / se
        increase = share / (1.0 - share)
    numbers = pd.DataFrame({"estimate": estimate, "std_error": se, "df": df, "statistic": statistic})
    numbers["p_value"] = 2.0 * stats.t.sf(np.abs(statistic), df)
    numbers = wald.with_interval(numbers, ci_prob)
    return numbers.assign(between_share=share, fmi=(increase + 2.0 / (df + 3.0)) / (increase + 1.0))


def _independent(L: Array, r: Array) -> tuple[Array, Array]:
    """Equations of which none follows from the others."""
    kept: list[int] = []
    for k in range(len(L)):
        if np.linalg.matrix_rank(L[[*kept, k]]) > len(kept):
            kept.append(k)
    return L[kept], r[kept]


def _denominator(k: int, m: int, increase: float, complete: float) -> float:
    """Degrees of freedom of the denominator for complete data of a finite size (Reiter 2007, Biometrika 94)."""
    t = k * (m - 1.0)
    if t <= 4.0 or increase <= 0.0:  # too few for his expansion: Li, Raghunathan & Rubin (1991)
        return complete if increase <= 0.0 else t * (1.0 + 1.0 / k) * (1.0 + 1.0 / increase) ** 2 / 2.0
    a = increase * t / (t - 2.0)
    v = complete * (complete + 1.0) / (complete + 3.0)
    c_0, c_1, c_2 = 1.0 / (t - 4.0), v - 2.0 * (1.0 + a), v - 4.0 * (1.0 + a)
    z = 1.0 / c_2 + c_0 * (
        a**2 * c_1 / ((1.0 + a) ** 2 * c_2)
        + 8.0 * a**2 * c_1 / ((1.0 + a) * c_2**2)
        + 4.0 * a**2 / ((1.0 + a) * c_2)
        + 4.0 * a**2 / (c_2 * c_1)
        + 16.0 * a**2 * c_1 / c_2**3
        + 8.0 * a**2 / c_2**2
    )
    return 4.0 + 1.0 / z
