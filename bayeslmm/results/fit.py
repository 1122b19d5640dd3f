"""What both kinds of fit have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import RefusedVerbError, UnknownNameError
from ..tools.hints import ATTRIBUTE_WORDS, like
from . import effects, wald
from .reading import tables_for_reading

if TYPE_CHECKING:
    import pandas as pd

    from ..design.design import Design
    from .means import Means
    from .text import Text


@tables_for_reading
class Fit:
    """A fitted model. Verbs of the other kind of fit are refused with the reason."""

    __slots__ = ()

    _refused: ClassVar[Mapping[str, str]] = {}

    if TYPE_CHECKING:
        design: Design

    @property
    def nobs(self) -> int:
        """Number of rows used."""
        return self.design.n

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels of each grouping factor."""
        return {name: group.n_levels for name, group in self.design.factors.items()}

    def summary(self) -> Text:
        """The fit in print."""
        raise NotImplementedError

    def comparisons(
        self,
        variable: str,
        *,
        contrast: Any = None,
        kind: str = "difference",
        newdata: pd.DataFrame | None = None,
        at: Mapping[str, Sequence[Any]] | str | None = None,
        by: str | Sequence[str] | None = None,
        average: bool = True,
        groups: str | Mapping[str, str] = "average",
        draws: bool = False,
        random_seed: int | None = None,
        offset: Any = None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
        ddf: str | None = wald.DDF,
        adjust: str = "none",
        parameter: str | None = None,
    ) -> Any:
        """How much the expected response changes with a variable, all else as it is: averaged, or at points.

        Parameters
        ----------
        variable : str
            A predictor; ``{"x": (0, 1)}`` names its contrast as well, marginaleffects' way.
        contrast : optional
            Of levels: ``"reference"`` (each against the first), ``"pairwise"``. Of a number: how much it grows from
            the value that a row has (1), or ``"sd"``. Of both: two values, (low, high).
        kind : {"difference", "ratio", "odds_ratio"}
            Averages are formed first, then their ratio: of risks or rates, or of the odds of probabilities.
        newdata : DataFrame, optional
            Rows instead of those of the fit.
        at : mapping or str, optional
            Points as in :meth:`icc`, the other variables typical: one row each, no average.
        by : str or sequence of str, optional
            Columns within whose values is averaged.
        average : bool
            False: a row for every row, named by the column ``row``.
        groups : str or dict by grouping factor
            Whose response, as in :meth:`predict`; single rows and points say in ``target_<factor>`` what a mixed target
            came to. New groups are the same ones on both sides.
        draws : bool
            Of a posterior: a DataArray (chain, draw, comparison) instead of a table.
        random_seed : int, optional
            For new groups.
        offset : str or array-like, optional
            Replaces an offset that was given to the model as an array.
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the interval; a point fit has one kind.
        ddf : {"satterthwaite", "kenward-roger", None}
            Of a point fit: degrees of freedom of its t intervals, as in :meth:`predict`; None for z.
        adjust : {"none", "holm", "bonferroni", "sidak", "fdr"}
            Of a point fit: p-values and intervals of all rows of the table at once.
        parameter : str, optional
            A parameter of the family with a linear predictor, such as ``"zi"``: how much that changes instead.

        Returns
        -------
        DataFrame
            term, contrast, the columns of ``by`` or ``at``, estimate, std_error, df, conf_low, conf_high, statistic,
            p_value (of no difference; of a ratio, that it is one). Of a posterior the mean and sd of the draws, no df,
            and ``p_positive``, the probability of a number above zero (of a ratio above one). Of a point fit standard
            errors by the joint covariance of β̂ and b̂, variances taken as known; ratios by the delta method, their
            intervals and tests on the scale of the logarithm.

        Raises
        ------
        InputError
            No such predictor, contrast, target or column.

        Notes
        -----
        As ``avg_comparisons`` and ``comparisons`` of marginaleffects (Arel-Bundock, Greifer & Heiss 2024).

        Examples
        --------
        >>> import bayeslmm as blm
        >>> fit = blm.lmer("mathach ~ ses * sex + (1 | school)", blm.load_dataset("hsb"))
        >>> fit.comparisons("sex", at={"ses": [-1, 1]})[["contrast", "ses", "estimate"]].round(2).to_numpy().tolist()
        [['Male - Female', -1, 1.49], ['Male - Female', 1, 0.88]]
        """
        plan = effects.comparison_plan(self.design, variable, contrast, kind, newdata, at, by, average)
        return self._effects(plan, groups, draws, random_seed, offset, ci_prob, ci_kind, ddf, adjust, parameter)

    def slopes(
        self,
        variable: str,
        *,
        newdata: pd.DataFrame | None = None,
        at: Mapping[str, Sequence[Any]] | str | None = None,
        by: str | Sequence[str] | None = None,
        average: bool = True,
        groups: str | Mapping[str, str] = "average",
        draws: bool = False,
        random_seed: int | None = None,
        offset: Any = None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
        ddf: str | None = wald.DDF,
        adjust: str = "none",
        parameter: str | None = None,
    ) -> Any:
        """How steeply the expected response rises with a number: its derivative, averaged, or at points.

        By differences over a hundred-thousandth of the variable's range to both sides, and so through the transforms
        and splines of the formula.

        Parameters
        ----------
        variable : str
            A numeric predictor.
        newdata, at, by, average, groups, draws, random_seed, offset, ci_prob, ci_kind, ddf, adjust, parameter
            As in :meth:`comparisons`.

        Returns
        -------
        DataFrame
            As of :meth:`comparisons`.

        Raises
        ------
        InputError
            The variable is no predictor, or no number.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
        >>> fit.slopes("Days")[["estimate", "std_error"]].round(2).to_numpy().tolist()
        [[10.47, 1.55]]
        """
        plan = effects.slope_plan(self.design, variable, newdata, at, by, average)
        return self._effects(plan, groups, draws, random_seed, offset, ci_prob, ci_kind, ddf, adjust, parameter)

    def means(
        self,
        of: str | Sequence[str],
        *,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        weights: str = "equal",
        offset: float | None = None,
        ddf: str | None = wald.DDF,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> Means:
        """Marginal means of the levels of predictors, and contrasts of them: what emmeans gives.

        The average, over the other factors, of the linear predictor of a group with b = 0; numbers stand at their mean,
        or run over their values where they have two. On the scale of the response with :meth:`Means.response`.

        Parameters
        ----------
        of : str or sequence of str
            Predictors; a mean for every combination of their levels.
        by : str or sequence of str, optional
            Predictors within whose levels contrasts are taken and adjusted.
        at : mapping, optional
            Values by predictor instead of all levels or the mean: ``{"Time": [0, 21]}``.
        weights : {"equal", "proportional", "cells"}
            How the levels of other factors count: alike, as often as they occur, or as often as they occur in a cell.
        offset : float, optional
            What the linear predictor has on top, of a model with offsets: their mean by default, zero for rates per
            unit of exposure.
        ddf : {"satterthwaite", "kenward-roger", None}
            Of a point fit, as in :meth:`PointFit.fixef`.
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the interval; a point fit has one kind.

        Returns
        -------
        Means
            ``.table``, ``.pairs()``, ``.contrasts(...)``, ``.response()``; of a posterior ``.draws()``. Means that the
            data do not tell are missing.

        Raises
        ------
        InputError
            No such predictor or level.

        References
        ----------
        Searle, Speed & Milliken (1980), Population marginal means in the linear model, Am. Stat. 34.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> fit = blm.lmer("diameter ~ sample + (1 | plate)", blm.load_dataset("penicillin"))
        >>> fit.means("sample").pairs().table[["contrast", "estimate", "p_value"]].round(3).iloc[0].tolist()
        ['A - B', 3.208, 0.0]
        """
        return self._marginal(of, ddf, ci_prob, ci_kind, by=by, at=at, weights=weights, offset=offset)

    def trends(
        self,
        variable: str,
        of: str | Sequence[str] | None = None,
        *,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        weights: str = "equal",
        ddf: str | None = wald.DDF,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> Means:
        """Slopes of the linear predictor along a number, for the levels of other predictors: emmeans' ``emtrends``.

        Parameters
        ----------
        variable : str
            A numeric predictor.
        of, by, at, weights, ddf, ci_prob, ci_kind
            As in :meth:`means`; without ``of`` one slope.

        Returns
        -------
        Means

        Raises
        ------
        InputError
            No such predictor or level, or the variable is no number.
        """
        return self._marginal(of, ddf, ci_prob, ci_kind, by=by, at=at, weights=weights, trend=variable)

    def _marginal(self, of: Any, ddf: str | None, ci_prob: float | None, ci_kind: str | None, **request: Any) -> Means:
        raise NotImplementedError

    def _effects(
        self,
        plan: effects.Plan,
        groups: str | Mapping[str, str],
        draws: bool,
        random_seed: int | None,
        offset: Any,
        ci_prob: float | None,
        ci_kind: str | None,
        ddf: str | None,
        adjust: str,
        parameter: str | None = None,
    ) -> Any:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if hasattr(type(self), name):  # a property that failed by an AttributeError: that one is the cause
            return object.__getattribute__(self, name)
        refused = type(self)._refused
        if name in ATTRIBUTE_WORDS:
            hint = ATTRIBUTE_WORDS[name]
            reason = refused.get(hint.partition("(")[0])
            raise RefusedVerbError(f"{name}: here it is {hint}" + (f"; {reason}" if reason else ""))
        if name in refused:
            raise RefusedVerbError(f"{name}: {refused[name]}")
        near = "" if name.startswith("_") else like(name, dir(self))
        raise UnknownNameError(f"{type(self).__name__!r} object has no attribute {name!r}{near}")

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()
