"""Files of fits: what is saved comes back bit for bit, bad files are refused in words, and nothing is pickled."""

from __future__ import annotations

import ast
import copy
import json
import os
import pathlib
import pickle
import warnings
from functools import cache
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results import storage
from bayeslmm.results.posterior import PosteriorFit

# few draws on purpose; boundaries and dropped rows are part of some cases
pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")

SHORT = {"draws": 30, "tune": 60, "chains": 2, "cores": 1, "progressbar": False, "random_seed": 1}
SHORTER = {"draws": 10, "tune": 20}
ROWS = 72


def half(values):
    """A function of a user's own."""
    return np.asarray(values) / 2.0


@cache
def table() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    i = np.arange(ROWS)
    g, x = i % 6, rng.uniform(0.5, 3.0, ROWS)
    effect = np.linspace(-1.0, 1.0, 6)[g]
    eta = 0.3 + 0.4 * x + effect
    days = pd.date_range("2024-03-01", periods=6, freq="D")
    return pd.DataFrame(
        {
            "y": eta + rng.normal(0, 0.5, ROWS),
            "x": x,
            "z": rng.normal(size=ROWS),
            "m": rng.integers(4, 9, ROWS),
            "w": rng.uniform(0.5, 2.0, ROWS),
            "o": rng.uniform(-1, 1, ROWS),
            "g": g,
            "name": [f"g{k} é" for k in g],
            "kind": pd.Categorical.from_codes(g, categories=list("fedcba")),
            "rank": pd.Categorical.from_codes(g % 3, categories=["low", "mid", "top"], ordered=True),
            "flag": g % 2 == 1,
            "size": g / 4.0,
            "day": days[g],
            "zoned": days.tz_localize("Europe/Berlin")[g],
            "month": days.to_period("D").to_timestamp()[g],
            "a": [f"a{k}" for k in i // 24],
            "b": i // 8 % 3,
            "s": rng.binomial(6, 1 / (1 + np.exp(-eta))) // 2,
            "k": rng.poisson(np.exp(eta / 2)),
            "c": pd.Categorical.from_codes(
                ((rng.logistic(size=ROWS) + eta)[:, None] > [0, 2]).sum(axis=1), ["no", "so", "yes"], ordered=True
            ),
        },
        index=pd.RangeIndex(10, 10 + ROWS),
    )


def gaps() -> pd.DataFrame:
    data = table()
    return data.assign(x=data["x"].where(data.index % 9 != 0))


def indexed(index: Any) -> pd.DataFrame:
    return table().set_axis(index)


Kwargs = dict[str, Any]
INDEXES = {
    "strings": [f"row {i}" for i in range(ROWS)],
    "integers": np.arange(ROWS)[::-1] * 3,
    "floats": np.arange(ROWS) / 4.0,
    "datetimes": pd.date_range("2020-01-01", periods=ROWS, freq="h", name="when"),
    "zoned": pd.date_range("2020-01-01", periods=ROWS, freq="h", tz="Asia/Tokyo"),
    "default": pd.RangeIndex(ROWS),
    "two levels": pd.MultiIndex.from_product([["p", "q"], range(ROWS // 2)], names=["part", None]),
}
MODELS: dict[str, tuple[str, pd.DataFrame, Kwargs]] = {
    "no bars": ("y ~ x", table(), {}),
    "integers": ("y ~ x + (x | g)", table(), {}),
    "strings": ("y ~ x + (1 | name)", table(), {}),
    "categorical": ("y ~ x + (x || kind)", table(), {}),
    "ordered": ("y ~ rank + (1 | rank)", table(), {}),
    "booleans": ("y ~ flag + x + (1 | flag)", table(), {}),
    "floats": ("y ~ x + (1 | size)", table(), {}),
    "datetimes": ("y ~ x + (1 | day)", table(), {}),
    "zoned datetimes": ("y ~ x + (1 | zoned)", table(), {}),
    "nested": ("y ~ x + (1 | a/b)", table(), {}),
    "no fixed effects": ("y ~ 0 + (1 | g)", table(), {}),
    "dropped rows": ("y ~ x + (1 | g)", gaps(), {}),
    "weights": ("y ~ x + (1 | g)", table(), {"weights": "w"}),
    "weights, dropped rows": ("y ~ x + (1 | g)", gaps(), {"weights": np.linspace(1, 2, ROWS)}),
    "offset by column": ("y ~ x + (1 | g)", table(), {"offset": "o"}),
    "offset by array": ("y ~ x + (1 | g)", table(), {"offset": np.linspace(-1, 1, ROWS)}),
    "both offsets": ("y ~ x + offset(o) + (1 | g)", table(), {"offset": np.linspace(-1, 1, ROWS)}),
    "offset by array, dropped rows": ("y ~ x + (1 | g)", gaps(), {"offset": np.linspace(-1, 1, ROWS)}),
    "poly": ("y ~ poly(x, 2) + (1 | g)", table(), {}),
    "scale": ("y ~ scale(x) + (scale(x) | g)", table(), {}),
    "spline": ("y ~ bs(x, df=4) + (1 | g)", table(), {}),
    "logarithms": ("np.log(y + 5) ~ np.log(x) + (1 | g)", table(), {}),
    "own function": ("y ~ half(x) + (1 | g)", table(), {}),
    "perfect correlation": ("s ~ x + (x | g)", table(), {}),
    **{f"index of {name}": ("y ~ x + (1 | g)", indexed(index), {}) for name, index in INDEXES.items()},
}
OTHERS: dict[str, tuple[str, pd.DataFrame, Kwargs]] = {
    "binomial": ("p(s, m) ~ x + (1 | g)", table(), {"family": "binomial", "link": "probit"}),
    "ordinal": ("c ~ x + (1 | g)", table(), {"family": "ordinal"}),
    "poisson": ("k ~ x + offset(o) + (1 | name)", table(), {"family": "poisson"}),
    "student_t": ("y ~ x + (1 | g)", table(), {"family": "student_t", "weights": "w"}),
    "lognormal": ("np.exp(y) ~ x + (1 | g)", table(), {"family": "lognormal"}),
    "priors": (
        "y ~ x + (x | g)",
        table(),
        {
            "priors": {
                "x": blm.Prior("Normal", mu=0.25, sigma=0.7),
                ("sd", "g"): blm.Prior("HalfNormal", sigma=0.5),
                ("sd", "g", "x"): blm.Prior("Exponential", lam=3.0),
                "cor": blm.LKJ(3),
            }
        },
    ),
}
SAMPLED = {**MODELS, **OTHERS}


def model_of(name: str) -> blm.Model:
    formula, data, options = SAMPLED[name]
    return blm.Model(formula, data, **options)


@cache
def point_of(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)
        return model_of(name).fit_reml()


@cache
def posterior_of(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)
        return model_of(name).fit(**SHORT)


@pytest.fixture
def again(tmp_path):
    """Save and load."""

    def through_a_file(fit: Any, **options: Any) -> Any:
        blm.save(fit, tmp_path / "fit.nc")
        return blm.load(tmp_path / "fit.nc", **{"namespace": {"half": half}, **options})

    return through_a_file


# -- what has to be equal


def same(one: Any, other: Any) -> None:
    """Bit for bit."""
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    else:
        assert one == other and type(one) is type(other)


def same_designs(one: Any, other: Any) -> None:
    for name in ("y", "X", "offset", "x_names", "n_dropped", "response", "family", "levels", "aliased", "trials"):
        same(getattr(one, name), getattr(other, name))
    same(one.weights, other.weights)
    assert one.formula.text == other.formula.text
    # labels; that datetimes are an hour apart is not kept as an attribute
    pd.testing.assert_index_equal(one.index, other.index, check_freq=False)
    pd.testing.assert_frame_equal(one.frame, other.frame, check_freq=False)
    assert len(one.groups) == len(other.groups)
    for g, h in zip(one.groups, other.groups, strict=True):
        assert (g.name, g.columns, g.blocks) == (h.name, h.columns, h.blocks)
        assert list(g.levels) == list(h.levels)
        assert [type(level) for level in g.levels] == [type(level) for level in h.levels]
        same(g.codes, h.codes)
        same(g.Z, h.Z)


def same_answers(one: Any, other: Any) -> None:
    assert str(one.summary()) == str(other.summary())
    rows = one.design.frame.head(4)
    offset = {"offset": 0.5} if one.design.recipe.offset_given_as_array else {}
    asked = [{}, {"groups": "average"}, {"groups": "new"}, {"newdata": rows, **offset}]
    for options in asked:
        a, b = (fit.predict(**{"random_seed": 3} | options) for fit in (one, other))
        test = pd.testing.assert_series_equal if isinstance(a, pd.Series) else pd.testing.assert_frame_equal
        test(a, b, check_exact=True, check_freq=False)
    a, b = (fit.simulate(2, random_seed=1) for fit in (one, other))
    pd.testing.assert_frame_equal(a, b, check_exact=True, check_freq=False)
    np.testing.assert_array_equal(one.fitted(), other.fitted())
    # df are differences of derivatives, of cross-products that are kept or made anew
    for verb in ("fixef", "ranef", "coef", "tidy", "variance_components"):
        pd.testing.assert_frame_equal(getattr(one, verb)(), getattr(other, verb)(), rtol=1e-6)


def same_posteriors(one: PosteriorFit, other: PosteriorFit) -> None:
    same_designs(one.design, other.design)
    assert one.idata.identical(other.idata)
    assert list(one.idata.children) == list(other.idata.children)
    assert one.priors == other.priors and one.settings == other.settings
    assert repr(one.diagnosis) == repr(other.diagnosis)  # k-hat may be NaN, which is not equal to itself
    assert (one.ci_prob, one.ci_kind) == (other.ci_prob, other.ci_kind)
    same_answers(one, other)


def same_points(one: Any, other: Any) -> None:
    same_designs(one.design, other.design)
    for name in type(one.solution).__slots__:
        if name not in ("untold", "rivals"):  # not stored: found again
            same(getattr(one.solution, name), getattr(other.solution, name))
    same_answers(one, other)
    assert len(one.solution.rivals) == len(other.solution.rivals)
    for a, b in zip(one.solution.rivals, other.solution.rivals, strict=True):
        same(a.covariances, b.covariances)


# -- there and back


@pytest.mark.parametrize("name", MODELS)
def test_point_fits_come_back(again, name):
    fit = point_of(name)
    loaded = again(fit)
    same_points(fit, loaded)
    y = fit.simulate(1, random_seed=2)["sim_1"]
    assert loaded.refit(y).criterion == fit.refit(y).criterion
    if fit.design.groups and name != "ordered":
        changed = ". ~ . + I(x**2)" if fit.design.x_names else ". ~ . + 1"
        # the rows that were dropped are not in the file, and the changed formula drops them as well
        one, other = (f.update(changed) for f in (fit, loaded))
        assert other.design.formula.text == one.design.formula.text
        assert other.criterion == one.criterion
    same_points(fit, again(loaded))


@pytest.mark.parametrize("name", SAMPLED)
def test_posteriors_come_back(again, name):
    fit = posterior_of(name)
    loaded = again(fit)
    same_posteriors(fit, loaded)
    same_posteriors(fit, again(loaded))


@pytest.mark.parametrize("name", ["integers", "binomial", "ordinal", "priors", "student_t"])
def test_loaded_posteriors_sample_again(again, name):
    fit = posterior_of(name)
    loaded = again(fit)
    y = np.roll(fit.design.y, 3) if fit.design.trials is None else np.zeros_like(fit.design.y)
    if fit.design.family.has_categories:
        y = [fit.design.levels[int(code)] for code in y]
    one, other = (f.refit(y, **SHORTER) for f in (fit, loaded))
    xr.testing.assert_identical(one.idata.posterior["beta"], other.idata.posterior["beta"])
    assert one.n_draws == 10
    tight = {"sd": blm.Prior("HalfNormal", sigma=0.01)}
    one, other = (f.with_priors(tight, **SHORTER) for f in (fit, loaded))
    xr.testing.assert_identical(one.idata.posterior["sd_g"], other.idata.posterior["sd_g"])
    assert one.priors == other.priors != fit.priors
    assert other.draws("sd_g").mean() < fit.draws("sd_g").mean()


def test_nuts_with_options_and_centring_comes_back(again):
    fit = model_of("integers").fit(
        **SHORT, method="nuts", centring={"g": 0, ("g", "x"): 1.0}, target_accept=0.9, max_treedepth=8
    )
    loaded = again(fit)
    same_posteriors(fit, loaded)
    assert dict(loaded.settings.centring) == {"g": 0, ("g", "x"): 1.0}
    assert dict(loaded.settings.options) == {"target_accept": 0.9, "max_treedepth": 8}
    assert "diverging" in loaded.idata.sample_stats and loaded.diagnosis.divergences is not None
    one, other = (f.with_priors({}, **SHORTER) for f in (fit, loaded))
    xr.testing.assert_identical(one.idata.posterior["beta"], other.idata.posterior["beta"])


@pytest.mark.parametrize("name", ["index of two levels", "index of strings", "dropped rows", "binomial", "ordinal"])
def test_groups_added_to_the_draws_come_back(again, name):
    fit = copy.deepcopy(posterior_of(name))
    fit.compute_log_likelihood()
    fit.compute_log_prior()
    loaded = again(fit)
    assert {"log_likelihood", "log_prior"} <= set(loaded.idata.children)
    same_posteriors(fit, loaded)


@pytest.mark.parametrize("name", ["integers", "logarithms", "both offsets", "dropped rows"])
def test_a_refitted_response_comes_back(again, name):
    """The response of the file is the one of the fit, not that of the formula."""
    fit = point_of(name)
    other = fit.refit(fit.simulate(1, random_seed=7)["sim_1"])
    assert not np.array_equal(fit.design.y, other.design.y)
    same_points(other, again(other))
    post = posterior_of(name).refit(other.design.y, **SHORTER)
    same_posteriors(post, again(post))


def test_an_offset_given_as_array_stays_one(again):
    fit, loaded = point_of("both offsets"), again(point_of("both offsets"))
    rows = fit.design.frame.head(3)
    for each in (fit, loaded):
        with pytest.raises(errors.DataError, match="offset"):
            each.predict(rows)
    shifted = loaded.predict(rows, offset=1.5) - loaded.predict(rows, offset=0.0)
    np.testing.assert_allclose(shifted, 1.5)
    np.testing.assert_array_equal(loaded.update(". ~ . - x").design.offset, fit.update(". ~ . - x").design.offset)


def test_functions_of_the_user(tmp_path):
    """Found in the namespace that is given, or, in a trusted file, where load is called."""
    path = tmp_path / "fit.nc"

    def doubled(values):
        return 2.0 * np.asarray(values)

    fit = blm.Model("y ~ doubled(x) + (1 | g)", table()).fit_reml()
    blm.save(fit, path)
    same_points(fit, blm.load(path, trust=True))
    same_points(fit, blm.load(path, namespace={"doubled": doubled}))
    same_points(fit, blm.load(path, namespace={"doubled": doubled}, trust=True))
    with pytest.raises(errors.StorageError, match=r"fit.nc.*names of its author's own \(doubled\).*trust=True"):
        blm.load(path)
    with pytest.raises(errors.StorageError, match=r"fit.nc.*doubled"):
        elsewhere(path)
    with pytest.raises(errors.StorageError, match=r"fit.nc.*doubled"):
        blm.load(path, namespace={}, trust=True)


def test_a_function_that_replaced_one_of_numpy_is_not_replaced_back(tmp_path):
    def log(values):
        return np.log(values) / 7.0

    fit = blm.Model("y ~ log(x) + (1 | g)", table()).fit_reml()
    blm.save(fit, tmp_path / "fit.nc")
    with pytest.raises(errors.StorageError, match=r"own \(log\)"):
        blm.load(tmp_path / "fit.nc")
    same_points(fit, blm.load(tmp_path / "fit.nc", namespace={"log": log}))


def elsewhere(path):
    return blm.load(path, trust=True)


def test_intervals_of_a_fit_come_back(again):
    from dataclasses import replace

    fit = replace(posterior_of("integers"), ci_prob=0.5, ci_kind="hdi")
    loaded = again(fit)
    assert (loaded.ci_prob, loaded.ci_kind) == (0.5, "hdi")
    pd.testing.assert_frame_equal(loaded.fixef(), fit.fixef(), check_exact=True)


def test_options_that_no_file_holds_are_told(tmp_path):
    from dataclasses import replace

    fit = posterior_of("integers")
    settings = replace(fit.settings, options={"step": object(), "target_accept": 0.9})
    with pytest.warns(errors.BayesLMMWarning, match=r"left out \(step\)"):
        blm.save(replace(fit, settings=settings), tmp_path / "fit.nc")
    assert dict(blm.load(tmp_path / "fit.nc").settings.options) == {"target_accept": 0.9}


def test_any_reader_opens_the_draws(tmp_path):
    fit = posterior_of("integers")
    blm.save(fit, tmp_path / "fit.nc")
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as tree:
        np.testing.assert_array_equal(tree["posterior"]["beta"], fit.draws("beta"))


def test_a_path_may_be_text_and_fits_may_follow_each_other(tmp_path):
    path = str(tmp_path / "fit.nc")
    for name in ("integers", "nested"):
        blm.save(point_of(name), path)
        assert blm.load(path).design.formula.text == point_of(name).design.formula.text
    assert [p.name for p in tmp_path.iterdir()] == ["fit.nc"]


# -- bad input


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "fit.nc"
    blm.save(point_of("integers"), path)
    return path


def refused(path, message):
    with pytest.raises(errors.StorageError, match=message) as caught:
        blm.load(path)
    assert str(path) in str(caught.value) and isinstance(caught.value, OSError)


def test_files_that_are_not_there(tmp_path):
    refused(tmp_path / "nothing.nc", "there is no file")
    refused(tmp_path, "there is no file")


@pytest.mark.parametrize("kind", ["point", "posterior"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_truncated_files(tmp_path, kind, share):
    path = tmp_path / "fit.nc"
    blm.save((point_of if kind == "point" else posterior_of)("integers"), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path, "is damaged")


@pytest.mark.parametrize("seed", range(5))
def test_files_with_bytes_overwritten(tmp_path, seed):
    """A number may change unseen; anything else is refused in words."""
    path = tmp_path / "fit.nc"
    blm.save(point_of("integers"), path)
    damaged = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, len(damaged), 200):
        damaged[at] = rng.integers(0, 256)
    path.write_bytes(damaged)
    refused(path, "damaged|holds no fit|format")


def test_files_of_others(tmp_path):
    xr.Dataset({"x": ("n", np.arange(3.0))}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    refused(tmp_path / "foreign.nc", r"holds no fit: it was not written by bayeslmm\.save")
    (tmp_path / "text.nc").write_text("y,x\n1,2\n")
    refused(tmp_path / "text.nc", "damaged or no netCDF file")


def edit(path, *without, **changes):
    with h5py.File(path, "r+") as file:
        about = json.loads(file.attrs["bayeslmm"]) | changes
        file.attrs["bayeslmm"] = json.dumps({k: v for k, v in about.items() if k not in without})


def test_newer_formats_are_refused_with_both_numbers(saved):
    newer = storage.FORMAT + 6
    edit(saved, format=newer, version="9.8.7")
    refused(
        saved,
        rf"format {newer}, written by bayeslmm 9\.8\.7; this version \({blm.__version__}\)"
        rf".*format {storage.FORMAT}\. Upgrade",
    )


@pytest.mark.parametrize("name", ["format", "version", "kind", "formula", "columns", "family", "solution", "index"])
def test_descriptions_that_lack_something(saved, name):
    edit(saved, name)
    refused(saved, "is damaged")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "picture"}, "damaged"),
        ({"format": "one"}, "damaged"),
        ({"format": [1]}, "damaged"),
        ({"formula": "y ~ (x"}, "fit.nc"),
        ({"formula": "y ~ x + nothing + (x | g)"}, "'nothing'"),
        ({"family": "cauchy"}, "'cauchy'"),
        ({"columns": []}, "fit.nc"),
        ({"solution": {}}, "damaged"),
    ],
)
def test_descriptions_that_say_something_else(saved, change, message):
    edit(saved, **change)
    refused(saved, message)


@pytest.mark.parametrize("text", ["", "no JSON {", "[]", "3", "null"])
def test_descriptions_that_are_none(saved, text):
    with h5py.File(saved, "r+") as file:
        file.attrs["bayeslmm"] = text
    refused(saved, "its description cannot be read")


@pytest.mark.parametrize("group", [storage.DATA, storage.SOLUTION])
def test_files_that_lack_a_group(saved, group):
    with h5py.File(saved, "r+") as file:
        del file[group]
    refused(saved, "is damaged")


def test_places_that_cannot_be_written(tmp_path):
    fit = point_of("integers")
    with pytest.raises(errors.StorageError, match="there is no folder"):
        blm.save(fit, tmp_path / "no such folder" / "fit.nc")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(errors.StorageError, match="there is no folder"):
        blm.save(fit, tmp_path / "file" / "fit.nc")
    (tmp_path / "folder").mkdir()
    with pytest.raises(errors.StorageError, match=r"cannot be written"):
        blm.save(fit, tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_directories_without_permission(tmp_path, monkeypatch):
    """The user of the tests may be root, whom nothing is forbidden."""

    def forbidden(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(storage, "write_whole", forbidden)
    with pytest.raises(errors.StorageError, match=r"fit\.nc cannot be written: .*Permission denied"):
        blm.save(point_of("integers"), tmp_path / "fit.nc")


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_is_untouched_when_writing_fails(saved, monkeypatch, trouble):
    before = saved.read_bytes()

    def full(descriptor):
        raise trouble

    monkeypatch.setattr("os.fsync", full)
    if isinstance(trouble, OSError):
        with pytest.raises(errors.StorageError, match=r"fit\.nc cannot be written: .*No space left on device"):
            blm.save(point_of("nested"), saved)
    else:
        with pytest.raises(KeyboardInterrupt):
            blm.save(point_of("nested"), saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["fit.nc"]
    monkeypatch.undo()
    same_points(point_of("integers"), blm.load(saved))


@pytest.mark.parametrize("thing", [None, 3, "fit", pd.DataFrame(), model_of("integers")])
def test_things_that_are_no_fits(tmp_path, thing):
    with pytest.raises(errors.StorageError, match=f"{type(thing).__name__} is no fit"):
        blm.save(thing, tmp_path / "fit.nc")
    assert not list(tmp_path.iterdir())


def test_labels_that_no_file_holds(tmp_path):
    index = pd.Index([(i, "a") for i in range(ROWS)], tupleize_cols=False)
    with pytest.raises(errors.StorageError, match="index of the data holds tuple"):
        blm.save(blm.lmer("y ~ x + (1 | g)", indexed(index)), tmp_path / "fit.nc")
    assert not list(tmp_path.iterdir())


# -- no pickle


def test_storage_pickles_nothing(tmp_path, monkeypatch):
    tree = ast.parse(pathlib.Path(storage.__file__).read_text())
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "json" in imported and not {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"} & imported

    def forbidden(*args, **kwargs):
        raise AssertionError("pickle was used")

    fits = [point_of("integers"), posterior_of("priors")]
    for name in ("loads", "load", "dumps", "dump", "Unpickler", "Pickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    for fit in fits:
        blm.save(fit, tmp_path / "fit.nc")
        assert str(blm.load(tmp_path / "fit.nc").summary()) == str(fit.summary())


# -- copies in memory

COPIES = {"pickled": lambda fit: pickle.loads(pickle.dumps(fit)), "deep": copy.deepcopy, "shallow": copy.copy}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", ["integers", "weights", "poly", "spline", "own function", "index of two levels"])
def test_copies_of_point_fits(how, name):
    fit = point_of(name)
    other = COPIES[how](fit)
    assert other is not fit
    same_points(fit, other)
    same_points(fit.update(". ~ . + z"), other.update(". ~ . + z"))


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", ["integers", "binomial", "ordinal", "priors", "own function"])
def test_copies_of_posteriors(how, name):
    fit = posterior_of(name)
    other = COPIES[how](fit)
    same_posteriors(fit, other)
    if how != "shallow":
        other.compute_log_prior()
        assert "log_prior" not in fit.idata.children


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_a_saved_fit_is_as_readable_as_any_new_file(tmp_path):
    fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    blm.save(fit, tmp_path / "fit.nc")
    (tmp_path / "other").write_text("")
    assert (tmp_path / "fit.nc").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_group_of_draws_may_have_any_name(tmp_path):
    import xarray as xr

    post = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).fit(random_seed=1)
    for name in ("data", "solution"):
        post.idata[name] = xr.DataTree(xr.Dataset({"x": ("k", [1.0, 2.0])}))
    blm.save(post, tmp_path / "post.nc")
    again = blm.load(tmp_path / "post.nc")
    assert again.idata["data"]["x"].to_numpy().tolist() == [1.0, 2.0]
    post.idata.posterior.attrs["odd"] = object()
    with pytest.raises(errors.StorageError, match="attribute"):
        blm.save(post, tmp_path / "post.nc")
