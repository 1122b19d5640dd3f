"""REML and ML fits of nlme, glmmTMB and lme4 with structures of a bar, polished on the dense covariance matrix."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm

FOLDER = Path(__file__).resolve().parents[1] / "reference" / "structures"
FITS = json.loads((FOLDER / "bars.json").read_text())
BARS = {
    "us": "us(0 + occasion | subject)",
    "diag": "diag(0 + occasion | subject)",
    "homdiag": "diag(0 + occasion | subject, hom=True)",
    "cs": "cs(0 + occasion | subject)",
    "homcs": "cs(0 + occasion | subject, hom = TRUE)",
    "ar1": "ar1(0 + occasion | subject)",
    "hetar1": "ar1(0 + occasion | subject, hom=False)",
}


@pytest.fixture(scope="module")
def occasions():
    return pd.read_csv(FOLDER / "sim_occ.csv")


@pytest.mark.parametrize("name", FITS)
def test_optimum(name, occasions):
    data, structure, how = name.split("_")
    if data == "occ":
        model = blm.Model(f"y ~ x + occ + {BARS[structure]}", occasions)
    else:
        formula = f"Reaction ~ Days + {structure}(Days | Subject)"
        model = blm.Model(formula, blm.load_dataset("sleepstudy"))
    fit = model.fit_reml() if how == "reml" else model.fit_ml()
    found, wanted = fit.solution, FITS[name]
    others = [value for value in wanted["programs"].values() if value is not None]
    assert found.criterion <= min([wanted["criterion"], *others]) + 1e-8
    # references are printed with 15 digits and polished to gradients of 1e-9: parameters agree to about 1e-8
    assert found.criterion == pytest.approx(wanted["criterion"], rel=1e-10)
    cov = found.covariances[0]
    sd = np.sqrt(np.diag(cov))
    np.testing.assert_allclose(sd, wanted["sd"], rtol=1e-6)
    if wanted["rho"] is not None:
        assert cov[0, 1] / sd[0] / sd[1] == pytest.approx(wanted["rho"], abs=1e-6)
    assert found.sigma == pytest.approx(wanted["sigma"], rel=1e-6)
    np.testing.assert_allclose(found.beta, wanted["fixef"], atol=1e-6 * min(wanted["se"]))
    np.testing.assert_allclose(np.sqrt(np.diag(found.vcov)), wanted["se"], rtol=1e-6)
    assert fit.verdict == "converged"
