"""Dask on a cluster of two processes: only sums travel, and a worker may die."""

import functools
import os

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster, WorkerPlugin

import bayeslmm as blm
from bayeslmm.errors import DataError

from ..streaming.chunked import apart, table

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedRowsWarning")
FORMULA = "y ~ scale(x) + f + (1 | g) + (1 | h)"
SIZES = [700, 0, 3, 500, 0, 250, 47]  # rows of the partitions


class Watched(WorkerPlugin):
    """Writes down what kind of thing every finished task leaves on its worker."""

    def __init__(self, folder):
        self.folder = str(folder)

    def setup(self, worker):
        self.worker = worker

    def transition(self, key, start, finish, *args, **kwargs):
        if finish == "memory":
            value = self.worker.data.get(key)
            kind = type(value.iloc[0]).__name__ if isinstance(value, pd.Series) and len(value) else type(value).__name__
            with open(os.path.join(self.folder, f"{os.getpid()}.txt"), "a", encoding="utf-8") as file:
                number = key[1] if isinstance(key, tuple) else ""
                file.write(f"{kind} {number}\n")


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True) as cluster,
        Client(cluster) as client,
    ):
        yield client


@functools.cache
def in_memory():
    return blm.Model(FORMULA, table()).fit_reml()


@pytest.fixture
def partitions(tmp_path):
    """Partitions of very different size, one a file, two of them empty."""
    ends = np.cumsum(SIZES)
    paths = []
    for end, size in zip(ends, SIZES, strict=True):
        paths.append(str(tmp_path / f"rows-{end}-{size}.parquet"))
        table().drop(columns="dose").iloc[end - size : end].to_parquet(paths[-1])
    return paths


def lazily(paths, function=pd.read_parquet):
    meta = pd.read_parquet(paths[0]).iloc[:0]
    return dd.from_map(function, paths, meta=meta)


def assert_same(fit):
    one = in_memory()
    assert apart(one.criterion, fit.criterion) < 1e-10  # the same sums in another order
    assert apart(one.solution.beta, fit.solution.beta) < 1e-10


def test_only_sums_travel(client, partitions, tmp_path):
    client.register_plugin(Watched(tmp_path), name="watched")
    try:
        assert_same(blm.Model(FORMULA, lazily(partitions), progressbar=False).fit_reml())
    finally:
        client.unregister_worker_plugin("watched")
    seen = [path.read_text().splitlines() for path in tmp_path.glob("*.txt")]
    assert len(seen) == 2, "both processes had partitions"
    left = {tuple(line.partition(" ")[::2]) for lines in seen for line in lines}
    kinds = {kind for kind, _ in left}
    assert {"Learned", "Summed"} <= kinds  # a column would be a frame or a series of numbers
    assert kinds <= {"Learned", "Summed", "DataFrame", "list"}
    # before the first pass a few rows of the first partition are looked at: those of no other one become a frame
    assert {number for kind, number in left if kind == "DataFrame"} <= {"0"}


def dies_once(path, marker):
    """Read a partition; the first process to read the third one dies of it."""
    if path.endswith("-500.parquet"):
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            os._exit(1)
    return pd.read_parquet(path)


def test_a_worker_that_dies_half_way(client, partitions, tmp_path):
    marker = str(tmp_path / "died")
    model = blm.Model(FORMULA, lazily(partitions, functools.partial(dies_once, marker=marker)), progressbar=False)
    assert os.path.exists(marker)
    assert_same(model.fit_reml())


def test_a_partition_that_is_refused_is_named(client, partitions):
    def change(path):
        frame = pd.read_parquet(path)
        return frame.assign(f=1.0) if path.endswith("-250.parquet") else frame

    with pytest.raises(DataError, match="partition 5: f gives numbers here, and text or categories before"):
        blm.Model(FORMULA, lazily(partitions, change), progressbar=False)


def test_a_partition_that_cannot_be_read(client, partitions):
    with open(partitions[3], "r+b") as file:
        file.write(b"nothing")
        file.truncate(100)
    with pytest.raises(DataError, match="a partition cannot be read: ArrowInvalid: .*-500.parquet"):
        blm.Model(FORMULA, lazily(partitions), progressbar=False)
