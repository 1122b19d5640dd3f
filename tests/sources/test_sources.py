"""Every source gives the estimates of the table in memory, and answers as the kind of table that it is."""

import functools

import dask.dataframe
import duckdb
import numpy as np
import polars as pl
import pyarrow.dataset
import pyarrow.parquet
import pytest

import bayeslmm as blm
from bayeslmm.sources import SOURCES, source_of

from ..streaming.chunked import apart, table

pytestmark = [
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedRowsWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning"),
]
FORMULA = "y ~ scale(x) + f + (1 | g) + (1 | h)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for k in range(3):
        table().iloc[500 * k : 500 * (k + 1)].drop(columns="dose").to_parquet(
            folder / f"part-{k}.parquet", row_group_size=200
        )
    return folder


@pytest.fixture(scope="module")
def hive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hive")
    table().drop(columns="dose").to_parquet(folder, partition_cols=["f"])
    return folder


@functools.cache
def in_memory():
    return blm.Model(FORMULA, table()).fit_reml()


CASES = {
    "path": lambda folder: folder / "part-0.parquet",
    "glob": lambda folder: str(folder / "*.parquet"),
    "folder": lambda folder: folder,
    "dataset": lambda folder: pyarrow.dataset.dataset(folder),
    "ParquetFile": lambda folder: pyarrow.parquet.ParquetFile(folder / "part-0.parquet"),
    "LazyFrame": lambda folder: pl.scan_parquet(folder / "*.parquet"),
    "LazyFrame in memory": lambda folder: pl.from_pandas(table()).lazy(),
    "DuckDB": lambda folder: duckdb.connect().sql(f"from '{folder}/*.parquet'"),
    "Dask": lambda folder: dask.dataframe.from_pandas(table(), npartitions=5),
    "Dask of files": lambda folder: dask.dataframe.read_parquet(folder),
    "function": lambda folder: lambda: [table().iloc[:10], table().iloc[10:]],
}


@pytest.mark.parametrize("case", CASES)
def test_estimates_are_those_of_the_table_in_memory(case, folder):
    if case in ("path", "ParquetFile"):
        one = blm.Model(FORMULA, table().iloc[:500]).fit_reml()
    else:
        one = in_memory()
    other = blm.Model(FORMULA, CASES[case](folder), progressbar=False).fit_reml()
    # sums of the same rows, in another order: rounding of 1500 products
    assert apart(one.criterion, other.criterion) < 1e-10
    assert apart(one.solution.beta, other.solution.beta) < 1e-10
    assert apart(one.sigma, other.sigma) < 1e-10


def test_columns_in_the_names_of_folders(hive):
    other = blm.Model(FORMULA, hive, progressbar=False).fit_reml()
    assert apart(in_memory().criterion, other.criterion) < 1e-10


def test_every_source_is_tried(folder):
    tried = {
        type(source_of(case("folder")))
        for name, case in CASES.items()
        if name in ("function", "Dask", "LazyFrame in memory")
    }
    assert tried | {SOURCES[0], SOURCES[2]} == set(SOURCES)


@pytest.mark.parametrize(
    "data", [table(), pl.from_pandas(table()), pyarrow.table({"a": [1]}), np.ones((2, 2)), "rows.csv", None]
)
def test_a_table_in_memory_is_no_source(data):
    assert source_of(data) is None


def test_categories_and_dates_of_polars():
    data = table().assign(day=np.arange(1500) // 100)
    query = (
        pl.from_pandas(data)
        .lazy()
        .with_columns(
            pl.col("f").cast(pl.Enum(["w", "u", "v"])),
            (pl.date(2020, 1, 1) + pl.duration(days=pl.col("day"))).alias("day"),
        )
    )
    one = blm.Model("y ~ f + (1 | day)", query.collect()).fit_reml()
    other = blm.Model("y ~ f + (1 | day)", query, progressbar=False).fit_reml()
    assert other.design.x_names == one.design.x_names == ("Intercept", "f[u]", "f[v]")
    assert other.design.groups[0].levels == one.design.groups[0].levels
    assert apart(one.criterion, other.criterion) < 1e-10
