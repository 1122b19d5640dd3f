"""``sigma=`` and ``residual=`` of a model -> the structure of its residuals on the rows, and on new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, NonFiniteError, NotAvailableError, UnidentifiedTermError
from ..formulas.expressions import Expression
from ..formulas.residuals import CorrelationWords, shown
from ..formulas.terms import Atom
from ..residual_structures import Blocks, Residuals, Spread
from ..terms.group import GroupTerm
from ..tools.frame import as_frame, brief, is_numeric
from .coding import MatrixRecipe, design_columns, independent_columns
from .columns import in_order
from .grouping import factorize
from .names import LOG_RATIO, LOG_RATIO_TERM, RHO, RHO_TERM, as_labels
from .newdata import matrix_at
from .residual_words import ResidualWords

FAR_OFF = 50.0  # sds from zero, beyond which the sd there is no number that doubles hold
MOST_PAIRS = 5_000_000  # of rows of one level, in all levels, among which it is judged what the data tell
UNTOLD = 1e-8  # eigenvalue of unit directions, below which they depend: differences leave 1e-10
MATRIX_FROM = 4  # positions whose correlations are shown as a matrix
MOST_STRATA = 60  # whose sds are listed one by one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResidualPart:
    """The residual structure of a design.

    Attributes
    ----------
    words : ResidualWords
    structure : Residuals
        On the rows of the design; with values once they are estimated.
    recipe : MatrixRecipe
        The columns of log sigma, the intercept first.
    positions : tuple of str
        Names of the positions of a structure over levels of a factor.
    group : str
        The name of the levels within which residuals are correlated; empty where they are not.
    strata : tuple of (label, g (d,))
        The groups of rows with one sd each, where they are few and made by factors; none otherwise.
    levels : tuple
        The levels within which residuals are correlated.
    """

    words: ResidualWords
    structure: Residuals
    recipe: MatrixRecipe
    positions: tuple[str, ...]
    group: str
    strata: tuple[tuple[str, np.ndarray], ...]
    levels: tuple[Any, ...] = ()

    @property
    def n_parameters(self) -> int:
        """Parameters besides sigma."""
        return self.structure.n_values

    @property
    def n_spread(self) -> int:
        """Those of them that are log ratios of sds."""
        return self.structure.n_spread

    @property
    def has_many(self) -> bool:
        """Whether correlations are too many for a list: of four positions or more."""
        return len(self.positions) >= MATRIX_FROM and self.n_parameters > self.n_spread

    @property
    def labels(self) -> tuple[str, ...]:
        """What the parameters are called, log ratios of sds first."""
        return self.structure.labels

    @property
    def is_correlated(self) -> bool:
        """Whether residuals are correlated."""
        return self.structure.correlation is not None

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of draws that hold the parameters."""
        return (*([LOG_RATIO] * bool(self.n_spread)), *([RHO] * (self.n_parameters > self.n_spread)))

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """The coordinates of these variables by dimension."""
        spread = self.n_spread
        return {LOG_RATIO_TERM: as_labels(self.labels[:spread]), RHO_TERM: as_labels(self.labels[spread:])}

    def named(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters (..., d + r) by variable."""
        return dict(zip(self.variables, self._split(values), strict=True))

    def _split(self, values: np.ndarray) -> list[np.ndarray]:
        parts = [values[..., : self.n_spread], values[..., self.n_spread :]]
        return [part for part in parts if part.shape[-1]]

    def with_values(self, values: np.ndarray) -> ResidualPart:
        """The same at estimates."""
        return replace(self, structure=self.structure.with_values(values))

    def taking(self, chosen: Any) -> ResidualPart:
        """That of some rows."""
        return replace(self, structure=self.structure.taking(chosen))

    def weights_at(self, fit_frame: pd.DataFrame, newdata: Any, values: np.ndarray | None = None) -> np.ndarray:
        """One over the squared relative sds (m,) of new rows, whose prior weights are one; NaN where columns lack.

        Raises
        ------
        UnknownColumnError, UnseenLevelError
            A column of sigma is not there, or has a level that the fit has not seen.
        """
        values = self.structure.values if values is None else values
        assert values is not None
        frame = as_frame(newdata)
        if not self.n_spread:
            return np.ones(len(frame))
        G = matrix_at(self.recipe, fit_frame, frame, self._where)[:, 1:]
        return np.asarray(np.exp(-2.0 * (G @ values[: self.n_spread])))

    def relative_variances(self, values: np.ndarray, fit_frame: pd.DataFrame, newdata: Any = None) -> np.ndarray:
        """Variances (..., m) in units of σ² for values (..., d + r): of new rows, or those of the fit."""
        G = self.structure.spread.G
        if newdata is not None:
            G = matrix_at(self.recipe, fit_frame, as_frame(newdata), self._where)[:, 1:]
        return np.asarray(np.exp(2.0 * (np.asarray(values)[..., : self.n_spread] @ G.T)))

    def columns_at(self, fit_frame: pd.DataFrame, newdata: Any = None) -> np.ndarray:
        """∂ log sd/∂ values (m, d + r) at new rows, or at those of the fit."""
        G = self.structure.spread.G
        if newdata is not None and self.n_spread:
            G = matrix_at(self.recipe, fit_frame, as_frame(newdata), self._where)[:, 1:]
        rows = len(G) if newdata is None else len(as_frame(newdata))
        return np.column_stack([G[:rows], np.zeros((rows, self.n_parameters - self.n_spread))])

    def stratum_factors(self, values: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """(label, sd in units of σ (...,)) of every stratum."""
        delta = np.asarray(values)[..., : self.n_spread]
        return [(label, np.asarray(np.exp(delta @ g))) for label, g in self.strata]

    @property
    def _where(self) -> str:
        if self.words.sigma is None:
            return f"residual={self.words.residual!r}"
        return f"sigma={self.words.sigma!r}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the data that the sds follow."""
        used_names = [
            column
            for factors in self.recipe.products
            for coded in factors
            for column in coded.expression.columns.values()
        ]
        return tuple(dict.fromkeys(used_names))

    @property
    def needed(self) -> tuple[str, ...]:
        """Those, and the columns of positions."""
        words = self.words.correlation
        return tuple(dict.fromkeys((*self.columns, *(() if words is None else words.positions))))

    def correlations_at(self, fit_frame: pd.DataFrame, rows: pd.DataFrame, values: np.ndarray) -> np.ndarray:
        """Correlations (..., m, m) of the residuals of one level at the positions of rows, for values (..., d + r)."""
        words, structure = self.words.correlation, self.structure.correlation
        assert words is not None
        assert structure is not None
        if not words.positions:
            positions = np.arange(len(rows), dtype=float)
        elif words.structure.of_levels:
            labels = [":".join(map(str, row)) for row in rows[list(words.positions)].itertuples(index=False)]
            positions = np.array([self.positions.index(name) for name in labels], dtype=float)
        elif is_numeric(fit_frame[words.positions[0]]):
            positions = rows[words.positions[0]].to_numpy(dtype=float)
        else:
            grouping, _ = factorize([fit_frame[words.positions[0]]], words.positions[0])
            places = {level: place for place, level in enumerate(grouping.levels)}
            positions = np.array([places[value] for value in rows[words.positions[0]]], dtype=float)
        rho = np.asarray(values)[..., self.n_spread :]
        each_draw = [structure.matrix(one, positions) for one in rho.reshape(-1, rho.shape[-1])]
        return np.array(each_draw).reshape(*rho.shape[:-1], len(rows), len(rows))

    @property
    def text(self) -> str:
        """As it is written in a call."""
        words = self.words
        parts = (("sigma", words.sigma), ("residual", words.residual))
        return ", ".join(f'{name}="{text}"' for name, text in parts if text is not None)


def build_residual(
    words: ResidualWords,
    expressions: Mapping[Atom, Expression],
    frame: pd.DataFrame,
    groups: Sequence[GroupTerm],
    weights: np.ndarray | None,
) -> ResidualPart:
    """The residual structure on the rows of a frame.

    Raises
    ------
    NotAvailableError
        Terms of which a row meets several levels; residuals correlated across levels of a grouping factor.
    UnidentifiedTermError
        The data do not tell the structure, or not from the bars.
    DataError
        Positions that are repeated within a level, or are not what the structure needs.
    """
    texts = " and ".join(f"{n}={t!r}" for n, t in (("sigma", words.sigma), ("residual", words.residual)) if t)
    for g in groups:
        if g.is_wide:
            raise NotAvailableError(
                f"{texts} beside {g.texts[0]}: terms of which a row meets several levels are turned once for all for "
                "rows of one variance, and here variances are searched"
            )
    correlation, blocks, group = None, None, ""
    levels: tuple[Any, ...] = ()
    positions: tuple[str, ...] = ()
    if words.correlation is not None:
        correlation = words.correlation.structure
        blocks, positions, group, levels = _blocks(words.correlation, frame)
        lacking = correlation.lacks(blocks)
        if lacking:
            raise UnidentifiedTermError(
                f"residual={words.residual!r}: {lacking}, so that a correlation cannot be estimated. Leave it out, or "
                "choose another structure."
            )
        correlation = correlation.on(blocks)
        _check_groups(words.correlation, blocks, groups)
    try:
        # the residual sd of the model is that of the first level, whatever the contrasts of the fixed part
        plain = {atom: replace(expressions[atom], coding=None) for atom in words.terms.atoms}
        recipe, G = design_columns(words.terms, plain, frame)
    except NonFiniteError as problem:
        raise NonFiniteError(
            f"{texts}: {problem} A power needs values other than zero: add a constant, as in power(x + 1)."
        ) from None
    _check_spread(G, recipe.names, texts)
    labels = tuple(shown(name) for name in recipe.names[1:])
    if correlation is not None:
        labels += correlation.labels(positions)
    structure = Residuals(
        spread=Spread(G=np.ascontiguousarray(G[:, 1:]), labels=labels[: G.shape[1] - 1]),
        correlation=correlation,
        blocks=blocks,
        prior=weights,
        labels=labels,
    )
    _refuse_untold(structure, groups, texts)
    return ResidualPart(
        words=words,
        structure=structure,
        recipe=recipe,
        positions=positions,
        group=group,
        strata=_strata(recipe, G[:, 1:], frame),
        levels=levels,
    )


def _check_spread(G: np.ndarray, names: Sequence[str], texts: str) -> None:
    independent = independent_columns(G, has_intercept=True)
    if not independent.all():
        twice = [name for name, is_kept in zip(names, independent, strict=True) if not is_kept]
        raise UnidentifiedTermError(
            f"{texts}: the sds of the residuals would follow {', '.join(map(shown, twice))} twice, or it is constant. "
            "Leave it out."
        )
    size = G.std(axis=0)
    far = (size > 0.0) & (np.abs(G.mean(axis=0)) > FAR_OFF * size)
    if far.any():
        column = shown(names[int(np.flatnonzero(far)[0])])
        raise DataError(
            f"{texts}: {column} lies far from zero, where sigma would be the sd. Count it from its mean: "
            f"center({column})."
        )
    distinct, inverse_index, counts = np.unique(G, axis=0, return_inverse=True, return_counts=True)
    indicators = bool(np.isin(G, (0.0, 1.0)).all())
    if indicators and G.shape[1] == len(distinct) and counts.min() < 2:  # one sd for every stratum
        row = int(np.flatnonzero(inverse_index.reshape(-1) == int(np.argmin(counts)))[0])
        strata = [n for n, v in zip(names[1:], G[row, 1:], strict=True) if v] or ["the first level"]
        raise UnidentifiedTermError(
            f"{texts}: {', '.join(map(shown, strata))} has one row, which does not tell an sd of its own. Join it with "
            "another level."
        )


def _refuse_untold(structure: Residuals, groups: Sequence[GroupTerm], texts: str) -> None:
    """Raise UnidentifiedTermError where residuals and the bars of a factor can change for each other.

    Within the rows of a level the covariance moves with each parameter along one matrix; where these matrices depend on
    each other over all levels, no data tell the parameters apart. Factors coarser than the blocks of a correlation tell
    themselves by the rows of two blocks.
    """
    if structure.blocks is None:
        places = [(group.codes, [group]) for group in groups]
    else:
        codes = structure.blocks.codes()
        places = [(codes, [group for group in groups if group.n_levels == len(structure.blocks.sizes)])]
    for codes, beside in places:
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        levels = np.split(order, starts[1:])
        if sum(len(rows) ** 2 for rows in levels) > MOST_PAIRS:
            continue
        gram = sum(_tangents(structure, beside, rows) for rows in _kinds(structure, beside, levels))
        size = np.sqrt(np.maximum(np.diag(gram), 1e-300))
        if np.linalg.eigvalsh(gram / np.outer(size, size))[0] < UNTOLD:
            of = " and ".join(g.texts[0] for g in beside)
            raise UnidentifiedTermError(
                f"{texts}{' beside ' * bool(of)}{of}: the rows of a level are too few, or too alike, to tell these "
                "variances and correlations apart. Leave one of them out."
            )


def _kinds(structure: Residuals, groups: Sequence[GroupTerm], levels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """One level of every kind: those alike in all that their covariance hangs on."""
    parts = [structure.spread.G, *(group.Z for group in groups)]
    if structure.blocks is not None:
        parts.append(structure.blocks.positions_of_rows()[:, None])
    rows_of_parts = np.column_stack(parts)
    return list({rows_of_parts[rows].tobytes(): rows for rows in levels}.values())


def _tangents(structure: Residuals, groups: Sequence[GroupTerm], rows: np.ndarray) -> np.ndarray:
    """Inner products of the directions in which the covariance of some rows moves with each parameter."""
    part = structure.taking(rows)
    d = structure.n_spread
    values = 0.1 * np.arange(1, d + 1)
    correlation, whole = structure.correlation, structure.blocks
    rho = np.zeros(0)
    if correlation is not None and whole is not None:
        rho = correlation.natural(correlation.starts(whole)[1] + 0.1, whole)

    def covariance(parameters: np.ndarray) -> np.ndarray:
        sd = np.exp(part.spread.G @ parameters[:d])
        if correlation is None or part.blocks is None:
            return np.diag(sd**2)
        R = np.empty((len(rows), len(rows)))
        R[np.ix_(part.blocks.order, part.blocks.order)] = correlation.matrix(parameters[d:], part.blocks.positions)
        return sd[:, None] * R * sd

    parameters = np.concatenate([values, rho])
    moves = [covariance(parameters)]
    for i in range(len(parameters)):
        h = 1e-5 * np.eye(len(parameters))[i]
        moves.append((covariance(parameters + h) - covariance(parameters - h)) / 2e-5)
    for group in groups:
        for block, kind in group.template.parts():
            Z = group.Z[np.ix_(rows, block)]
            moves += [Z @ change @ Z.T for change in kind.tangents(np.ones(len(block)))]
    flat = np.array([move.reshape(-1) for move in moves])
    return flat @ flat.T


def _blocks(words: CorrelationWords, frame: pd.DataFrame) -> tuple[Blocks, tuple[str, ...], str, tuple[Any, ...]]:
    """The blocks, names of positions, and name and labels of the levels."""
    name = ":".join(words.group)
    grouping_of_rows, codes = factorize([frame[column] for column in words.group], name)
    labels = tuple(grouping_of_rows.levels)
    if not words.positions:
        place = np.zeros(len(frame))
        for level in (np.argsort(codes, kind="stable"),):
            sorted_codes = codes[level]
            first = np.r_[0, np.flatnonzero(np.diff(sorted_codes)) + 1]
            place[level] = np.arange(len(frame)) - np.repeat(first, np.diff(np.r_[first, len(frame)]))
        return Blocks.of(codes, place), (), name, labels
    called, kind, where = ":".join(words.positions), words.structure, f"residual={words.text!r}"
    column = frame[words.positions[0]]
    positions: tuple[str, ...] = ()
    levels = 0
    if kind.of_levels:
        grouping, places = factorize([frame[position] for position in words.positions], called)
        positions, levels, row_positions = tuple(map(str, grouping.levels)), len(grouping.levels), places.astype(float)
        counts = np.bincount(places, minlength=levels)
        if counts.min() < 2:
            raise UnidentifiedTermError(
                f"{where}: {called} {positions[int(counts.argmin())]!r} has {int(counts.min())} row(s), which "
                "do not tell an sd and correlations of its own. Leave these rows out, or join it with another."
            )
    elif is_numeric(column) and column.dtype != bool:
        row_positions = column.to_numpy(dtype=float)
        if kind.whole_steps and np.any(row_positions != np.rint(row_positions)):
            raise DataError(
                f"{where}: {kind.name} counts whole steps, and {called} holds "
                f"{row_positions[row_positions != np.rint(row_positions)][0]:g}. For times as they are write "
                f"car1({called} | {name})."
            )
    elif kind.whole_steps:
        grouping, places = factorize([column], called)
        in_order(f"{where}: {kind.name}", called, grouping.levels, column)
        row_positions = places.astype(float)
    else:
        raise DataError(f"{where}: {kind.name} needs times that are numbers, and {called} holds none.")
    shared = pd.DataFrame({"block": codes, "at": row_positions}).duplicated(keep=False).to_numpy()
    if shared.any():
        row = int(np.flatnonzero(shared)[0])
        whose = " and ".join(f"{c} {frame[c].iloc[row]!r}" for c in words.group)
        raise DataError(
            f"{where}: {int(shared.sum())} rows share their {called} with another one of their level, first of "
            f"{whose} at {brief([column.iloc[row]])}. Errors at one place would be one error: keep one row, average "
            "them, or name what tells them apart on the right of the bar."
        )
    return Blocks.of(codes, row_positions, levels), positions, name, labels


def _check_groups(words: CorrelationWords, blocks: Blocks, groups: Sequence[GroupTerm]) -> None:
    """The rows of a block share a level of every factor, and the bars do not say the same again."""
    codes, n_blocks = blocks.codes(), len(blocks.sizes)
    for group in groups:
        together = len(np.unique(codes * group.n_levels + group.codes))
        if together != n_blocks:
            raise NotAvailableError(
                f"residual={words.text!r} beside {group.texts[0]}: rows of one {':'.join(words.group)} are of "
                f"several {group.name}. Correlated residuals are offered where every level of {':'.join(words.group)} "
                "lies within one level of each grouping factor"
            )
        if group.n_levels != n_blocks:
            continue
        constant = any(np.ptp(group.Z[:, k]) == 0.0 for k in range(group.q))
        if words.structure.of_levels or (words.structure.is_shared_effect and constant):
            raise UnidentifiedTermError(
                f"residual={words.text!r} beside {group.texts[0]}: the covariance within a level of {group.name} is "
                "free already, so that the two cannot be told apart. Leave one of them out."
            )


def _strata(recipe: MatrixRecipe, G: np.ndarray, frame: pd.DataFrame) -> tuple[tuple[str, np.ndarray], ...]:
    leaves = [coded for factors in recipe.products for coded in factors]
    if not leaves or any(coded.table is None for coded in leaves):
        return ()
    columns = list(dict.fromkeys(column for coded in leaves for column in coded.expression.columns.values()))
    distinct, first = np.unique(G, axis=0, return_index=True)
    if len(distinct) > MOST_STRATA:
        return ()
    codes = [factorize([frame[column]], column)[1] for column in columns]
    rows = sorted(first, key=lambda row: tuple(code[row] for code in codes))
    return tuple((":".join(str(frame[column].iloc[row]) for column in columns), G[row]) for row in rows)
