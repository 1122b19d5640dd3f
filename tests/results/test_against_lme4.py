"""Every reference model of lme4: criterion, estimates, standard errors, modes (tests/reference/make_lme4.py)."""

from __future__ import annotations

import json
import pathlib
import warnings

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import DatasetUnavailableError, DroppedRowsWarning, SingularFitWarning

REFERENCE = json.loads((pathlib.Path(__file__).parents[1] / "reference" / "lme4.json").read_text())


def fitted(name):
    reference = REFERENCE[name]
    try:
        data = blm.load_dataset(reference["data"])
    except DatasetUnavailableError as error:
        pytest.skip(str(error))
    for column in reference["factors"]:  # what R's reference declares to be a factor
        if pd.api.types.is_numeric_dtype(data[column]):
            data[column] = data[column].astype("str")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedRowsWarning)
        warnings.simplefilter("ignore", SingularFitWarning)
        model = blm.Model(reference["formula"], data)
        return reference, model.fit_reml() if reference["reml"] else model.fit_ml()


@pytest.fixture(scope="module", params=sorted(REFERENCE))
def case(request):
    return fitted(request.param)


def sds_by_name(fit):
    table = fit.variance_components()
    sd = table[table["quantity"] == "sd"]
    return {(r.group, r.term): r.estimate for r in sd.itertuples()}


def our_name(name):
    return "Intercept" if name == "(Intercept)" else name


def test_criterion(case):
    reference, fit = case
    # both minimise the same function; ours may be lower, never higher by more than rounding of the reference
    assert fit.criterion <= reference["criterion"] + 1e-8 * abs(reference["criterion"])
    assert fit.criterion == pytest.approx(reference["criterion"], abs=1e-5)
    assert fit.loglik == pytest.approx(reference["loglik"], abs=1e-5)
    assert fit.aic == pytest.approx(reference["aic"], abs=1e-5)
    assert fit.bic == pytest.approx(reference["bic"], abs=1e-5)
    assert (fit.df_resid, fit.nobs) == (reference["df_resid"], reference["n"])


def test_fixed_effects(case):
    reference, fit = case
    table = fit.fixef()
    # 1e-5 of the standard error: the scale on which anybody reads an estimate
    np.testing.assert_allclose(
        (table["estimate"] - reference["fixef"]) / reference["se"],
        0.0,
        atol=1e-5 if fit.nobs < 9000 else 1e-4,
    )
    np.testing.assert_allclose(table["std_error"], reference["se"], rtol=1e-5)


def test_sds_and_correlations(case):
    reference, fit = case
    assert fit.sigma == pytest.approx(reference["sigma"], rel=1e-6)
    ours = sds_by_name(fit)
    for part in reference["random"]:
        for name, sd in zip(part["names"], part["sd"], strict=True):
            # boundary zeros are exact here; elsewhere the reference's own leftover gradient limits agreement
            assert ours[part["group"], our_name(name)] == pytest.approx(sd, rel=1e-5, abs=1e-7)
        if len(part["names"]) == 2:
            cov = fit.var_corr()[part["group"]].to_numpy()
            rho = cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
            assert rho == pytest.approx(part["corr"][0][1], abs=1e-5)


def test_singular_fits_say_so(case):
    reference, fit = case
    assert fit.is_singular == reference["singular"]
    assert fit.solution.status == ("boundary" if reference["singular"] else "converged")
    if reference["singular"]:
        assert min(sds_by_name(fit).values()) == 0.0


def test_residuals_and_fitted(case):
    reference, fit = case
    quantiles = np.quantile(fit.residuals("scaled"), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quantiles, reference["quantiles"], atol=2e-5)
    np.testing.assert_allclose(fit.fitted()[:20], reference["fitted"], atol=2e-5 * fit.sigma)


def test_conditional_modes(case):
    reference, fit = case
    table = fit.ranef()
    table["level"] = table["level"].astype(str)
    table = table.set_index(["group", "level", "term"]).sort_index()
    for group, part in reference["ranef"].items():
        for level, values, sds in zip(part["levels"], part["values"], part["cond_sd"], strict=True):
            for name, value, sd in zip(part["names"], values, sds, strict=True):
                row = table.loc[(group, level, our_name(name))]
                scale = max(sd, 1e-8)
                assert (row["estimate"] - value) / scale == pytest.approx(0.0, abs=1e-4)
                assert row["std_error"] == pytest.approx(sd, rel=2e-5, abs=1e-8)


def test_icc_by_definition(case):
    reference, fit = case
    icc = fit.icc()["estimate"]
    assert icc["adjusted"] == pytest.approx(reference["icc_adjusted"], abs=1e-6)
    assert icc["unadjusted"] == pytest.approx(reference["icc_unadjusted"], abs=1e-6)


def test_nothing_downstream_of_a_singular_fit_is_missing():
    _, fit = fitted("science_nested_reml")
    for table in (fit.fixef(), fit.ranef(), fit.coef(), fit.variance_components(), fit.icc()):
        assert not table.isna().any().any()
    assert "boundary" in str(fit.summary())
