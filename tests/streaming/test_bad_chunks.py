"""What goes wrong in one chunk is refused by its name, and nothing is half fitted."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bayeslmm as blm
from bayeslmm.errors import DataError, InputError, NonFiniteError, NotAvailableError, UnidentifiedTermError

from .chunked import in_chunks, table

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedRowsWarning")
FORMULA = "y ~ x + f + (1 | g)"


def frames(change, number=3):
    """Chunks, of which one is changed."""
    parts = [table().iloc[first : first + 300].reset_index(drop=True) for first in range(0, 1500, 300)]
    parts[number - 1] = change(parts[number - 1])
    return lambda: iter(parts)


def refused(change, error, match, formula=FORMULA, **options):
    with pytest.raises(error, match=match):
        blm.Model(formula, frames(change), progressbar=False, **options)


def test_other_types():
    refused(
        lambda d: d.assign(x="a lot"), DataError, r"frame 3: Column 'x' holds text in frame 3 and numbers in frame 1"
    )
    refused(lambda d: d.assign(f=1.0), DataError, "frame 3: Column 'f' holds numbers in frame 3 and text in frame 1")
    refused(lambda d: d.assign(x=d["x"] > 1000), DataError, "Column 'x' holds True and False in frame 3")


def test_numbers_as_text_are_told_as_in_memory():
    """By all rows, and not by those of which a sample is kept."""
    texts = table().assign(x=table()["x"].map(repr))
    said = []
    for data in (texts, in_chunks(texts)):
        with pytest.raises(DataError, match="numbers as text") as refusal:
            blm.Model(FORMULA, data, progressbar=False)
        said.append(str(refusal.value))
    assert said[0] == said[1]


def test_other_categories():
    def change(d):
        return d.assign(dose=d["dose"].cat.set_categories(["high", "mid", "low"]))

    refused(
        change, DataError, r"frame 3: Column 'dose' has the categories 'high', 'mid', 'low' in frame 3 and", "y ~ dose"
    )
    levels = {"dose": ["low", "mid", "high"]}
    model = blm.Model("y ~ dose + (1 | g)", frames(change), levels=levels, progressbar=False)
    assert model.design.x_names == ("Intercept", "dose[mid]", "dose[high]")


def test_levels_that_are_not_among_those_given():
    levels = {"f": ["u", "v"]}
    refused(lambda d: d, DataError, "frame 1: Column 'f' holds 'w', which is none of the 2 levels given", levels=levels)
    for levels, match in (
        ({"k": ["a"]}, "no such column"),
        ({"f": "uvw"}, "a list"),
        ({"f": ["u", "u"]}, "twice"),
        (["f"], "a dict"),
    ):
        refused(lambda d: d, InputError, match, levels=levels)
    with pytest.raises(InputError, match="Categorical"):
        blm.Model("y ~ f", table(), levels={"f": ["u", "v", "w"]})


def test_a_missing_column():
    refused(lambda d: d.drop(columns="f"), DataError, "frame 3 has no column 'f'")


def test_numbers_that_overflow_or_are_infinite():
    refused(lambda d: d.assign(x=1e200), DataError, "frame 3: .*1e\\+200")
    refused(lambda d: d.assign(x=np.inf), NonFiniteError, "frame 3: Column 'x' holds 300 infinite values")
    refused(lambda d: d.assign(w=-1.0), DataError, "frame 3: Weights are positive", weights="w")


def test_chunks_without_rows_are_passed_over():
    data = table().iloc[:300]
    parts = [data.iloc[:0], data.iloc[:100], data.iloc[100:200].assign(x=np.nan), data.iloc[:0], data.iloc[200:]]
    chunked = blm.Model(FORMULA, lambda: parts, progressbar=False)
    whole = blm.Model(FORMULA, data.drop(index=range(100, 200))).fit_reml()
    assert chunked.design.n == whole.nobs
    assert abs(chunked.fit_reml().sigma / whole.sigma - 1.0) < 1e-10  # sums in another order


@pytest.mark.parametrize("parts", [[], [table().iloc[:0]]])
def test_no_rows_at_all(parts):
    with pytest.raises(DataError, match="no frame|no rows"):
        blm.Model(FORMULA, lambda: parts, progressbar=False)


def test_no_complete_row():
    with pytest.raises(DataError, match="No row is complete"):
        blm.Model(FORMULA, in_chunks(table().assign(x=np.nan)), progressbar=False)


def changing(first, second):
    calls = iter([first, first, first])  # names of columns, the head, the levels

    def factory():
        return iter([next(calls, second)])

    return factory


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d.iloc[:-5], r"the data changed .*1,500 rows .* then 1,495"),
        (lambda d: d.assign(y=d["y"] + 1.0), "'y' adds up to"),
        (lambda d: d.assign(g=d["g"] + 20), "'g' has the level '.*', which was not there"),
        (lambda d: d.assign(f="other"), "'f' has the level 'other' that the fit has not seen"),
    ],
)
def test_data_that_change_between_the_passes(change, match):
    with pytest.raises(DataError, match=match):
        blm.Model(FORMULA, changing(table(), change(table())), progressbar=False)


def test_a_factor_with_one_level_and_a_response_without_any_spread():
    with pytest.raises(UnidentifiedTermError, match="'k' has one level"):
        blm.Model("y ~ x + (1 | k)", in_chunks(table().assign(k=1)), progressbar=False)
    with pytest.raises(DataError, match="is 2 in all 1,484 rows"):
        blm.Model("y ~ x + (1 | g)", in_chunks(table().assign(y=2.0)), progressbar=False)
    with pytest.raises(DataError, match="less its offset is 0"):
        blm.Model("y ~ x + offset(k) + (1 | g)", in_chunks(table().assign(k=lambda d: d["y"])), progressbar=False)


@pytest.mark.parametrize(
    ("formula", "options", "match"),
    [
        ("y ~ I(x - np.median(x))", {}, r"np.median\(x\) .* is not offered: it is no sum over rows"),
        ("y ~ scale(scale(x))", {}, "statistic of what holds one already"),
        ("y ~ I(x - np.mean(x[f == 'u']))", {}, "of some of the rows"),
        ("y ~ I(x - x.iloc[:500].mean())", {}, "of some of the rows"),
        ("y ~ I(z * x.head(900).max())", {}, "of some of the rows"),
        ("y ~ I(z * x.rank().mean())", {}, "what hangs on other rows"),
        ("y ~ I(z * np.mean(x - np.median(x)))", {}, "what hangs on other rows"),
        ("y ~ scale(x.cumsum())", {}, "what hangs on other rows"),
        ("y ~ I(z * sum(x, 5))", {}, "the column alone may be given"),
        ("y ~ I(z * np.std(x, 0, ddof=1))", {}, "the column alone may be given"),
        ("y ~ I(z * x.mean(skipna=False))", {}, "the column alone may be given"),
        ("y ~ cr(x, df=4)", {}, "NaturalCubicSpline"),
        ("y ~ s(x)", {}, r"s\(x\) of data that come in chunks"),
        ("y ~ (1 | mm(g, h))", {}, r"mm\(g, h\)"),
        ("y ~ x", {"se": "w"}, "se= is not offered"),
        ("y ~ x", {"sigma": "~ f"}, "sigma= is not offered"),
        ("y ~ x", {"weights": np.ones(1500)}, "weights= of data that come in chunks is the name of a column"),
    ],
)
def test_what_is_not_summed_is_refused_by_name(formula, options, match):
    with pytest.raises(NotAvailableError, match=match):
        blm.Model(formula, in_chunks(table()), progressbar=False, **options)


def test_too_many_levels_of_a_factor():
    data = table().assign(id=[f"id {k}" for k in range(1500)])
    many = pd.concat([data.assign(id=data["id"] + f" {k}") for k in range(4)])
    with pytest.raises(DataError, match="'id' has more than 5,000 levels"):
        blm.Model("y ~ id", in_chunks(many), progressbar=False)


# -- files


def files(folder, count=3):
    paths = [folder / f"part-{k}.parquet" for k in range(count)]
    for k, path in enumerate(paths):
        table().iloc[500 * k : 500 * (k + 1)].to_parquet(path)
    return paths


def test_a_corrupt_file_in_the_middle(tmp_path):
    paths = files(tmp_path)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[:200] + b"\0" * 3000 + content[3200:])
    with pytest.raises(DataError, match=r"part-1.parquet cannot be read: .* Nothing was fitted"):
        blm.Model(FORMULA, tmp_path, progressbar=False)
    paths[1].write_bytes(b"PAR1")
    with pytest.raises(DataError, match="part-1.parquet cannot be read"):
        blm.Model(FORMULA, tmp_path, progressbar=False)


def test_a_file_without_a_column(tmp_path):
    paths = files(tmp_path)
    table().iloc[500:1000].drop(columns="x").to_parquet(paths[1])
    with pytest.raises(DataError, match="part-1.parquet has no column 'x'"):
        blm.Model(FORMULA, str(tmp_path / "*.parquet"), progressbar=False)


def test_a_file_that_changes_is_named(tmp_path, monkeypatch):
    paths = files(tmp_path)
    from bayeslmm.streaming import build

    lay_out = build.lay_out

    def meanwhile(*arguments):
        frame = table().iloc[500:1000]
        pq.write_table(pa.Table.from_pandas(frame.assign(y=frame["y"].to_numpy()[::-1])), paths[1])
        os.utime(paths[1], ns=(1, 1))
        return lay_out(*arguments)

    monkeypatch.setattr(build, "lay_out", meanwhile)
    with pytest.raises(DataError, match=r"part-1.parquet changed between the two passes"):
        blm.Model(FORMULA, tmp_path, progressbar=False)


def test_no_file(tmp_path):
    with pytest.raises(DataError, match="There is no Parquet file"):
        blm.Model(FORMULA, str(tmp_path / "none.parquet"), progressbar=False)


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    files(tmp_path)
    before = sorted(tmp_path.iterdir())

    def interrupted():
        yield table().iloc[:500]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        blm.Model(FORMULA, interrupted, progressbar=False)
    assert sorted(tmp_path.iterdir()) == before
