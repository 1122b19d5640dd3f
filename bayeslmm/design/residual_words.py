"""``sigma=`` and ``residual=`` of a model, read and held against its family."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import pandas as pd

from ..errors import InputError, NotAvailableError
from ..families import GAUSSIAN, Family
from ..formulas.residuals import CorrelationWords, parse_residual, parse_sigma
from ..formulas.terms import Atom, Terms
from ..tools.frame import is_numeric


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualWords:
    """``sigma=`` and ``residual=`` once they are read."""

    sigma: str | None
    residual: str | None
    terms: Terms  # of log sigma, with the positions of a structure that has an sd each
    correlation: CorrelationWords | None

    @classmethod
    def of(cls, sigma: Any, residual: Any, family: Family, se: Any, data: pd.DataFrame) -> ResidualWords | None:
        """Read them; None where neither is given, and where ``sigma="~ 1"`` asks for one sd.

        Raises
        ------
        FormulaError
            They cannot be read.
        NotAvailableError
            Another family than gaussian with the identity link.
        InputError
            Known standard errors beside them.
        """
        if sigma is None and residual is None:
            return None
        options = " and ".join(f"{name}=" for name, v in (("sigma", sigma), ("residual", residual)) if v is not None)
        if se is not None:
            raise InputError(f"{options} with se=: known standard errors leave no sigma to be modelled. Leave one out.")
        if family != GAUSSIAN:
            raise NotAvailableError(
                f"{options} with family={family}: residual structures are offered for normal responses with the "
                "identity link, whose residuals are on the scale of the response. Of a lognormal response take log(y) "
                "on the left; for other families add a bar of one level a row, (1 | row), for spread beyond the "
                "family's"
            )
        terms = Terms(intercept=True, products=()) if sigma is None else parse_sigma(sigma)
        correlation = None if residual is None else parse_residual(residual)
        if correlation is None and not terms.products:
            return None
        if correlation is not None and correlation.structure.of_levels and not correlation.structure.hom:
            atoms = tuple(_as_factor(name, data) for name in correlation.positions)
            cells = [subset for size in range(1, len(atoms) + 1) for subset in combinations(atoms, size)]
            terms = replace(terms, products=(*terms.products, *cells))
        return cls(
            sigma=None if sigma is None else sigma.strip(),
            residual=None if correlation is None else correlation.text,
            terms=terms,
            correlation=correlation,
        )

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """(column, where it stands) of the correlation."""
        words = self.correlation
        if words is None:
            return ()
        where = f"residual={words.text!r}"
        return tuple((name, where) for name in (*words.positions, *words.group))


def _as_factor(name: str, data: pd.DataFrame) -> Atom:
    """A column as the levels that it has, be they numbers."""
    numeric = name in data.columns and is_numeric(pd.Series(data[name]))
    return Atom(f"C(`{name}`)", is_name=False) if numeric else Atom(name)
