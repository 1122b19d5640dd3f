"""Fits of data in chunks come back from their files without the rows, and a changed file is refused."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import NotAvailableError, StorageError

from .chunked import in_chunks, table

pytestmark = [
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedRowsWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning"),
]

FORMULAS = [
    ("y ~ scale(x) * f + (scale(x) || g) + (1 | h)", {}),
    ("y ~ poly(x, 2) + bs(z, df=5) + dose + (1 | g / h)", {}),
    ("y ~ I(x - np.mean(x)) + ave(z, f) + bs(z, knots=[1, 2], lower_bound=0, upper_bound=20) + (1 | g)", {}),
    ("y ~ x + f + (1 | g)", {"weights": "w", "offset": "z", "levels": {"f": ["w", "u", "v"]}}),
    ("y ~ x + I(2 * x) + z", {}),
]


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.AliasedColumnsWarning")
@pytest.mark.parametrize(("formula", "options"), FORMULAS)
def test_a_point_fit_comes_back(formula, options, tmp_path):
    data = table()
    fit = blm.Model(formula, in_chunks(data), progressbar=False, **options).fit_reml()
    path = tmp_path / "fit.nc"
    blm.save(fit, path)
    again = blm.load(path)
    assert str(again.summary()) == str(fit.summary())
    for verb in ("fixef", "variance_components", "coef", "r2", "glance"):
        pd.testing.assert_frame_equal(getattr(again, verb)(), getattr(fit, verb)(), rtol=1e-9)
    new = data.dropna().head(40)
    pd.testing.assert_series_equal(again.predict(newdata=new), fit.predict(newdata=new), rtol=1e-12)


def test_a_fit_reads_its_source_again_and_one_of_a_file_has_none(tmp_path):
    fit = blm.Model("y ~ x + (1 | g)", in_chunks(table()), progressbar=False).fit_reml()
    in_memory = blm.lmer("y ~ x + (1 | g)", table())
    assert fit.update(". ~ . + z").loglik == pytest.approx(in_memory.update(". ~ . + z").loglik, rel=1e-12)
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    with pytest.raises(NotAvailableError, match="not kept"):
        again.update(". ~ 1")
    blm.save(again, tmp_path / "again.nc")
    assert str(blm.load(tmp_path / "again.nc").summary()) == str(fit.summary())


def test_a_posterior_comes_back(tmp_path):
    model = blm.Model("y ~ x + (1 | g)", in_chunks(table()), progressbar=False)
    post = model.fit(draws=100, chains=2, cores=1, random_seed=1, progressbar=False)
    path = tmp_path / "post.nc"
    blm.save(post, path)
    again = blm.load(path)
    pd.testing.assert_frame_equal(again.fixef(), post.fixef())
    pd.testing.assert_frame_equal(again.ranef(), post.ranef())
    assert again.verdict == post.verdict


def test_the_file_does_not_grow_with_the_rows(tmp_path):
    sizes = []
    for times in (1, 8):
        data = pd.concat([table()] * times, ignore_index=True)
        fit = blm.Model("y ~ x + (1 | g)", in_chunks(data, 60), progressbar=False).fit_reml()
        blm.save(fit, tmp_path / "fit.nc")
        with h5py.File(tmp_path / "fit.nc") as file:
            sizes.append(max(item.size for item in file["bayeslmm_data"].values()))
    assert max(sizes) <= 320  # 40 levels of g with two columns; some 200 rows of the data


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "fit.nc"
    formula = "y ~ scale(x) + f + (1 | g) + (1 | h)"
    blm.save(blm.Model(formula, in_chunks(table()), progressbar=False, weights="w").fit_reml(), path)
    return path


def changed(saved, tmp_path, change_about=None, change_arrays=None):
    path = tmp_path / "changed.nc"
    path.write_bytes(saved.read_bytes())
    with h5py.File(path, "r+") as file:
        about = json.loads(file.attrs["bayeslmm"])
        if change_about:
            change_about(about["streamed"])
            file.attrs["bayeslmm"] = json.dumps(about)
        if change_arrays:
            change_arrays(file["bayeslmm_data"])
    return path


VALUES = [None, -1, [], [[1]]]
FIELDS = ["n", "missing", "kinds", "levels", "weights", "uniques", "statistics", "sum_log_weights"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_description_is_refused(field, saved, tmp_path):
    """Or says the same as before: what is left is a fit with the same estimates."""
    estimates = blm.load(saved).solution.beta
    for value in VALUES:
        path = changed(saved, tmp_path, lambda about, value=value: about.update({field: value}))
        try:
            again = blm.load(path)
        except StorageError:
            continue
        np.testing.assert_allclose(again.solution.beta, estimates)
        assert field in ("missing", "levels", "weights"), (field, value)
    path = changed(saved, tmp_path, lambda about: about.pop(field))
    with pytest.raises(StorageError, match=field):
        blm.load(path)


@pytest.mark.parametrize("name", ["gram", "XytXy", "ZtZ_0", "ZtXy_1", "pairs_0_1", "shift", "unit"])
def test_changed_sums_are_refused(name, saved, tmp_path):
    def larger(arrays):
        arrays[f"sums_{name}"][...] = 1.5 * arrays[f"sums_{name}"][...] + 0.1

    def infinite(arrays):
        arrays[f"sums_{name}"][...] = np.inf

    def gone(arrays):
        del arrays[f"sums_{name}"]

    for change in (larger, infinite, gone) if name == "gram" else (larger,):
        with pytest.raises(StorageError):
            blm.load(changed(saved, tmp_path, None, change))


def test_levels_out_of_order_are_refused(saved, tmp_path):
    def reverse(arrays):
        arrays["sums_keys_0_1"][...] = arrays["sums_keys_0_1"][...][::-1]

    with pytest.raises(StorageError, match="no levels in order"):
        blm.load(changed(saved, tmp_path, None, reverse))
