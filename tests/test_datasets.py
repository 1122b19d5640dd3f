"""Bundled data sets against their catalogue; minneapolis by folder, cache and download, without a network."""

import hashlib
import io
import urllib.request
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import datasets
from bayeslmm.datasets import list_datasets, load_dataset
from bayeslmm.errors import BayesLMMError, DataError, DatasetUnavailableError

BUNDLED = [name for name, entry in datasets._catalogue().items() if entry.url is None]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SHAPES = {
    "hsb": (7185, 10),
    "science": (1385, 7),
    "chickweight": (578, 4),
    "sleepstudy": (180, 3),
    "insteval": (73421, 7),
    "penicillin": (144, 3),
    "pastes": (60, 4),
    "dyestuff": (30, 2),
    "dyestuff2": (30, 2),
    "cbpp": (56, 4),
    "eight_schools": (8, 4),
    "bcg": (13, 7),
    "konstantopoulos": (56, 7),
    "owls": (599, 7),
    "radon": (919, 4),
    "reedfrogs": (48, 5),
    "machines": (54, 3),
}


# ---- bundled ---------------------------------------------------------------------------------------------


def test_the_bundled_data_sets_are_the_promised_ones():
    assert {name: load_dataset(name).shape for name in BUNDLED} == SHAPES


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_table_is_what_its_catalogue_entry_says(name):
    entry, frame = datasets._catalogue()[name], load_dataset(name)
    assert list(frame.columns) == list(entry.columns)
    assert len(frame) == entry.rows
    for column in frame:
        if column in entry.factors:
            assert frame[column].dropna().map(type).eq(str).all()
        else:
            assert pd.api.types.is_numeric_dtype(frame[column])
            assert np.isfinite(frame[column]).all()


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_file_is_the_source_file(name):
    file = datasets._catalogue()[name].file
    if not (SHARED / file).is_file():
        pytest.skip("source files are not here")
    assert (datasets._FOLDER / file).read_bytes() == (SHARED / file).read_bytes()


def test_nothing_else_is_bundled():
    files = {datasets._catalogue()[name].file for name in BUNDLED}
    assert {path.name for path in datasets._FOLDER.iterdir()} == files | {"catalogue.toml"}


def test_codes_that_look_like_numbers_are_strings_and_missing_values_stay_missing():
    science = load_dataset("science")
    assert science["sex"].isna().sum() == 2
    assert science.drop(columns="sex").notna().all(axis=None)
    assert science["Class"].nunique() == 66
    assert load_dataset("cbpp")["period"].unique().tolist() == ["1", "2", "3", "4"]
    assert load_dataset("insteval")["service"].unique().tolist() == ["0", "1"]


def test_each_call_gives_a_fresh_table():
    first = load_dataset("dyestuff")
    first["Yield"] = 0
    assert load_dataset("dyestuff")["Yield"].gt(0).all()


def test_hsb_is_centred_as_its_columns_say():
    hsb = load_dataset("hsb")
    np.testing.assert_allclose(hsb["mean_ses"], hsb.groupby("school")["ses"].transform("mean"), atol=1e-12)
    np.testing.assert_allclose(hsb["cses"], hsb["ses"] - hsb["mean_ses"], atol=1e-12)


# ---- catalogue -------------------------------------------------------------------------------------------


def test_the_table_prints_a_line_for_each():
    table = blm.list_datasets()
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= 80 and all(any(name in line for line in lines) for name in table["name"])
    assert "Growth of chicks" in table._repr_html_() and list(table) == list(list_datasets())


def test_list_datasets_describes_each_one():
    table = list_datasets()
    assert list(table.columns) == ["name", "rows", "columns", "description", "source", "licence"]
    assert table["name"].tolist() == [*BUNDLED, "minneapolis"]
    assert table.set_index("name").loc["sleepstudy", "rows"] == 180
    assert table.drop(columns="rows").map(lambda text: len(text.strip()) > 0).all(axis=None)


@pytest.mark.parametrize("name", datasets._catalogue())
def test_factors_are_columns_and_every_column_is_described(name):
    entry = datasets._catalogue()[name]
    assert set(entry.factors) <= set(entry.columns)
    assert all(entry.columns.values())
    assert (entry.url is None) == (entry.sha256 is None)


# ---- unknown names ---------------------------------------------------------------------------------------


def test_an_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(DataError, match=r"'Sleep_study'\. Did you mean 'sleepstudy'\?") as caught:
        load_dataset("Sleep_study")
    assert isinstance(caught.value, ValueError)
    assert all(name in str(caught.value) for name in [*BUNDLED, "minneapolis"])


@pytest.mark.parametrize("name", ["qwertz", "", None, 3, ["hsb"], "../hsb"])
def test_a_name_like_none_of_them_gets_the_list(name):
    with pytest.raises(DataError, match="The data sets are: hsb, "):
        load_dataset(name)


# ---- minneapolis -----------------------------------------------------------------------------------------


@pytest.fixture
def isolated(monkeypatch, tmp_path):
    """No folder named, an empty cache, and no network."""
    monkeypatch.delenv("BAYESLMM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", _refuse)
    return tmp_path


@pytest.fixture
def published():
    """The published file's bytes."""
    if not (SHARED / "minneapolis.csv").is_file():
        pytest.skip("minneapolis.csv is not here")
    return (SHARED / "minneapolis.csv").read_bytes()


def _refuse(url, timeout):
    raise URLError("no route to host")


def _answer(content):
    def urlopen(url, timeout):
        assert url.startswith("https://") and timeout > 0
        return io.BytesIO(content)

    return urlopen


def _cached(tmp_path):
    return tmp_path / "cache" / "bayeslmm" / "minneapolis.csv"


def test_minneapolis_from_the_named_folder(isolated, published, monkeypatch):
    monkeypatch.setenv("BAYESLMM_DATA", str(SHARED))
    frame = load_dataset("minneapolis")
    assert frame.shape == (88, 5)
    assert frame["student_id"].unique().tolist() == [str(i) for i in range(1, 23)]
    assert frame["grade"].unique().tolist() == [5, 6, 7, 8]
    assert not _cached(isolated).exists()


def test_minneapolis_is_downloaded_once_and_then_cached(isolated, published, monkeypatch):
    monkeypatch.setenv("BAYESLMM_DATA", str(isolated))  # a folder without the file
    monkeypatch.setattr(urllib.request, "urlopen", _answer(published))
    first = load_dataset("minneapolis")
    assert [path.name for path in _cached(isolated).parent.iterdir()] == ["minneapolis.csv"]
    assert _cached(isolated).read_bytes() == published
    monkeypatch.setattr(urllib.request, "urlopen", _refuse)
    pd.testing.assert_frame_equal(load_dataset("minneapolis"), first)


def test_a_damaged_cache_is_replaced(isolated, published, monkeypatch):
    _cached(isolated).parent.mkdir(parents=True)
    _cached(isolated).write_bytes(published[:500])
    with pytest.raises(DatasetUnavailableError, match="could not be downloaded"):
        load_dataset("minneapolis")
    monkeypatch.setattr(urllib.request, "urlopen", _answer(published))
    assert len(load_dataset("minneapolis")) == 88
    assert _cached(isolated).read_bytes() == published


def test_a_cache_that_cannot_be_written_does_no_harm(isolated, published, monkeypatch):
    (isolated / "cache").write_text("a file where the folder should be")
    monkeypatch.setattr(urllib.request, "urlopen", _answer(published))
    assert len(load_dataset("minneapolis")) == 88


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def replace(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(datasets.os, "replace", replace)
    with pytest.raises(OSError, match="disk full"):
        datasets._write_atomically(tmp_path / "new" / "file.csv", b"x")
    assert list((tmp_path / "new").iterdir()) == []


def test_line_endings_quotes_and_trailing_zeros_do_not_matter(isolated, published, monkeypatch):
    respelled = published.replace(b"\n", b"\r\n").replace(b"No", b'"No"').replace(b"0.94", b"0.940")
    assert hashlib.sha256(respelled).digest() != hashlib.sha256(published).digest()
    monkeypatch.setattr(urllib.request, "urlopen", _answer(respelled))
    assert len(load_dataset("minneapolis")) == 88


def test_offline_one_sentence_says_what_to_do(isolated):
    with pytest.raises(DatasetUnavailableError) as caught:
        load_dataset("minneapolis")
    message = str(caught.value)
    assert isinstance(caught.value, BayesLMMError) and isinstance(caught.value, OSError)
    assert "\n" not in message and ". " not in message and message.endswith(".")
    for part in ("no route to host", "https://", "minneapolis.csv", "BAYESLMM_DATA"):
        assert part in message


def test_a_broken_transfer_is_reported_like_no_network(isolated, monkeypatch):
    def urlopen(url, timeout):
        raise IncompleteRead(b"")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(DatasetUnavailableError, match="could not be downloaded"):
        load_dataset("minneapolis")


HEADER = b"student_id,reading_score,grade,special_ed,attendance\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<html>Sign in</html>", "its columns are not student_id"),
        (b"", "its columns are not student_id"),
        (b"\xff\xfe\x00binary", "its columns are not student_id"),
        (HEADER + b"1,172,5,No,0.94\n", "it has 1 rows instead of 88"),
        (HEADER + b"1,172,5,No,0.94\n" * 88, r"its values differ \(checksum\)"),
    ],
)
def test_another_file_under_the_name_is_refused_and_not_cached(isolated, monkeypatch, content, problem):
    monkeypatch.setattr(urllib.request, "urlopen", _answer(content))
    with pytest.raises(DatasetUnavailableError, match=problem):
        load_dataset("minneapolis")
    assert not _cached(isolated).exists()


@pytest.mark.parametrize(("old", "new"), [(b"1,172,", b"1,173,"), (b"1,172,", b"1,,"), (b"1,172,", b"2,172,")])
def test_one_changed_value_fails_the_checksum(isolated, published, monkeypatch, old, new):
    (isolated / "minneapolis.csv").write_bytes(published.replace(old, new, 1))
    monkeypatch.setenv("BAYESLMM_DATA", str(isolated))
    with pytest.raises(DatasetUnavailableError, match=r"BAYESLMM_DATA\) is not the published .*checksum"):
        load_dataset("minneapolis")


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "~/.cache/bayeslmm"),
        ("darwin", {}, "~/Library/Caches/bayeslmm"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/bayeslmm/Cache"),
        ("win32", {}, "~/AppData/Local/bayeslmm/Cache"),
        ("darwin", {"XDG_CACHE_HOME": "xdg"}, "xdg/bayeslmm"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch, platform, variables, folder):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(datasets.sys, "platform", platform)
    assert datasets._cache_folder() == Path(folder).expanduser()
