"""Curves of the levels of a factor, s(x, g, bs="fs"), and curves times a number, against mgcv and dense matrices."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import InputError

FOLDER = Path(__file__).parents[1] / "reference" / "structures"
MGCV = json.loads((FOLDER / "smooths.json").read_text())
FORMULAS = {
    "by_number": "v ~ z + s(x, by=z, k=8)",
    "by_number_cr": "v ~ z + s(x, by=z, k=8, bs='cr') + s(x, k=6)",
    "fs": "y ~ s(x, g, bs='fs', k=5)",
}


def table():
    data = pd.read_csv(FOLDER / "sim_smooth.csv")
    data["z"] = np.arange(len(data)) % 7 / 3 - 1
    return data.assign(v=data.y + data.z * np.sin(6 * data.x))


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
@pytest.mark.parametrize("name", ["by_number", "by_number_cr"])
def test_curves_times_a_number_are_those_of_mgcv(name):
    fit = blm.Model(FORMULAS[name], table()).fit_reml()
    # mgcv stops at 1e-11 of its criterion, where fitted values are known to some 1e-6 of sigma
    assert fit.sigma == pytest.approx(MGCV[name]["sigma"], rel=1e-5)
    np.testing.assert_allclose(np.asarray(fit.fitted())[:25], MGCV[name]["fitted"], atol=1e-4 * fit.sigma)
    assert fit.smooths()["edf"].sum() + 1 == pytest.approx(MGCV[name]["edf"], abs=1e-3)


def test_a_factor_smooth_is_that_of_mgcv():
    """mgcv turns the constant and the line by an angle that rounding decides; on its own pair we fit what it fits."""
    data, null = table(), np.array(MGCV["fs"]["null"]).reshape(2, 3)
    for k, values in enumerate(null):  # at 0.1, 0.5 and 0.9
        line = np.polyfit([0.1, 0.5, 0.9], values, 1)
        data[f"n{k}"] = np.polyval(line, data.x)
    bars = "diag(0 + fs_curves(x, 5) | g, hom=True) + (0 + n0 | g) + (0 + n1 | g)"
    fit = blm.Model(f"y ~ 1 + {bars}", data).fit_reml()
    assert fit.sigma == pytest.approx(MGCV["fs"]["sigma"], rel=1e-5)
    np.testing.assert_allclose(np.asarray(fit.fitted())[:25], MGCV["fs"]["fitted"], atol=1e-4 * fit.sigma)


def test_the_criterion_of_sleepstudy_is_that_of_mgcv_on_its_basis():
    """The columns of mgcv's basis as data: the bars that s(..., bs="fs") stands for, with mgcv's turned null space."""
    reference = MGCV["sleepstudy"]
    days = blm.load_dataset("sleepstudy")
    basis = np.array(reference["basis"])[days["Days"].to_numpy(dtype=int)]
    days = days.assign(**{f"b{k}": column for k, column in enumerate(basis.T)})
    bars = "diag(0 + b0 + b1 + b2 | Subject, hom=True) + (0 + b3 | Subject) + (0 + b4 | Subject)"
    same = blm.Model(f"Reaction ~ Days + {bars}", days).fit_reml()
    assert same.criterion == pytest.approx(reference["criterion"], rel=1e-9)
    ours = blm.Model("Reaction ~ Days + s(Days, Subject, bs='fs', k=5)", days).fit_reml()
    assert ours.criterion == pytest.approx(reference["criterion"], abs=0.6)
    assert ours.sigma == pytest.approx(same.sigma, rel=1e-4)
    components = ours.variance_components().query("quantity == 'sd'")["estimate"].to_numpy()
    assert components[0] == pytest.approx(reference["sd"][0], rel=1e-4)


def test_a_factor_smooth_is_its_bars():
    data = table()
    fit = blm.Model(FORMULAS["fs"], data).fit_reml()
    group = fit.design.groups[0]
    V = np.zeros((len(data), len(data)))
    for block in group.blocks:
        sd2 = fit.solution.covariances[0][block[0], block[0]]
        Z = group.Z[:, list(block)]
        V += sd2 * (Z @ Z.T) * (group.codes[:, None] == group.codes)
    V += fit.sigma**2 * np.eye(len(data))
    fitted = fit.design.X @ fit.solution.beta
    fitted = fitted + (V - fit.sigma**2 * np.eye(len(data))) @ np.linalg.solve(V, data.y - fitted)
    np.testing.assert_allclose(fit.fitted(), fitted, atol=1e-8)
    assert [len(block) for block in group.blocks] == [3, 1, 1]
    bent = group.Z[:, :3]
    np.testing.assert_allclose(bent.T @ np.column_stack([np.ones(len(data)), data.x]), 0.0, atol=1e-9 * len(data))


def test_curves_of_levels_go_on_to_new_rows_and_levels(tmp_path):
    data = table()
    fit = blm.Model(FORMULAS["fs"], data).fit_reml()
    np.testing.assert_allclose(fit.predict(data.head(5)), np.asarray(fit.fitted())[:5], rtol=1e-10)
    average = fit.predict(data.head(3).assign(g="new"), groups="observed_or_average")
    np.testing.assert_allclose(
        np.asarray(average, dtype=float)[:3] if average.ndim == 1 else average.iloc[:, 0],
        fit.solution.beta[0],
        rtol=1e-10,
    )
    blm.save(fit, tmp_path / "fit.nc")
    np.testing.assert_allclose(blm.load(tmp_path / "fit.nc").predict(data.head(5)), fit.predict(data.head(5)))


def test_curves_times_a_number_are_told():
    data = table()
    fit = blm.Model(FORMULAS["by_number_cr"], data).fit_reml()
    curve = fit.smooth("s(x):z", at=[0.2, 0.8])
    rows = data.head(2).assign(x=[0.2, 0.8])
    with_one, with_none = (np.asarray(fit.predict(rows.assign(z=z))) for z in (1.0, 0.0))
    np.testing.assert_allclose(curve["estimate"], with_one - with_none, atol=1e-9)
    with pytest.raises(InputError, match="write z \\+ s"):
        blm.Model("v ~ s(x, by=z, k=8)", data)
    assert "without a fixed counterpart" not in str(blm.Model(FORMULAS["fs"], data).explain())


def test_untrusted_formulas_may_hold_curves_of_levels():
    assert blm.Model(FORMULAS["fs"], table(), trust=False).design.groups[0].q == 5
