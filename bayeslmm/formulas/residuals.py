"""``sigma="~ treatment"`` and ``residual="ar1(week | subject)"`` -> words; no data are touched."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import FormulaError, NotAvailableError
from ..residual_structures import CORRELATIONS, Correlation
from .formula import parse_formula
from .terms import Atom, Terms

NAME = r"`[^`]+`|[^\W\d][\w.]*"
POWER = re.compile(r"power\((.*)\)", re.DOTALL)
CALL = re.compile(
    r"\s*(?P<word>\w+)\s*\((?P<left>(?:`[^`]*`|[^`|])*)\|(?P<group>(?:`[^`]*`|[^`,|])*)"
    r"(?:,\s*hom\s*=\s*(?P<hom>True|False)\s*)?\)\s*"
)
COLON = re.compile(r"\s*:\s*(?=(?:[^`]*`[^`]*`)*[^`]*$)")  # none inside backticks
PATTERN = "ar1(week | subject), car1(time | subject), cs(1 | subject) or us(visit | subject)"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationWords:
    """What ``residual=`` says: a structure, the columns of positions, and the columns that name the blocks."""

    structure: Correlation
    positions: tuple[str, ...]
    group: tuple[str, ...]
    text: str


def parse_sigma(text: str) -> Terms:
    """The terms of ``sigma="~ x"``, ``power(x)`` as the logarithm of its size.

    Raises
    ------
    FormulaError
        It cannot be read, or has no intercept.
    NotAvailableError
        It has bars, smooths or offsets, or a function of the mean.
    """
    if not isinstance(text, str) or not text.strip().startswith("~"):
        raise FormulaError(f"sigma={text!r}: a text such as '~ treatment' is needed, with the '~' first.")
    formula = parse_formula("sigma " + text.strip())
    if formula.bars or formula.smooths or formula.offsets:
        raise NotAvailableError(
            f"sigma={text!r}: the sd of the residuals follows columns of the data here, without bars, smooths and "
            "offsets: with them the likelihood is no integral that the kernel has in closed form"
        )
    if not formula.fixed_terms.intercept:
        raise FormulaError(
            f"sigma={text!r}: log sigma keeps its intercept, whose place sigma takes. Leave out the 0; the sd of every "
            "level of a factor is in variance_components() all the same."
        )
    products = tuple(tuple(_as_column(atom, text) for atom in factors) for factors in formula.fixed_terms.products)
    return Terms(intercept=True, products=products)


def _as_column(atom: Atom, text: str) -> Atom:
    if atom.is_name:
        return atom
    if atom.text.startswith("exp("):
        raise FormulaError(
            f"sigma={text!r}: sds are log-linear, so that '~ x' is what nlme calls varExp. Write '~ x', or I(exp(x)) "
            "if the exponential itself is meant to be the column."
        )
    power = POWER.fullmatch(atom.text)
    if power is None:
        return atom
    if power[1].strip() == "fitted":
        raise NotAvailableError(
            f"sigma={text!r}: an sd that is a power of the fitted mean makes the likelihood a function of the fixed "
            "effects that least squares do not solve. Take a power of a predictor, '~ power(x)', or family='gamma'"
        )
    return Atom(f"log(abs({power[1]}))", is_name=False)


def shown(label: str) -> str:
    """What a column of sigma is called: ``power(x)`` for its logarithm."""
    match = re.fullmatch(r"log\(abs\((.*)\)\)", label)
    return f"power({match[1]})" if match else label


def parse_residual(text: str) -> CorrelationWords:
    """What ``residual="ar1(week | subject)"`` says.

    Raises
    ------
    FormulaError
        It cannot be read.
    """
    match = CALL.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise FormulaError(f"residual={text!r}: a text such as {PATTERN} is needed.")
    kind = CORRELATIONS.get(match["word"])
    if kind is None:
        raise FormulaError(f"residual={text!r}: there is no structure {match['word']!r}. Write {PATTERN}.")
    left, group = match["left"].strip(), match["group"].strip()
    if match["hom"] and not kind.of_levels:
        raise FormulaError(f"residual={text!r}: {kind.name} has one sd, and sigma= models it. Leave out hom=.")
    parts = COLON.split(group)
    if not all(re.fullmatch(NAME, part) for part in parts):
        raise FormulaError(
            f"residual={text!r}: on the right of the bar stands a column, or several as in school:class, not {group!r}."
        )
    places = COLON.split(left) if kind.of_levels else [left]
    if kind.has_positions and not all(re.fullmatch(NAME, place) for place in places):
        raise FormulaError(
            f"residual={text!r}: {kind.name} needs to know where each row stands: write the column of "
            f"{'visits' if kind.of_levels else 'times'}, {kind.name}(time | {group}), not {left!r}."
        )
    if not kind.has_positions and left != "1":
        raise FormulaError(f"residual={text!r}: all errors of a level are alike. Write {kind.name}(1 | {group}).")
    return CorrelationWords(
        structure=kind(hom=match["hom"] == "True"),
        positions=tuple(place.strip("`") for place in places) if kind.has_positions else (),
        group=tuple(part.strip("`") for part in parts),
        text=text.strip(),
    )
