"""Parameters fixed by a number, ``priors={"sigma": 1.0, ("sd", "g", "x"): 0}``: a design in which they are no unknowns.

A parameter of the family keeps its place in the density and has no coordinate (`Family.fixed`). An sd of zero leaves
its column out of the bar, since effects without variance are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..covariances import UNSTRUCTURED
from ..errors import NotAvailableError, PriorError
from ..families import Family
from ..terms.group import GroupTerm

Key = str | tuple[str, ...]
Fixed = Mapping[Key, float]


def is_number(value: Any) -> bool:
    """Whether a value of ``priors=`` is a number, and no distribution."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)


def numbers(priors: Any) -> dict[Key, float]:
    """The numbers of ``priors=``, which may be anything."""
    if not isinstance(priors, Mapping):
        return {}
    return {key: float(value) for key, value in priors.items() if is_number(value)}


def apart(priors: Any) -> tuple[dict[Key, float], Any]:
    """The numbers of ``priors=``, and the rest of it, which may be anything that is no mapping.

    Raises
    ------
    PriorError
        A number for several sds, and a prior for one of them.
    """
    if not isinstance(priors, Mapping):
        return {}, priors
    fixed = numbers(priors)
    others = {key: value for key, value in priors.items() if key not in fixed}
    for general in fixed:
        for key in others:
            if key != general and _is_of(general, key):
                raise PriorError(
                    f"priors={{{general!r}: {fixed[general]:g}, {key!r}: ...}}: the number fixes an sd that the "
                    "other gives a prior. Name the sds to be fixed one by one: ('sd', group, column)."
                )
    return fixed, others


def changed(fixed: Fixed, priors: Any) -> tuple[dict[Key, float], Any]:
    """What is fixed after ``priors`` were given to a model with ``fixed`` parameters, and the rest of them."""
    given, others = apart(priors)
    freed = others if isinstance(others, Mapping) else {}
    return {key: value for key, value in fixed.items() if key not in freed} | given, others


def without(given: Mapping[Any, Any], fixed: Fixed) -> dict[Any, Any]:
    """Priors given before, less those of parameters that are fixed now."""
    return {key: value for key, value in given.items() if key not in fixed}


def _is_of(general: Key, key: Any) -> bool:
    """Whether a key of an sd is one of those that a more general one stands for."""
    if general == "sd":
        return isinstance(key, tuple) and key[:1] == ("sd",)
    return isinstance(general, tuple) and isinstance(key, tuple) and key[: len(general)] == general


def label_of(key: Key) -> str:
    """What a fixed parameter is called in print: ``sigma``, ``sd(x | g)``."""
    return f"sd({key[2]} | {key[1]})" if isinstance(key, tuple) else key


def in_words(fixed: Fixed) -> str:
    """Which parameters are fixed, and where: ``sigma = 1, sd(x | g) = 0``."""
    return ", ".join(f"{label_of(key)} = {value:.6g}" for key, value in fixed.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixing:
    """The numbers that were given, held against a family.

    Attributes
    ----------
    given : mapping
        By the keys of ``priors=``.
    of_family : mapping
        Those of parameters of the family.
    """

    given: Fixed
    of_family: Mapping[str, float]

    @classmethod
    def of(cls, given: Fixed | None, family: Family, *, se: Any, residual: Any, predicted: Any) -> Fixing:
        """Read them.

        Raises
        ------
        PriorError
            A value that the parameter cannot have, or a parameter that has a linear predictor or is known already.
        NotAvailableError
            A parameter that cannot be fixed, with what to write instead.
        """
        of_family: dict[str, float] = {}
        for key, value in (given or {}).items():
            if not np.isfinite(value):
                raise PriorError(f"priors={{{key!r}: {value}}}: a parameter is fixed at a finite number")
            if isinstance(key, str) and key in family.every_parameter:
                _check_family(family, key, value, residual=residual, predicted=predicted)
                of_family[key] = value
            elif key == "sd" or (isinstance(key, tuple) and key[:1] == ("sd",) and len(key) < 4):
                if value != 0.0:
                    raise NotAvailableError(
                        f"priors={{{key!r}: {value:g}}}: an sd of effects can be fixed at 0, which leaves them out, "
                        "and at no other number. A narrow prior comes near it in a posterior: "
                        f"{{{key!r}: Prior('LogNormal', mu={np.log(abs(value)):.4g}, sigma=0.01)}}"
                    )
            else:
                raise _refusal(key, value, family, se)
        return cls(given=dict(given or {}), of_family=of_family)

    def family(self, family: Family) -> Family:
        """The family in which they are no unknowns."""
        ordered = ((name, self.of_family[name]) for name in family.every_parameter if name in self.of_family)
        return replace(family, fixed=tuple(ordered)) if self.of_family else family

    def kept(self, term: GroupTerm) -> np.ndarray | None:
        """Which columns (q,) of a grouping factor have an sd that is not fixed at zero; None for all of them.

        Raises
        ------
        NotAvailableError
            Some columns of a structure in which each has its place.
        """
        zero = [any(_is_of(key, ("sd", term.name, name)) for key in self.given) for name in term.sd_terms]
        if not any(zero):
            return None
        kept = np.array([not zero[place] for place in term.template.sd_of])
        for block, structure, text in zip(term.blocks, term.template.structures, term.texts, strict=True):
            some = kept[list(block)]
            if some.any() and not some.all() and structure.n_correlations(len(block)) and not structure.is_free:
                raise NotAvailableError(
                    f"priors={{('sd', {term.name!r}, ...): 0}}: in {text} every column has its place in the structure "
                    "of the others, and none can be left out. Write the bar without it, or with us(...)."
                )
        return kept

    def resolved(self, family: Family, groups: Sequence[GroupTerm], elsewhere: Sequence[GroupTerm]) -> dict[Key, float]:
        """Every parameter that is fixed with a key of its own, in the order of the model.

        Parameters
        ----------
        groups
            The terms of all grouping factors as they were written.
        elsewhere
            Those of linear predictors of parameters, whose sds are not fixed.

        Raises
        ------
        PriorError
            A key that stands for no sd.
        """
        sds: dict[Key, float] = {}
        used: set[Key] = set(self.of_family)
        for term in groups:
            for name in term.sd_terms:
                matching = [key for key in self.given if _is_of(key, ("sd", term.name, name))]
                used |= set(matching)
                if matching:
                    sds["sd", term.name, name] = 0.0
        for term in elsewhere:
            for key in (key for key in self.given for name in term.sd_terms if _is_of(key, ("sd", term.name, name))):
                raise NotAvailableError(
                    f"priors={{{key!r}: 0}}: sds of effects on parameters besides the mean, as of {term.name}, are not "
                    "fixed by a number. Leave the bar out of that predictor, and name the other sds one by one."
                )
        for key in self.given:
            if key not in used:
                available, others = (
                    ", ".join(repr(("sd", term.name, name)) for term in terms for name in term.sd_terms)
                    for terms in (groups, elsewhere)
                )
                others = others and f" Those of effects on other parameters are not fixed by a number: {others}."
                raise PriorError(
                    f"priors={{{key!r}: {self.given[key]:g}}}: no sd goes by that key that can be fixed. Sds here that "
                    f"can: {available or 'none'}.{others} A smooth, or a term with gr() or mm(), is left out of the "
                    "formula instead."
                )
        return {**sds, **dict(self.family(family).fixed)}


def reduced(term: GroupTerm, kept: np.ndarray) -> GroupTerm | None:
    """A grouping factor with some of its columns; None without any."""
    if not kept.any():
        return None
    columns = [int(c) for c in np.flatnonzero(kept)]
    place = {column: i for i, column in enumerate(columns)}
    blocks = [tuple(place[column] for column in block if column in place) for block in term.blocks]
    left = [b for b, block in enumerate(blocks) if block]
    structures = term.template.structures
    Z = np.ascontiguousarray(term.Z[:, columns])
    Z.setflags(write=False)
    return replace(
        term,
        columns=tuple(term.columns[column] for column in columns),
        Z=Z,
        blocks=tuple(blocks[b] for b in left),
        structures=tuple(UNSTRUCTURED if len(blocks[b]) == 1 else structures[b] for b in left),
        texts=tuple(term.texts[b] for b in left) if term.texts else (),
        lefts=tuple(term.lefts[b] for b in left) if term.lefts else (),
    )


def _check_family(family: Family, name: str, value: float, *, residual: Any, predicted: Any) -> None:
    if not family.positive_parameters:
        raise NotAvailableError(
            f"priors={{{name!r}: {value:g}}}: {name} is several increasing numbers, which one number cannot fix. A "
            "narrow prior holds all of them near it."
        )
    if name in predicted:
        raise PriorError(f"priors={{{name!r}: {value:g}}}: {name} has a linear predictor, {name}=. Leave one out.")
    if residual is not None:
        raise NotAvailableError(
            f"priors={{{name!r}: {value:g}}}: {name} can be fixed where it is the only parameter of the residuals, "
            "and not beside sigma= or residual=. Sds that are known row by row are given by se="
        )
    if family.is_probability(name) and not 0.0 < value < 1.0:
        raise PriorError(
            f"priors={{{name!r}: {value:g}}}: {name} is a probability, and lies between 0 and 1 without the ends. "
            "At 0 it is the family without it."
        )
    if value <= 0.0:
        raise PriorError(f"priors={{{name!r}: {value:g}}}: {name} is fixed at a number above zero")


def _refusal(key: Any, value: float, family: Family, se: Any) -> Exception:
    """Why what is no parameter of the family and no sd cannot be fixed, and what to write instead."""
    what, first = f"priors={{{key!r}: {value:g}}}", key[0] if isinstance(key, tuple) and key else key
    if first == "cor":
        return NotAvailableError(
            f"{what}: correlations of effects are not fixed by a number. (x || g) has none; a narrow prior holds them "
            "near zero: LKJ(100)"
        )
    if first in ("rho", "log_ratio"):
        return NotAvailableError(
            f"{what}: parameters of residuals besides sigma are not fixed by a number. Leave residual= or sigma= out "
            "where they are zero."
        )
    if se is not None and key == "sigma":
        return PriorError(f"{what} with se=: the standard errors of the rows are known already. Leave one out.")
    having = f"; those of {family.option} are {', '.join(family.every_parameter)}" if family.every_parameter else ""
    return NotAvailableError(
        f"{what}: a number fixes a parameter of the family{having}; and ('sd', group, column) at 0. For a coefficient "
        f"fixed at a number put it into the formula as an offset in place of its column, as offset({value:g} * x)."
    )
