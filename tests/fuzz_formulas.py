"""Formulas nobody would write: a seeded generator of valid ones, bent out of shape, and what became of each.

``python tests/fuzz_formulas.py --count 20000 --seed 1`` prints the outcomes. A formula may be read and fitted, or be
refused by an error of ours; anything else (a foreign exception or warning, a wait) is a finding, and the exit status 1.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import numpy as np
import pandas as pd

import bayeslmm as blm
from bayeslmm.errors import BayesLMMError, BayesLMMWarning
from bayeslmm.formulas.formula import parse_formula

ROWS = 48
SECONDS_A_STRING = 5.0
FITTED_SHARE = 0.3

# -- formulas

NUMBERS = ("x", "z", "n", "`odd name`", "größe", "a.b", "log", "`class`", "const", "gap", "one")
FACTORS = ("f", "h", "yes", "`f:h`", "few")
GROUPS = ("g", "k", "code", "f", "`odd group`", "gap")
OTHERS = ("day", "mixed", "nowhere", "Y", "`no such column`", "rowid", "big", "infinite")
RESPONSES = ("y", "log(n)", "np.sqrt(n)", "y/2", "I(y + 1)", "`odd name`", "(y)", "yes", "n", "h['p']", "f", "{y}")
CALLS = (
    "log({})",
    "I({}^2)",
    "np.exp({})",
    "poly({}, 2)",
    "poly({}, 2, raw=TRUE)",
    "bs({}, df=4)",
    "scale({})",
    "center({})",
    "C({})",
    "factor({})",
    "abs({} - 1)",
    "I({} > 0)",
    "{{{} * 2}}",
    "C({}, Sum)",
    "cr({}, df=3)",
    "np.log1p(abs({}))",
    "I({} + {})",
    "round({})",
    "as.factor({})",
    "ifelse({} > 0, 1, 0)",
    "ns({}, 3)",
    "np.where({} > 0, 1, 0)",
    "pd.cut({}, 2)",
    "{}.abs()",
    "{}[0]",
    "(lambda v: v)({})",
    "I({} if {} else 1)",
    "I('a')",
    "I(None)",
    "len({})",
    "sum({})",
    "np.{}",
    "relevel({}, ref='u')",
    "T({}, ref='p')",
    "offset({})",
    "I([v for v in {}])",
    "I({}, {})",
    "log()",
    "C()",
    "p({}, {})",
    "np.random",
    "str({})",
    "scale({}, {})",
    "ave({}, {})",
    "pmax({}, {})",
    "I({} - mean({}))",
    "I({} - {}.mean())",
    "{}.rank()",
    "np.cumsum({})",
    "abs(class)",
    "C({}, contr.poly)",
    "I(!{})",
    "np.isin({}, c('u', 'p'))",
    "I({} %in% {})",
    "mo({})",
    "I({} / sd({}))",
)
BARS = ("|", "||", " | ", " || ")
IDIOMS = (
    ".",
    "-1",
    "+0",
    "%in%",
    ":=",
    "|>",
    "^2",
    "**2",
    "~",
    "->",
    "cbind(y, n)",
    "!x",
    "x %in% f",
    "TRUE",
    "1e5",
    "(1|)",
    "(|g)",
    "()",
    "x=1",
    "x == 1",
    "x < z",
    "a&b",
    "2*x",
    "''",
    "'x'",
    "`",
    "``",
    "…",
    "−",
    "×",
    "∣",
    "～",
    "\x00",
    "\t",
    "\n",
    "\u200b",
    "🐍",
    "x²",
    "ﬁ",
    "١",
    "%%",
    "%/%",
    "@",
    "$",
    "#",
    ";",
    "\\",
    "?",
    "lambda: 0",
    "await x",
    "__import__('os')",
    "x.__class__",
    "yield",
    "x := 1",
    "f'{x}'",
    "0x1F",
    "1_000",
    "...",
    "*x",
    "**x",
    "import os",
)


def formula(rng: random.Random) -> str:
    """A formula of the grammar, usually one that could be meant."""
    return f"{rng.choice(RESPONSES) if rng.random() < 0.3 else 'y'} ~ {_sum(rng, 0)}"


def _sum(rng: random.Random, depth: int) -> str:
    parts = [_term(rng, depth) for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))]
    operators = rng.choices((" + ", " - ", "+", " * ", ":", "/"), (8, 1, 4, 1, 1, 1), k=len(parts) - 1)
    return parts[0] + "".join(operator + part for operator, part in zip(operators, parts[1:], strict=True))


def _term(rng: random.Random, depth: int) -> str:
    kind = rng.choices(
        ("number", "factor", "bar", "call", "constant", "parentheses", "power", "other", "idiom"),
        (8, 4, 8, 4, 2, 2 if depth < 3 else 0, 1 if depth < 3 else 0, 1, 1),
    )[0]
    if kind == "bar":
        left = rng.choice(("1", "x", "0 + x", "x - 1", "f", "0 + f", "x * z", _sum(rng, 3)))
        group = rng.choice(GROUPS)
        if rng.random() < 0.25:
            group += rng.choice((":", "/", "*", " + ")) + rng.choice(GROUPS)
        return f"({left}{rng.choice(BARS)}{group})"
    if kind == "call":
        call = rng.choice(CALLS)
        return call.format(*(rng.choice(NUMBERS + FACTORS) for _ in range(call.count("{}") + 2)))
    return {
        "number": lambda: rng.choice(NUMBERS),
        "factor": lambda: rng.choice(FACTORS),
        "constant": lambda: rng.choice(("0", "1", "-1", "2", "1.5")),
        "parentheses": lambda: f"({_sum(rng, depth + 1)})",
        "power": lambda: f"({_sum(rng, depth + 1)}){rng.choice(('^', '**'))}{rng.choice((1, 2, 3, 9, 'x'))}",
        "other": lambda: rng.choice(OTHERS),
        "idiom": lambda: rng.choice(IDIOMS),
    }[kind]()


PIECE = re.compile(r"\s+|[\w.]+|`[^`]*`|'[^']*'|.", re.DOTALL)


def bent(rng: random.Random, text: str) -> str:
    """The text after one to four accidents."""
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3))):
        pieces = PIECE.findall(text) or [""]
        at, other = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        accident = rng.randrange(8)
        if accident == 0:
            del pieces[at]
        elif accident == 1:
            pieces.insert(at, pieces[other])
        elif accident == 2:
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif accident == 3:
            pieces.insert(at, rng.choice("()[]{}|`'\"~+-*/:^%&!=<>.,"))
        elif accident == 4:
            pieces.insert(at, rng.choice(IDIOMS))
        elif accident == 5:
            pieces.insert(at, chr(rng.choice((rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0x10FFFF)))))
        elif accident == 6:
            pieces[at] = rng.choice(NUMBERS + FACTORS + OTHERS)
        else:
            pieces = pieces[: at + 1]
        text = "".join(pieces)
    return text


def formulas(count: int, seed: int) -> Iterator[str]:
    """``count`` texts: half as the grammar has them, the others bent."""
    rng = random.Random(seed)
    for _ in range(count):
        text = formula(rng)
        yield text if rng.random() < 0.5 else bent(rng, text)


# -- data


def table(seed: int = 1) -> pd.DataFrame:
    """48 rows with good columns and bad ones."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "g": np.repeat([*"abcdefgh"], 6),
            "k": np.tile([*"mnopqr"], 8),
            "code": np.repeat(np.arange(12), 4),
            "odd group": np.tile(["a b", "c:d", "e|f", ""], 12),
            "f": np.resize(["u", "v", "w"], ROWS),
            "h": np.resize(["p", "q"], ROWS),
            "yes": np.resize([True, False, False], ROWS),
            "f:h": np.resize([*"abcde"], ROWS),
            "few": pd.Categorical(np.resize(["lo", "hi"], ROWS), ["lo", "hi", "no"]),
            "const": 3.0,
            "one": 1,
            "n": rng.integers(1, 9, ROWS),
            "rowid": [f"r{i}" for i in range(ROWS)],
            "day": pd.date_range("2020", periods=ROWS),
            "mixed": [1, "a"] * (ROWS // 2),
            "big": rng.normal(size=ROWS) * 1e300,
        }
    )
    for name in ("x", "z", "odd name", "größe", "a.b", "log", "class"):
        data[name] = rng.normal(size=ROWS)
    data["gap"] = np.where(rng.random(ROWS) < 0.2, np.nan, rng.integers(0, 4, ROWS))
    data["infinite"] = np.where(data.index == 5, np.inf, data["x"])
    data["y"] = data["x"] + np.repeat(rng.normal(size=8), 6) + rng.normal(size=ROWS)
    return data


# -- what becomes of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a formula; ``trouble`` is empty unless it is a finding."""

    text: str
    kind: str
    trouble: str = ""


class TooSlowError(BaseException):
    """Raised by the alarm; no ``except Exception`` can swallow it."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(text: str, data: pd.DataFrame, *, fitted: bool, seconds: float = SECONDS_A_STRING) -> Outcome:
    """Parse, design, and where ``fitted`` estimate and print."""
    stage = "refused by the parser"
    try:
        with at_most(seconds), warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            parse_formula(text)
            stage = "refused by the data"
            model = blm.Model(text, data)
            stage = "designed"
            shown = [repr(model), model._repr_html_()]
            if fitted:
                stage = "refused by the fit"
                fit = model.fit_reml()
                for page in (fit.summary(), model.explain()):
                    shown += [str(page), page._repr_html_()]
                shown.append(model.equations()._repr_latex_())
                tables = [fit.fixef(), fit.tidy("ran_pars"), fit.ranef(), fit.augment()]
                stage = "fitted"
    except BayesLMMError as error:
        cause = error.__cause__
        trouble = "" if cause is None else f"shows the traceback of {type(cause).__name__}: {cause}"
        return Outcome(text=text, kind=stage, trouble=trouble or _unhelpful(error))
    except TooSlowError:
        return Outcome(text=text, kind=stage, trouble=f"takes more than {seconds:g} s")
    except Exception:
        return Outcome(text=text, kind=stage, trouble=traceback.format_exc(limit=-4))
    trouble = [f"{w.category.__name__}: {w.message}" for w in given if not issubclass(w.category, BayesLMMWarning)]
    if (
        stage == "fitted"
        and fit.solution.status != "unidentified"
        and not all(
            # degrees of freedom are infinite where variances count as known
            np.isfinite(table.select_dtypes("float").drop(columns="df", errors="ignore")).all(axis=None)
            for table in tables
        )
    ):
        trouble.append("a number is missing in a table")
    return Outcome(text=text, kind=stage, trouble="; ".join(trouble))


def _unhelpful(error: BayesLMMError) -> str:
    message = str(error)
    return "" if 20 < len(message) < 2000 else f"message of {len(message)} characters: {message[:200]!r}"


def run(count: int, seed: int, *, fitted_share: float = FITTED_SHARE) -> Iterator[Outcome]:
    """The outcome of each formula in turn; this share of the good ones is fitted."""
    rng, data = random.Random(seed + 1), table()
    for text in formulas(count, seed):
        yield outcome(text, data, fitted=rng.random() < fitted_share)


def main() -> int:
    """Print the outcomes of a run; 1 if there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    start, counts, findings = time.perf_counter(), Counter[str](), 0
    for result in run(given.count, given.seed):
        counts[result.kind] += 1
        if result.trouble:
            findings += 1
            print(f"{result.text!r}\n  {result.kind}: {result.trouble}\n", file=sys.stderr)
    for kind, count in counts.most_common():
        print(f"{count:8,}  {kind}")
    print(f"{given.count:8,}  formulas, seed {given.seed}, {time.perf_counter() - start:.0f} s, {findings} findings")
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main())
