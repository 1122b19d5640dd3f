"""``zi="~ x"`` and the like of a model, read and held against its family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import FormulaError, InputError, NotAvailableError
from ..families import Family, families_with
from ..formulas.formula import Formula
from ..formulas.predictors import has_more_than_columns, parse_predictor
from ..formulas.terms import Atom


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorWords:
    """The linear predictor of one parameter once it is read."""

    parameter: str
    text: str
    formula: Formula

    @property
    def offset_atoms(self) -> tuple[Atom, ...]:
        """Its offsets."""
        return tuple(Atom(text, is_name=False) for text in self.formula.offsets)

    @classmethod
    def of(cls, given: Mapping[str, Any], family: Family) -> tuple[PredictorWords, ...]:
        """Read those that are given, in the order of the family's parameters.

        Raises
        ------
        FormulaError, NotAvailableError
            One cannot be read, or has terms that are not offered.
        InputError
            The family has no such parameter.
        """
        asked = {name: text for name, text in given.items() if text is not None}
        for name in asked:
            if name not in family.parameters or not family.is_positive(name):
                raise InputError(_no_such_parameter(name, asked[name], family))
            if family.is_normal and not has_more_than_columns(asked[name]):
                raise NotAvailableError(
                    f"{name}={asked[name]!r} of {family.option}: unequal sds of normal errors are estimated with the "
                    "response as it is. Take log(y) on the left of the formula, with family='gaussian'"
                )
        return tuple(
            cls(parameter=name, text=asked[name].strip(), formula=parse_predictor(name, asked[name]))
            for name in family.parameters
            if name in asked
        )


def words_of_categories(formula: Formula, family: Family, *, has_offset: bool) -> PredictorWords:
    """The linear predictor of the second category, which is that of every other one as well.

    Raises
    ------
    FormulaError, NotAvailableError
        The formula has no term, or terms that are not offered.
    """
    for bar in formula.bars:
        if bar.word is not None:
            raise NotAvailableError(
                f"{bar.text} with {family.option}: in the predictors of categories levels are independent and a row "
                "has one, (1 | g); brms has the others"
            )
    if formula.offsets or has_offset:
        raise NotAvailableError(
            f"an offset with {family.option}: each category but the first has a linear predictor, and an offset does "
            "not say of which it is a part"
        )
    if not len(formula.fixed_terms):
        raise FormulaError(
            f"{formula.text!r} with {family.option}: without a fixed term all categories are as likely as the first. "
            "Write '1 + ...'."
        )
    text = formula.text.partition("~")[2].strip()
    return PredictorWords(parameter=family.parameters[0], text=f"~ {text}", formula=formula)


def _no_such_parameter(name: str, text: Any, family: Family) -> str:
    if name in family.known:
        return f"{name}= with se=: known standard errors leave no {name} to be modelled. Leave one out."
    having = families_with(name)
    if family.is_nominal:
        return f"{name}={text!r}: {family.option} has no {name}; its categories have linear predictors, by the formula."
    available_words = (
        f"its parameters are {', '.join(family.parameters)}" if family.parameters else "it has none besides the mean"
    )
    return (
        f"{name}={text!r}: {family.option} has no {name}; {available_words}. Families with {name}: {', '.join(having)}."
    )
