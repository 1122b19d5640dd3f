"""``zi="~ x"`` and the like: the linear predictor of a parameter of the family -> its terms; no data are touched."""

from __future__ import annotations

from ..errors import FormulaError, NotAvailableError
from .formula import Formula, parse_formula


def parse_predictor(parameter: str, text: str) -> Formula:
    """The formula of a parameter, which stands on its left.

    Raises
    ------
    FormulaError
        It cannot be read, or has no term.
    NotAvailableError
        It has bars, smooths or offsets.

    Examples
    --------
    >>> str(parse_predictor("zi", "~ food").fixed_terms)
    '1 + food'
    """
    if not isinstance(text, str) or not text.strip().startswith("~"):
        raise FormulaError(f"{parameter}={text!r}: a text such as '~ treatment' is needed, with the '~' first.")
    formula = parse_formula(f"{parameter} {text.strip()}")
    if formula.bars or formula.smooths or formula.offsets:
        what = "bars" if formula.bars else "smooths" if formula.smooths else "offsets"
        raise NotAvailableError(
            f"{parameter}={text!r}: the predictor of {parameter} follows columns of the data here, without {what}. "
            "brms has them"
        )
    if not len(formula.fixed_terms):
        raise FormulaError(
            f"{parameter}={text!r}: there is no term. Write '~ 1', or leave it out, for one {parameter}."
        )
    return formula
