"""The data sets that come with the package, as a table that prints for reading."""

from __future__ import annotations

import pandas as pd

from .. import datasets
from .reading import ResultTable


class Catalogue(ResultTable):
    """The table of :func:`bayeslmm.list_datasets`: a line a data set prints, the other columns are there."""

    def _printed(self) -> ResultTable:
        lines = self.assign(title=[str(text).split(". ")[0] for text in self["description"]])
        return ResultTable(lines[["name", "rows", "title"]])

    def __repr__(self) -> str:
        return f"{self._printed()!r}\n\nload_dataset(name) loads one. Not shown: columns, description, source, licence."

    def _repr_html_(self) -> str:
        return self._printed()._repr_html_()


def list_datasets() -> pd.DataFrame:
    """Describe the data sets that :func:`load_dataset` knows.

    Returns
    -------
    pandas.DataFrame
        One row a data set: ``name``, ``rows``, ``columns`` (each column with its meaning), ``description``,
        ``source`` and ``licence``. It prints a line for each.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> blm.list_datasets().query("rows < 50")["name"].tolist()
    ['dyestuff', 'dyestuff2', 'eight_schools', 'bcg', 'reedfrogs']
    """
    return Catalogue(datasets.list_datasets())
