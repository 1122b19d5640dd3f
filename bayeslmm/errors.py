"""Every exception and warning the package raises on purpose.

::

    BayesLMMError
    ├── InputError (also ValueError)         the user's input is at fault
    │   ├── FormulaError                     the text of the formula; points at the token
    │   ├── DataError                        the table: columns, types, values
    │   │   ├── UnknownColumnError           a name that is neither a column nor a function in scope
    │   │   ├── NonFiniteError               infinite values in a used column
    │   │   └── UnseenLevelError             new data hold a level the fit has not seen
    │   ├── UnidentifiedTermError            the data cannot tell this term from another
    │   ├── PriorError                       a prior that matches nothing or has wrong parameters
    │   └── StorageError (also OSError)      a file that cannot be written, or is not a fit we saved
    ├── DatasetUnavailableError (also OSError)   a data set that is neither here nor can be fetched
    ├── NotAvailableError (also NotImplementedError)   a combination we do not offer, with the reason
    │   └── RefusedVerbError (also AttributeError)   a verb that this kind of fit cannot answer
    └── FitError (also RuntimeError)         the numbers failed although the input was legal

    AttributeError
    └── UnknownNameError                     nothing here is called that; Python's error, with the name like it
    KeyError
    └── UnknownEntryError                    a table of results has no such column or group; says which it has
    TypeError
    └── UnknownArgumentError                 an argument that a function does not take, or one that it lacks

    BayesLMMWarning (UserWarning)
    ├── DroppedRowsWarning                   rows with missing values were left out
    ├── AliasedColumnsWarning                linearly dependent columns of X were dropped
    ├── SingularFitWarning                   a variance of zero or a correlation of ±1
    ├── ConvergenceWarning                   the optimiser did not reach a stationary point
    ├── SamplingWarning                      divergences, R-hat, effective sample size
    ├── WeaklyIdentifiedWarning              variances that the data hardly tell apart, or not at all
    ├── ExtrapolationWarning                 predictions beyond the data of a smooth
    ├── NotEstimableWarning                  numbers that the data do not tell are missing from a result
    ├── FewLevelsWarning                     a grouping factor with very few levels
    ├── UnequalStepsWarning                  steps of an autoregression whose distances differ
    └── CompilationWarning                   compiled code cannot be kept for the next session
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

_PACKAGE = str(Path(__file__).parent)


class _Brief:
    """Errors of which a notebook shows the user's own lines alone."""

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter print: the user's own lines and the message; ``%debug`` still sees every frame."""
        assert isinstance(self, Exception)
        shell = sys.modules["IPython"].get_ipython()
        lines = _lines_outside(self.__traceback__)
        return list(shell.InteractiveTB.structured_traceback(type(self), self, lines, tb_offset=1))


class BayesLMMError(_Brief, Exception):
    """Base of every exception that bayeslmm raises on purpose."""


def _lines_outside(trace: TracebackType | None) -> TracebackType | None:
    """The frames of a traceback before the first one of this package."""
    if trace is None or trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        return None
    return TracebackType(_lines_outside(trace.tb_next), trace.tb_frame, trace.tb_lasti, trace.tb_lineno)


class InputError(BayesLMMError, ValueError):
    """The user's input is at fault; the message says what to change."""


class FormulaError(InputError):
    """The text of a formula cannot be read; the message points at the token."""


class DataError(InputError):
    """The table does not hold what the formula needs."""


class UnknownColumnError(DataError):
    """A name in the formula is neither a column nor a function in scope."""


class NonFiniteError(DataError):
    """A used column holds infinite values."""


class UnseenLevelError(DataError):
    """New data hold a level that the fit has not seen."""


class UnidentifiedTermError(InputError):
    """The data cannot tell this term from another or from the residual."""


class PriorError(InputError):
    """A prior that matches nothing in the model, or has impossible parameters."""


class StorageError(InputError, OSError):
    """A file that cannot be written or read, or that holds no fit that this version can load."""


class DatasetUnavailableError(BayesLMMError, OSError):
    """A data set that is not bundled could not be found or fetched."""


class NotAvailableError(BayesLMMError, NotImplementedError):
    """A combination that the package does not offer; the message says who does."""


class RefusedVerbError(NotAvailableError, AttributeError):
    """A verb that this kind of fit cannot answer; the message says why, and which does."""


class UnknownNameError(_Brief, AttributeError):
    """An attribute that is not there; the message says which one has a name like it."""


class UnknownEntryError(_Brief, KeyError):
    """A table of results has no such column or group."""

    def __str__(self) -> str:
        """The message itself; Python's KeyError would quote it."""
        return str(self.args[0]) if self.args else ""


class UnknownArgumentError(_Brief, TypeError):
    """An argument that a function does not take, or one that it needs and was not given."""


class FitError(BayesLMMError, RuntimeError):
    """The numbers failed although the input was legal."""


class BayesLMMWarning(UserWarning):
    """Base of every warning that bayeslmm gives."""


class DroppedRowsWarning(BayesLMMWarning):
    """Rows with missing values were left out."""


class AliasedColumnsWarning(BayesLMMWarning):
    """Linearly dependent columns of the fixed part were dropped."""


class DroppedCategoriesWarning(BayesLMMWarning):
    """Ordered categories that were declared occur in no row, and the model has none of them."""


class SingularFitWarning(BayesLMMWarning):
    """The optimum lies on the boundary: a zero variance or a correlation of ±1."""


class ConvergenceWarning(BayesLMMWarning):
    """The optimiser stopped away from a stationary point."""


class SamplingWarning(BayesLMMWarning):
    """The sampler's own diagnostics raise doubt about the draws."""


class WeaklyIdentifiedWarning(BayesLMMWarning):
    """The data hardly tell a random effect from another one, or not at all."""


class ExtrapolationWarning(BayesLMMWarning):
    """A smooth is evaluated beyond the data of the fit."""


class NotEstimableWarning(BayesLMMWarning):
    """Numbers that the data do not tell are missing from a result."""


class FewLevelsWarning(BayesLMMWarning):
    """A grouping factor has too few levels to estimate its variance well."""


class UnequalStepsWarning(BayesLMMWarning):
    """Levels that an autoregression counts as steps of equal length lie at unequal distances."""


class CompilationWarning(BayesLMMWarning):
    """Compiled code cannot be kept on disk: every session compiles it anew."""
