"""``zi="~ x"`` and the like of a model, read and held against its family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, NotAvailableError
from ..families import FAMILIES, Family
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
            if name not in family.parameters or not family.positive_parameters:
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


def _no_such_parameter(name: str, text: Any, family: Family) -> str:
    if name in family.known:
        return f"{name}= with se=: known standard errors leave no {name} to be modelled. Leave one out."
    having = [other for other, kind in FAMILIES.items() if name in kind.every_parameter]
    has = f"its parameters are {', '.join(family.parameters)}" if family.parameters else "it has none besides the mean"
    return f"{name}={text!r}: {family.option} has no {name}; {has}. Families with {name}: {', '.join(having)}."
