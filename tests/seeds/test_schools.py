"""Note 2: mathematics achievement in 160 schools; how much lies between schools, by variance, mean and bootstrap."""

from __future__ import annotations

import pytest

import bayeslmm as blm

from .printed import check, entries, label, linear_model_numbers, summary_numbers


@pytest.fixture(scope="module")
def hsb():
    return blm.load_dataset("hsb")


@pytest.fixture(scope="module")
def unconditional(hsb):
    return blm.Model("mathach ~ 1 + (1 | school)", hsb)


def numbers(hsb, unconditional):
    n = {("data", "rows"): len(hsb), ("data", "columns"): hsb.shape[1], ("data", "schools"): hsb["school"].nunique()}
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
    n[model, "school variance by REML, in words"] = n[model, "school variance in the ICC"] = n[model, "school variance"]
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


@pytest.fixture(scope="module")
def ours(hsb, unconditional):
    return numbers(hsb, unconditional)


@pytest.mark.parametrize("entry", [e for e in entries(2) if e["model"] != "hsb_bootstrap"], ids=label)
def test_number(entry, ours):
    check(entry, ours[entry["model"], entry["quantity"]])


@pytest.mark.slow
def test_bootstrap_intervals(unconditional):
    intervals = unconditional.fit_reml().confint("boot", draws=2000, random_seed=1, progressbar=False)
    intervals = intervals.set_index("term")
    words = {"sd of the school": "sd__Intercept", "residual sd": "sd__Observation", "intercept": "Intercept"}
    # sds over R's 2,000 samples; ours are within 3 % of them
    replicate_sd = {"sd__Intercept": 0.1835, "sd__Observation": 0.0526, "Intercept": 0.2468}
    for entry in (e for e in entries(2) if e["model"] == "hsb_bootstrap"):
        term = next(term for start, term in words.items() if entry["quantity"].startswith(start))
        end = "conf_high" if entry["quantity"].endswith("97.5%") else "conf_low"
        check(entry, intervals.loc[term, end], replicate_sd=replicate_sd[term])
