"""Notes 2 and 3: mathematics achievement in 160 schools; how much lies between schools, and what ses explains."""

from __future__ import annotations

import numpy as np
import pytest

import bayeslmm as blm

from .printed import check, entries, label, linear_model_numbers, summary_numbers


@pytest.fixture(scope="module")
def hsb():
    return blm.load_dataset("hsb")


@pytest.fixture(scope="module")
def unconditional(hsb):
    return blm.Model("mathach ~ 1 + (1 | school)", hsb)


def first_note(hsb, unconditional):
    n = {
        ("data", "rows"): len(hsb),
        ("data", "columns"): hsb.shape[1],
        ("data", "schools"): hsb["school"].nunique(),
    }
    for column in ("mean_ses", "size", "ses", "mathach", "cses"):
        n |= {("data", f"{column}[{i + 1}]"): hsb[column].iloc[i] for i in range(5)}

    # Between and within schools: analysis of variance, then REML and ML
    pooled, schools = (blm.Model(f"mathach ~ {x}", hsb).fit_reml() for x in ("1", "C(school)"))
    test = blm.anova(pooled, schools).table.iloc[1]
    model = "hsb_aov"
    n[model, "mean of mathach"] = pooled.fixef().loc["Intercept", "estimate"]
    n[model, "school df"], n[model, "school sum of squares"] = test["df"], test["sum_sq"]
    n[model, "school mean square"] = test["mean_sq"]
    n[model, "within df"], n[model, "within sum of squares"] = test["df_resid"], test["rss"]
    n[model, "within mean square"] = test["rss"] / test["df_resid"]
    own_means = blm.no_pooling(unconditional.design)["Intercept"]
    n[model, "sample mean of school 1308"] = own_means[own_means.index.astype(str) == "1308"].iloc[0]

    reml, ml = unconditional.fit_reml(), unconditional.fit_ml()
    for model, fit in (("hsb_unconditional_reml", reml), ("hsb_unconditional_ml", ml)):
        n |= {(model, name): value for name, value in summary_numbers(fit).items()}
        for quantity in ("estimate", "se", "t"):
            n[model, f"intercept {quantity}"] = n[model, f"(Intercept) {quantity}"]
        n[model, "school variance, in words"] = n[model, "school variance"]
    model = "hsb_unconditional_reml"
    n[model, "school variance by REML, in words"] = n[model, "school variance in the ICC"] = n[
        model, "school variance"
    ]
    n[model, "residual variance in the ICC"] = n[model, "Residual variance"]
    n[model, "ICC"] = reml.icc().loc["adjusted", "estimate"]
    grand, sd = n[model, "intercept estimate"], n[model, "school sd"]
    n[model, "intercept, in words"] = n[model, "grand mean, in words"] = grand
    n[model, "school sd, in words"] = sd
    n[model, "about 68% of the schools from"] = grand - sd
    n[model, "about 68% of the schools to"] = grand + sd

    # Shrunken school means
    effects, means = (_by_school(table) for table in (reml.ranef(wide=True), reml.coef(wide=True)))
    for school in effects.index[:10]:
        n[model, f"random effect of school {school}"] = effects[school]
        n[model, f"estimated mean of school {school}"] = means[school]
    n[model, "estimated mean of school 1308, in words"] = means["1308"]

    # A predictor centred within schools, with and without the schools
    centred = blm.lmer("mathach ~ cses + (1 | school)", hsb)
    n |= {("hsb_cses_reml", name): value for name, value in summary_numbers(centred).items()}
    line, level = blm.Model("mathach ~ cses", hsb), blm.Model("mathach ~ 1", hsb)
    pairs = [(model.fit_reml(), model.fit_ml()) for model in (line, level)]
    n |= {("hsb_cses_lm", name): value for name, value in linear_model_numbers(*pairs, blm.anova).items()}
    return n


def _by_school(table):
    return table["Intercept"].droplevel("group").rename(index=str)


def second_note(hsb, unconditional):
    fits = {
        "hsb_unconditional_reml": unconditional.fit_reml(),
        "hsb_ses_reml": blm.lmer("mathach ~ ses + (1 | school)", hsb),
        "hsb_ses_slope_reml": blm.lmer("mathach ~ ses + (ses | school)", hsb),
    }
    baseline, n = fits["hsb_unconditional_reml"], {}
    for letter, (model, fit) in zip("ABC", fits.items(), strict=True):
        n |= {(model, name): value for name, value in summary_numbers(fit).items()}
        table = fit.fixef()
        cov = fit.var_corr()["school"].to_numpy()
        said = {
            "intercept": table.loc["Intercept", "estimate"],
            "intercept se": table.loc["Intercept", "std_error"],
        }
        if "ses" in table.index:
            said |= {"ses": table.loc["ses", "estimate"], "ses se": table.loc["ses", "std_error"]}
        said |= {
            "residual variance": fit.sigma**2,
            "intercept variance": cov[0, 0],
            "slope variance": cov[-1, -1],
        }
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
def first(hsb, unconditional):
    return first_note(hsb, unconditional)


@pytest.fixture(scope="module")
def second(hsb, unconditional):
    return second_note(hsb, unconditional)


@pytest.mark.parametrize("entry", [e for e in entries(2) if e["model"] != "hsb_bootstrap"], ids=label)
def test_number(entry, first):
    check(entry, first[entry["model"], entry["quantity"]])


@pytest.mark.parametrize("entry", entries(3), ids=label)
def test_number_of_the_second_note(entry, second):
    check(entry, second[entry["model"], entry["quantity"]])


@pytest.mark.slow
def test_bootstrap_intervals(unconditional):
    fit = unconditional.fit_reml()
    draws = fit.bootstrap(2000, random_seed=1, progressbar=False)
    intervals = fit.confint("boot", draws=2000, random_seed=1, progressbar=False).set_index("term")
    words = {"sd of the school": "sd__Intercept", "residual sd": "sd__Observation", "intercept": "Intercept"}
    checked = 0
    for entry in (e for e in entries(2) if e["model"] == "hsb_bootstrap"):
        term = next(term for start, term in words.items() if entry["quantity"].startswith(start))
        end = (
            "conf_low"
            if entry["quantity"].endswith("2.5%") and "97.5%" not in entry["quantity"]
            else "conf_high"
        )
        sd = draws.xs(term, axis=1, level="term").std().iloc[0]
        # se of a 2.5 % point of R draws: √(0.025 × 0.975 / R) / density; the note drew 500, we 2,000
        density = np.exp(-(1.96**2) / 2) / np.sqrt(2 * np.pi) / sd
        error = np.sqrt(0.025 * 0.975 * (1 / 500 + 1 / 2000)) / density
        check(entry, intervals.loc[term, end], monte_carlo=error)
        checked += 1
    assert checked == 10
