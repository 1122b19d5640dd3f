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
        (table["estimate"] - reference["fixef"]) / reference["se"], 0.0, atol=1e-5 if fit.nobs < 9000 else 1e-4
    )
    np.testing.assert_allclose(table["std_error"], reference["se"], rtol=1e-5)
    scale = np.outer(reference["se"], reference["se"])
    np.testing.assert_allclose(fit.vcov() / scale, reference["vcov"] / scale, atol=1e-5)
    wald = fit.confint(ddf=None)[["conf_low", "conf_high"]].to_numpy()
    half = 1.96 * np.array(reference["se"])[:, None]
    np.testing.assert_allclose((wald - list(reference["confint_wald"].values())) / half, 0.0, atol=1e-4)


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
    assert np.sum(fit.fitted() ** 2) == pytest.approx(reference["fitted_sumsq"], rel=1e-7)


def test_conditional_modes(case):
    """Every level the reference lists, and the sums of squares over all of them."""
    reference, fit = case
    table = fit.ranef()
    table["level"] = table["level"].astype(str)
    for group, part in reference["ranef"].items():
        names = [our_name(name) for name in part["names"]]
        ours = table[table["group"] == group].pivot(index="level", columns="term")
        assert len(ours) == part["n_levels"]
        at = ours.loc[part["levels"]]
        sd = np.array(part["cond_sd"])
        off = (at["estimate"][names].to_numpy() - part["values"]) / np.maximum(sd, 1e-8)
        np.testing.assert_allclose(off, 0.0, atol=1e-4)
        np.testing.assert_allclose(at["std_error"][names], sd, rtol=2e-5, atol=1e-8)
        for name, ours_name in zip(part["names"], names, strict=True):
            total = np.sum(ours["std_error"][ours_name] ** 2)
            assert total == pytest.approx(part["sum_cond_var"][name], rel=1e-5, abs=1e-9)
            total = np.sum(ours["estimate"][ours_name] ** 2)
            # a sum of squares over J levels moves by twice the relative error of the modes
            assert total == pytest.approx(part["sumsq"][name], rel=1e-4, abs=1e-9)


def test_satterthwaite_as_lmertest(case):
    reference, fit = case
    table = fit.fixef(ddf="satterthwaite")
    expected = pd.DataFrame(reference["satterthwaite"]).T
    # lmerTest differentiates numerically twice; 1e-3 is what the issue asks for, 1e-5 what both deliver
    np.testing.assert_allclose(table["df"], expected["df"], rtol=1e-5)
    np.testing.assert_allclose(table["statistic"], expected["t"], rtol=1e-4)
    np.testing.assert_allclose(table["p_value"], expected["p"], rtol=1e-3, atol=1e-300)


def test_kenward_roger_as_pbkrtest(case):
    reference, fit = case
    if reference["kenward_roger"] is None:
        pytest.skip("pbkrtest was not run on this model (ML, or too large for it)")
    table = fit.fixef(ddf="kenward-roger")
    expected = pd.DataFrame(reference["kenward_roger"]).T
    np.testing.assert_allclose(table["df"], expected["df"], rtol=1e-5)
    np.testing.assert_allclose(table["std_error"], expected["se"], rtol=1e-6)
    np.testing.assert_allclose(table["p_value"], expected["p"], rtol=1e-3, atol=1e-300)


# Where lme4's spline misses a kink or a steep end of the curve by more than 0.1 % of the interval's width; our ends
# are checked by brute force in tests/engine/test_profile.py.
LME4_INTERPOLATES = {
    ("hsb_ses_slope_ml", "sd__ses"): 0.01,
    ("hsb_ses_slope_ml", "cor__Intercept.ses"): 0.01,
    ("minneapolis_lmer2_ml", "cor__Intercept.grade"): 0.01,
    ("minneapolis_lmer2_reml", "cor__Intercept.grade"): 0.01,
}


@pytest.mark.slow
def test_profile_intervals(case):
    reference, fit = case
    if reference["confint_profile"] is None:
        pytest.skip("not profiled in the reference")
    ours = fit.confint("profile", progressbar=False).set_index(["group", "term"])
    for name, (low, high) in reference["confint_profile"].items():
        row = ours.loc[_label(name, reference, fit)]
        tolerance = LME4_INTERPOLATES.get((_name_of(reference), row.name[1]), 1e-3) * (row.conf_high - row.conf_low)
        for mine, theirs in ((row.conf_low, low), (row.conf_high, high)):
            assert mine == pytest.approx(theirs, abs=tolerance), name


def _name_of(reference):
    return next(name for name, other in REFERENCE.items() if other is reference)


def _label(name, reference, fit):
    """lme4's ``sd_Days|Subject``, ``cor_Days.(Intercept)|Subject``, ``sigma`` and coefficients in our words."""
    if name == "sigma":
        return ("Residual", "sd__Observation")
    if "|" not in name:
        return ("", fit.fixef().index[list(reference["satterthwaite"]).index(name)])
    quantity, group = name.split("|")
    kind, columns = quantity.split("_", 1)
    columns = columns.replace("(Intercept)", "Intercept").split(".")
    return (group, f"{kind}__{'.'.join(reversed(columns))}")


def test_icc_by_definition(case):
    reference, fit = case
    icc = fit.icc()["estimate"]
    assert icc["adjusted"] == pytest.approx(reference["icc_adjusted"], abs=1e-6)
    assert icc["unadjusted"] == pytest.approx(reference["icc_unadjusted"], abs=1e-6)
    r2 = fit.r2()["estimate"]
    assert r2["marginal"] == pytest.approx(reference["r2_marginal"], abs=1e-6)
    assert r2["conditional"] == pytest.approx(reference["r2_conditional"], abs=1e-6)


def test_nothing_downstream_of_a_singular_fit_is_missing():
    _, fit = fitted("science_nested_reml")
    for table in (fit.fixef(), fit.ranef(), fit.coef(), fit.variance_components(), fit.icc()):
        assert not table.isna().any().any()
    assert "boundary" in str(fit.summary())
