"""What the hypothesis of no effect of a term says of the coefficients: types I, II and III.

A hypothesis is a matrix L (q, p) with Lβ = 0. Type I follows the order of the terms; type II leaves out the terms that
contain the tested one; type III (SAS, lmerTest) compares cell means that count alike. All three are taken from X'X, not
from the weights of generalised least squares, as lmerTest does (Kuznetsova, Brockhoff & Christensen 2017). Given the
covariance matrix of the estimates, type II is that of R's car (Fox & Weisberg 2019), which is there for all models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..design.coding import Coded, MatrixRecipe, independent_columns, new_columns
from ..design.design import Design
from ..errors import NotAvailableError
from ..tools.arrays import Array
from ..tools.frame import one_line

SMALL = 1e-8  # entries of L that are rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A product of the formula: its factors, its numbers, and its columns of X."""

    name: str
    factors: frozenset[str]
    numbers: frozenset[str]
    columns: tuple[int, ...]

    def is_in(self, other: Term) -> bool:
        """Whether another term has the same numbers and more factors, these among them."""
        return self.numbers == other.numbers and self.factors < other.factors


def terms_of(design: Design) -> list[Term]:
    """The terms of the fixed part but the intercept, in the order of the formula, with the columns that X has."""
    kept = np.arange(design.recipe.fixed.width)[design.recipe.kept]
    place = {int(column): k for k, column in enumerate(kept)}
    merged: dict[str, Term] = {}
    column = 0
    for product in design.recipe.fixed.products:
        width = int(np.prod([len(coded.labels) for coded in product], dtype=int))
        columns = tuple(place[c] for c in range(column, column + width) if c in place)
        column += width
        if not product:
            continue
        name = _term_name(design, product)
        factors = frozenset(c.expression.label for c in product if c.table is not None)
        numbers = frozenset(c.expression.label for c in product) - factors
        if name in merged:  # a product that is coded in parts
            columns, factors = (*merged[name].columns, *columns), merged[name].factors | factors
        merged[name] = Term(name=name, factors=factors, numbers=numbers, columns=columns)
    return list(merged.values())


def _term_name(design: Design, product: tuple[Coded, ...]) -> str:
    """The term of the formula that coded columns belong to: an interaction alone stands for what it holds as well."""
    atoms = {coded.expression.label for coded in product}
    terms = [[atom.label for atom in factors] for factors in design.formula.fixed_terms.products]
    exact = [term for term in terms if set(term) == atoms]
    holders = exact or [term for term in terms if set(term) > atoms]
    return ":".join(holders[0]) if holders else ":".join(coded.expression.label for coded in product)


def hypotheses(design: Design, kind: int, vcov: Array | None = None) -> dict[str, Array]:
    """L (q, p) of every term; terms without a column of their own have q = 0.

    Parameters
    ----------
    design : Design
    kind : {1, 2, 3}
    vcov : (p, p), optional
        Of the estimates, for a type II that is independent of the terms that contain the tested one.
    """
    terms = terms_of(design)
    if kind == 2 and vcov is not None:
        return {term.name: _type_two_of_estimates(design, terms, term, vcov) for term in terms}
    if kind == 3 and len(terms) > 1:
        return _type_three(design, terms)
    if kind == 2 and len(terms) > 1:
        return {term.name: _type_two(design, terms, term) for term in terms}
    L = _sequential(design.X)
    return {term.name: L[list(term.columns)] for term in terms}


def _sequential(X: Array) -> Array:
    """Rows (p, p) of the Doolittle decomposition of X'X: each column beyond those before it, of length one there."""
    R = np.linalg.qr(X, mode="r")
    return R / np.diag(R)[:, None]


def _type_two(design: Design, terms: list[Term], term: Term) -> Array:
    """The type I hypothesis in the order: terms that do not contain this one, this one, those that do.

    In rows that each hold one of the term's coefficients, as lmerTest writes it: degrees of freedom by Satterthwaite
    depend on how a hypothesis is written.
    """
    last = [column for other in terms if term.is_in(other) for column in other.columns]
    first = [c for c in range(design.p) if c not in last and c not in term.columns]
    order = [*first, *term.columns, *last]
    L = np.zeros((design.p, design.p))
    L[:, order] = _sequential(design.X[:, order])
    rows = L[len(first) : len(first) + len(term.columns)]
    return np.linalg.solve(rows[:, list(term.columns)], rows) if len(rows) else rows


def _type_two_of_estimates(design: Design, terms: list[Term], term: Term, vcov: Array) -> Array:
    """The term's coefficients plus those of terms that hold it, so that their estimates are uncorrelated with these.

    L = [I, −V_tr V_rr⁻¹] of the tested columns t and those r of its relatives, which have all its factors and numbers.
    """
    tested, atoms = list(term.columns), term.factors | term.numbers
    relatives = [column for other in terms if atoms < other.factors | other.numbers for column in other.columns]
    L = np.zeros((len(tested), design.p))
    L[np.arange(len(tested)), tested] = 1.0
    L[:, relatives] = -np.linalg.solve(vcov[np.ix_(relatives, relatives)], vcov[np.ix_(relatives, tested)]).T
    return L


def _type_three(design: Design, terms: list[Term]) -> dict[str, Array]:
    """SAS's general form: the estimable functions of a term, orthogonal to those of the terms that contain it.

    Found in the coding against first levels from the matrix with an indicator for every level of every term, and
    carried over to the coding of the design.

    Raises
    ------
    NotAvailableError
        An interaction stands without what it holds.
    """
    written = {":".join(atom.label for atom in factors) for factors in design.formula.fixed_terms.products}
    coded, indicators = (_recoded(design.recipe.fixed, full) for full in (False, True))
    parts = [":".join(c.expression.label for c in product) for product in coded.products if product]
    unwritten = [name for name in parts if name not in written]
    if unwritten:
        raise NotAvailableError(
            f"anova(type=3): an interaction in {design.formula.text!r} stands without {unwritten[0]}, which it holds; "
            "type=1 and type=2 test its terms"
        )
    treatment, every_column = (new_columns(recipe, design.frame) for recipe in (coded, indicators))
    is_kept = independent_columns(treatment, has_intercept=design.has_intercept)
    names = [name for name, keep in zip(coded.names, is_kept, strict=True) if keep]
    place = {name: k for k, name in enumerate(indicators.names)}
    treatment = treatment[:, is_kept]
    L = _without_rounding(np.linalg.pinv(treatment) @ every_column).T  # (indicators, coefficients)
    columns = _columns_of_terms(coded, is_kept)
    for term in sorted(terms, key=lambda t: -len(t.factors | t.numbers)):
        above = [c for other in terms if term.is_in(other) for c in columns[other.name]]
        if above:
            A, B = L[:, above], L[:, columns[term.name]]
            L[:, columns[term.name]] = _without_rounding(B - A @ np.linalg.lstsq(A, B, rcond=1e-10)[0])
    of_coefficients = L[[place[name] for name in names]]
    carried = _without_rounding(np.linalg.pinv(treatment) @ design.X)
    matrices = {term.name: of_coefficients[:, columns[term.name]].T for term in terms}
    return {name: rows[np.abs(rows).sum(axis=1) > SMALL] @ carried for name, rows in matrices.items()}


def _without_rounding(A: Array) -> Array:
    return np.where(np.abs(A) < SMALL * np.abs(A).max(initial=0.0), 0.0, A)


def _recoded(recipe: MatrixRecipe, full: bool) -> MatrixRecipe:
    """The terms with an indicator for every level of a factor, each term once; or for all but the first."""

    def code(coded: Coded) -> Coded:
        if coded.table is None:
            return coded
        reduced = not full and coded.table.shape[1] < len(coded.levels)
        levels = coded.levels[reduced:]
        label = coded.expression.label
        labels = tuple(f"{label}[{one_line(level)}]" for level in levels)
        return replace(coded, labels=labels, table=np.eye(len(coded.levels))[:, reduced:])

    products = tuple(tuple(map(code, product)) for product in recipe.products)
    if full:
        products = tuple({tuple(c.expression.label for c in product): product for product in products}.values())
    return MatrixRecipe(products=products)


def _columns_of_terms(recipe: MatrixRecipe, kept: NDArray[np.bool_]) -> dict[str, list[int]]:
    """The columns of every term among those kept."""
    place = np.cumsum(kept) - 1
    columns: dict[str, list[int]] = {}
    start = 0
    for product in recipe.products:
        width = int(np.prod([len(coded.labels) for coded in product], dtype=int))
        name = ":".join(coded.expression.label for coded in product)
        columns.setdefault(name, []).extend(int(place[c]) for c in range(start, start + width) if kept[c])
        start += width
    return columns
