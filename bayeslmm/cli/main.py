"""The commands, their options, and what becomes of an error: one message, one exit code."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from ..engine.interrupts import interruptible
from ..errors import BayesLMMError, FitError
from ..families import NAMES, PREDICTED
from .compile_loops import run_compile
from .console import (
    BROKEN,
    DOUBTFUL,
    INTERRUPTED,
    PIPE_CLOSED,
    REFUSED,
    note,
    silence_standard_output,
    warnings_as_notes,
    write_what_can_be_written,
)
from .datasets import run_datasets
from .demo import run_demo
from .fit import run_fit

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ABOUT = "Mixed-effects models: lme4's numbers and the full posterior from one formula."
EXIT_CODES = """\
exit codes:
  0    done; for fit: converged, and no check says no
  1    fitted, but the search, the draws or a check say that the numbers cannot be trusted
  2    the command line, the table, the formula or a path is at fault
  3    an error of the program, which should be reported
  130  interrupted (Ctrl-C)
"""
FIT = """\
DATA is a file (CSV or another table in text, also .gz, .bz2, .xz; Parquet with pyarrow), one of the
data sets that 'datasets' lists, or - for standard input. FORMULA is lme4's, in quotes: a shell has
uses of its own for | ( ) and ~. Functions in it: log, poly, bs, C and others, see docs/security.md.
Names of columns with blanks stand in backticks, and the formula then in single quotes.

examples:
  %(prog)s sleepstudy "Reaction ~ Days + (Days | Subject)"
  %(prog)s data.csv "log(y) ~ poly(x, 2) + (1 | school/class)" --reml --tidy out.csv
  %(prog)s cbpp "p(incidence, size) ~ period + (1 | herd)" --family binomial
  %(prog)s data.csv 'y ~ `my x` + (1 | g)' --seed 1 --check --report out.html

"""


class Parser(argparse.ArgumentParser):
    """Errors as one line with where help is, not the whole usage."""

    def error(self, message: str) -> NoReturn:
        note(f"{self.prog}: error: {message}. See {self.prog} --help")
        raise SystemExit(REFUSED)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Without the program's name; by default those of the process.

    Returns
    -------
    int
        The exit code.
    """
    write_what_can_be_written()
    parser = build_parser()
    options, more_words = parser.parse_known_args(arguments)
    options.rest = more_words
    stray = [word for word in more_words if word.startswith("-") and len(word) > 1 and not word[1:].isdigit()]
    if stray or (more_words and options.run is not run_fit):
        parser.error(f"unknown: {' '.join(stray or more_words)}")
    try:
        with interruptible(), warnings_as_notes():
            code = int(options.run(options))
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        silence_standard_output()
        return PIPE_CLOSED
    except MemoryError:
        return _failed(parser, "this takes more memory than there is", REFUSED)
    except BayesLMMError as problem:
        return _failed(parser, str(problem), DOUBTFUL if isinstance(problem, FitError) else REFUSED)
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno in DISK_FULL:
            silence_standard_output()  # nothing is to be written at exit either
            return _failed(parser, f"{problem.strerror}, where standard output or temporary files go", REFUSED)
        message = f"{type(problem).__name__}: {problem}"
        advice = "This is an error of the program; with BAYESLMM_TRACEBACK=1 it shows where."
        return _failed(parser, f"{message}\n{advice}", BROKEN)


def _failed(parser: argparse.ArgumentParser, message: str, code: int) -> int:
    if os.environ.get("BAYESLMM_TRACEBACK"):
        traceback.print_exc()
    note(f"{parser.prog}: error: {message}")
    return code


# -- options


def build_parser() -> Parser:
    """All commands."""
    installed = Path(sys.argv[0]).stem == "bayeslmm"
    parser = Parser(
        prog="bayeslmm" if installed else "python -m bayeslmm",
        description=ABOUT,
        epilog=EXIT_CODES,
        formatter_class=_wide,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"bayeslmm {version('bayeslmm')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], what: str, more: str = "") -> Parser:
        added = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=f"{more}{EXIT_CODES}",
            formatter_class=_wide,
            allow_abbrev=False,
        )
        added.set_defaults(run=run)
        return added

    _add_fit(command("fit", run_fit, "fit a model to a table, print it, write results to files", FIT))
    datasets = command("datasets", run_datasets, "list the data sets, or describe one")
    datasets.add_argument("name", nargs="?", metavar="NAME", help="the one to describe")
    demo = command("demo", run_demo, "fit two data sets both ways, print tables, save pictures")
    demo.add_argument("--build", type=Path, default=Path("build"), metavar="FOLDER", help="for pictures (build)")
    demo.add_argument("--seed", type=_whole(0), default=1, metavar="N", help="random seed (1)")
    command("compile", run_compile, "compile the loops now, so that the first fit does not have to")
    return parser


def _wide(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, width=100, max_help_position=28)


def _add_fit(parser: Parser) -> None:
    parser.add_argument(
        "data", metavar="DATA", help="a file, a folder or glob of Parquet files, a data set, or - for standard input"
    )
    parser.add_argument("formula", metavar="FORMULA", help='such as "y ~ x + (x | g)", in quotes')
    parser.add_argument("--stream", action="store_true", help="read a Parquet file in chunks, as folders and globs are")
    what = parser.add_argument_group("what is fitted (the posterior, if nothing is said; several are compared)")
    what.add_argument("--reml", action="store_true", help="estimates by restricted maximum likelihood, as lmer")
    what.add_argument("--ml", action="store_true", help="estimates by maximum likelihood")
    what.add_argument("--posterior", action="store_true", help="draws of the posterior")
    model = parser.add_argument_group("the model")
    model.add_argument("--family", choices=NAMES, default="gaussian", metavar="NAME", help=", ".join(NAMES))
    model.add_argument("--link", metavar="NAME", help="by R's name: logit, probit, log, ... (the family's first)")
    model.add_argument("--weights", metavar="COLUMN", help="prior weights")
    model.add_argument(
        "--sigma", metavar="TERMS", help="what the residual sd varies by, such as '~ treatment', in quotes"
    )
    for name in PREDICTED:
        model.add_argument(
            f"--{name}", metavar="TERMS", help=f"what {name} varies by, such as '~ treatment', in quotes"
        )
    model.add_argument(
        "--residual", metavar="WORDS", help="how residuals are correlated, such as 'ar1(week | subject)', in quotes"
    )
    model.add_argument(
        "--contrasts",
        action="append",
        default=[],
        metavar="WORD",
        help="coding of factors: sum, helmert, poly or treatment; or of one factor, arm=sum (repeatable)",
    )
    model.add_argument("--se", metavar="COLUMN", help="known standard errors of the rows: meta-analysis")
    model.add_argument(
        "--matrix",
        action="append",
        default=[],
        metavar="NAME=CSV",
        help="a matrix that gr(column, cov=NAME) relates levels by: labels in the first row and column",
    )
    model.add_argument("--offset", metavar="COLUMN", help="a known part of the mean")
    draws = parser.add_argument_group("the draws")
    draws.add_argument("--seed", type=_whole(0), metavar="N", help="random seed: same seed, same draws")
    draws.add_argument("--draws", type=_whole(1), default=1000, metavar="N", help="draws kept a chain (1000)")
    draws.add_argument("--tune", type=_whole(0), default=1000, metavar="N", help="tuning steps of NUTS (1000)")
    draws.add_argument("--chains", type=_whole(1), default=4, metavar="N", help="chains (4)")
    draws.add_argument("--cores", type=_whole(1), metavar="N", help="chains at a time (all processors)")
    draws.add_argument("--method", choices=("auto", "exact", "nuts"), default="auto", help="sampler (auto)")
    results = parser.add_argument_group("the results (of the last fit: the posterior, if there is one)")
    results.add_argument("--check", action="store_true", help="check the fit, and say so in the exit code")
    results.add_argument("--tidy", type=Path, metavar="CSV", help="write the table of estimates")
    results.add_argument("--save", type=Path, metavar="NC", help="save the fit, for bayeslmm.load in Python")
    results.add_argument("--report", type=Path, metavar="HTML", help="write a page with tables, pictures, checks")


def _whole(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return number

    whole.__name__ = "whole number"
    return whole
