"""``zi="~ x"`` and the like: the linear predictor of a parameter of the family -> its terms; no data are touched."""

from __future__ import annotations

import re
from typing import Any

from ..errors import FormulaError, NotAvailableError
from .formula import Formula, parse_formula

WITH_MORE = re.compile(r"\||\boffset\s*\(|\bs\s*\(")


def parse_predictor(parameter: str, text: str) -> Formula:
    """The formula of a parameter, which stands on its left.

    Raises
    ------
    FormulaError
        It cannot be read, or has no term.
    NotAvailableError
        It has related levels or several of one factor.

    Examples
    --------
    >>> formula = parse_predictor("zi", "~ food + (1 | nest)")
    >>> str(formula.fixed_terms), [bar.text for bar in formula.bars]
    ('1 + food', ['(1 | nest)'])
    """
    if not isinstance(text, str) or not text.strip().startswith("~"):
        raise FormulaError(f"{parameter}={text!r}: a text such as '~ treatment' is needed, with the '~' first.")
    formula = parse_formula(f"{parameter} {text.strip()}")
    for bar in formula.bars:
        if bar.word is not None:
            raise NotAvailableError(
                f"{parameter}={text!r}: {bar.text} is offered in the formula of the mean. In the predictor of "
                f"{parameter} levels are independent and a row has one, (1 | g); brms has the others"
            )
    if not len(formula.fixed_terms):
        raise FormulaError(
            f"{parameter}={text!r}: there is no term. Write '~ 1', or leave it out, for one {parameter}."
        )
    return formula


def has_more_than_columns(text: Any) -> bool:
    """Whether a predictor has bars, offsets or smooths beside columns of the data.

    Examples
    --------
    >>> has_more_than_columns("~ x + (1 | g)"), has_more_than_columns("~ x")
    (True, False)
    """
    return isinstance(text, str) and WITH_MORE.search(text) is not None
