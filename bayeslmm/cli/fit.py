"""``bayeslmm fit``: a table and a formula → printed tables and files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, NotAvailableError, StorageError
from ..families import PREDICTED
from .console import DOUBTFUL, OK, heading, note, shows_progress
from .table import Table, read_table

OUTPUTS = {"tidy": "--tidy", "save": "--save", "report": "--report"}


def run_fit(options: argparse.Namespace) -> int:
    """Fit and print; the exit code says whether the numbers can be trusted."""
    import bayeslmm as blm

    check_words(options.data, options.formula, options.rest)
    check_outputs(options)
    table = read_table(options.data, stream=options.stream)
    if table.in_chunks:
        check_needs_no_rows(options)
    check_not_overwritten(table, options)
    print(table.description)
    model = blm.Model(
        options.formula,
        table.frame,
        family=options.family,
        link=options.link,
        weights=options.weights,
        offset=options.offset,
        se=options.se,
        sigma=options.sigma,
        residual=options.residual,
        contrasts=read_contrasts(options.contrasts),
        **{name: getattr(options, name) for name in PREDICTED},
        trust=False,
        matrices=read_matrices(options.matrix) or None,
        progressbar=shows_progress(),
    )
    if not model.design.every_group:
        note(
            "note: the formula has no random part (... | group), so this is a model without groups. "
            "If you wrote one, the shell took it: put the formula in quotes."
        )
    fits = _fits(model, options)
    good = all(_is_good(fit) for fit in fits)
    fit = fits[-1]
    if len(fits) > 1:
        heading("Side by side")
        both = len(fits) == 2 and hasattr(fit, "idata")
        print(blm.compare_estimates(*fits) if both else blm.model_table(*fits, loo=False))
    if options.check:
        heading("Check")
        check = blm.check(fit, progressbar=shows_progress())
        print(check)
        good = good and check.passed
    _write(fit, options)
    return OK if good else DOUBTFUL


def read_matrices(arguments: Sequence[str]) -> dict[str, Any]:
    """Matrices by name from ``NAME=CSV``, their labels in the first row and the first column.

    Raises
    ------
    InputError
        Not written so, or a file that cannot be read.
    """
    import pandas as pd

    matrices = {}
    for text in arguments:
        name, _, path = text.partition("=")
        if not name.isidentifier() or not path:
            raise InputError(f"--matrix {text}: write NAME=FILE.csv, such as A=relationships.csv")
        try:
            table = pd.read_csv(path, index_col=0)
        except (OSError, ValueError) as problem:
            raise InputError(f"--matrix {text}: {problem}") from None
        if [str(label) for label in table.index] == list(table.columns):
            table.columns = table.index  # numbers are texts at the head of a column
        matrices[name] = table
    return matrices


def read_contrasts(arguments: Sequence[str]) -> str | dict[str, str] | None:
    """A word for every factor, or words by factor from ``NAME=WORD``.

    Raises
    ------
    InputError
        A word for every factor beside others.
    """
    if len(arguments) == 1 and "=" not in arguments[0]:
        return arguments[0]
    by_factor = dict(text.rpartition("=")[::2] for text in arguments)
    if "" in by_factor:
        raise InputError(
            f"--contrasts {' --contrasts '.join(arguments)}: one WORD for every factor, or all as NAME=WORD"
        )
    return by_factor or None


def _fits(model: Any, options: argparse.Namespace) -> list[Any]:
    """What was asked for, printed one after the other: the posterior if nothing was said, and last."""
    posterior = options.posterior or not (options.reml or options.ml)
    if posterior:
        heading("Model")
        print(model)
    fits = []
    for is_wanted, title, fit in (
        (options.reml, "REML", model.fit_reml),
        (options.ml, "Maximum likelihood", model.fit_ml),
        (posterior, "Posterior", lambda: _sample(model, options)),
    ):
        if is_wanted:
            fits.append(fit())
            heading(title)
            print(fits[-1].summary())
    return fits


def _sample(model: Any, options: argparse.Namespace) -> Any:
    return model.fit(
        method=options.method,
        draws=options.draws,
        tune=options.tune,
        chains=options.chains,
        cores=options.cores,
        random_seed=options.seed,
        progressbar=shows_progress(),
    )


def _is_good(fit: Any) -> bool:
    """A boundary is an estimate like others; one of many, of a search that failed and of doubtful draws are not."""
    diagnosis = getattr(fit, "diagnosis", None)
    return bool(diagnosis.converged if diagnosis is not None else fit.solution.status in ("converged", "boundary"))


def _write(fit: Any, options: argparse.Namespace) -> None:
    import bayeslmm as blm

    from ..results.files import write_whole

    writers: dict[str, Callable[[Path], Any]] = {
        "tidy": lambda path: write_whole(path, fit.tidy().to_csv(index=False).encode()),
        "save": lambda path: blm.save(fit, path),
        "report": lambda path: blm.report(fit, path, progressbar=shows_progress()),
    }
    for name, flag in OUTPUTS.items():
        path = getattr(options, name)
        if path is None:
            continue
        try:
            writers[name](path)
        except OSError as problem:
            raise StorageError(f"{flag}: {path} cannot be written: {problem.strerror or problem}") from None
        note(f"written: {path}")


# -- what is wrong is said before anything is fitted


def check_words(data: str, formula: str, more_words: list[str]) -> None:
    """Recognise a formula that the shell has cut into words, and arguments in the other order."""
    advice = 'Put the formula in quotes: "y ~ x + (1 | g)".'
    if more_words:
        words = " ".join(repr(word) for word in [formula, *more_words][:8])
        home = os.path.expanduser("~")
        tilde = " The shell put your home folder in the place of '~'." if home in [formula, *more_words] else ""
        single = " In this shell quotes are double ones." if formula.startswith("'") else ""
        raise InputError(f"the formula arrived in {len(more_words) + 1} words ({words}).{tilde}{single} {advice}")
    if "~" in data and "~" not in formula:
        raise InputError(f'the table comes first, then the formula: fit {formula} "{data}"')
    if "~" not in formula:
        raise InputError(f"{formula!r} is no formula: it has no '~'. {advice}")


def check_outputs(options: argparse.Namespace) -> None:
    """Refuse paths that cannot be written, before the fit is waited for."""
    seen: dict[Path, str] = {}
    for name, flag in OUTPUTS.items():
        path = getattr(options, name)
        if path is None:
            continue
        if path.is_dir():
            raise InputError(f"{flag}: {path} is a folder. Name a file in it.")
        if not path.parent.is_dir():
            raise InputError(f"{flag}: there is no folder {path.parent} to write {path.name} into.")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise InputError(f"{flag}: {path} may not be written.")
        if path.resolve() in seen:
            raise InputError(f"{flag} and {seen[path.resolve()]} name the same file, {path}.")
        seen[path.resolve()] = flag


def check_needs_no_rows(options: argparse.Namespace) -> None:
    """Refuse what needs the rows of a table that is read in chunks."""
    for is_wanted, flag in ((options.check, "--check"), (options.report is not None, "--report")):
        if is_wanted:
            raise NotAvailableError(
                f"{flag} needs the rows, and {options.data} is read in chunks, of which sums are kept. Ask for it "
                "with a sample of rows in one file."
            )


def check_not_overwritten(table: Table, options: argparse.Namespace) -> None:
    """Refuse to write a result over the data."""
    for name, flag in OUTPUTS.items():
        path = getattr(options, name)
        if table.path is not None and path is not None and path.exists() and path.samefile(table.path):
            raise InputError(f"{flag}: {path} is the table itself, which would be lost.")
