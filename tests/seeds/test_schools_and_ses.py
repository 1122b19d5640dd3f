"""Note 3: what socioeconomic status explains of mathematics achievement, with one slope and with a slope per school."""

from __future__ import annotations

import numpy as np
import pytest

import bayeslmm as blm

from .printed import check, entries, label, summary_numbers


def numbers():
    hsb = blm.load_dataset("hsb")
    fits = {
        "hsb_unconditional_reml": blm.lmer("mathach ~ 1 + (1 | school)", hsb),
        "hsb_ses_reml": blm.lmer("mathach ~ ses + (1 | school)", hsb),
        "hsb_ses_slope_reml": blm.lmer("mathach ~ ses + (ses | school)", hsb),
    }
    baseline, n = fits["hsb_unconditional_reml"], {}
    for letter, (model, fit) in zip("ABC", fits.items(), strict=True):
        n |= {(model, name): value for name, value in summary_numbers(fit).items()}
        table = fit.fixef()
        cov = fit.var_corr()["school"].to_numpy()
        said = {"intercept": table.loc["Intercept", "estimate"], "intercept se": table.loc["Intercept", "std_error"]}
        if "ses" in table.index:
            said |= {"ses": table.loc["ses", "estimate"], "ses se": table.loc["ses", "std_error"]}
        said |= {"residual variance": fit.sigma**2, "intercept variance": cov[0, 0], "slope variance": cov[-1, -1]}
        said |= {"deviance": fit.deviance, "AIC": fit.aic, "BIC": fit.bic}
        n |= {(model, f"Model {letter} {name}"): value for name, value in said.items()}
        n[model, "residual variance"] = n[model, "residual variance in words"] = fit.sigma**2
        n[model, "school variance"] = cov[0, 0]
        n[model, "pseudo R squared, level 1"] = fit.pseudo_r2(baseline).loc["Residual", "pseudo_r2"]
        for where in ("in the fitted equation", "in words"):
            n[model, f"intercept {where}"], n[model, f"ses {where}"] = said["intercept"], said.get("ses")
    model = "hsb_unconditional_reml"
    n[model, "ICC"] = baseline.icc().loc["adjusted", "estimate"]
    n[model, "variation between schools, percent"] = 100 * n[model, "ICC"]

    slopes, model = fits["hsb_ses_slope_reml"], "hsb_ses_slope_reml"
    effects = slopes.ranef(wide=True).droplevel("group").rename(index=str)
    for school in effects.index[:3]:
        n[model, f"school {school} random intercept"] = effects.loc[school, "Intercept"]
        n[model, f"school {school} random slope"] = effects.loc[school, "ses"]
    G = slopes.var_corr()["school"].to_numpy()
    for i, j in ((0, 0), (0, 1), (1, 1)):
        n[model, f"VarCorr [{i + 1},{j + 1}]"] = n[model, f"G [{i + 1},{j + 1}]"] = G[i, j]
    sd = np.sqrt(np.diag(G))
    n[model, "VarCorr sd (Intercept)"], n[model, "VarCorr sd ses"] = sd
    n[model, "VarCorr correlation"] = n[model, "correlation"] = G[0, 1] / sd.prod()
    return n


@pytest.fixture(scope="module")
def ours():
    return numbers()


@pytest.mark.parametrize("entry", entries(3), ids=label)
def test_number(entry, ours):
    check(entry, ours[entry["model"], entry["quantity"]])
