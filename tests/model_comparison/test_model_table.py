"""Models side by side: the three models of note 3, both kinds of fit, other families, Markdown and LaTeX."""

from __future__ import annotations

import json
import pathlib
import re

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import InputError

# short runs on purpose: the table is what is tested
pytestmark = [
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.FewLevelsWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning"),
]

PRINTED = json.loads((pathlib.Path(__file__).parents[1] / "reference" / "seed_numbers.json").read_text())
SHORT = {"draws": 200, "tune": 200, "chains": 2, "random_seed": 1, "progressbar": False}
τ0, τ1 = ("Random part", "τ₀₀ school: Intercept"), ("Random part", "τ₁₁ school: ses")
ρ = ("Random part", "ρ₀₁ school: Intercept, ses")
ROWS = {
    "intercept": ("Fixed effects", "Intercept"),
    "ses": ("Fixed effects", "ses"),
    "residual variance": ("Random part", "σ²"),
    "intercept variance": τ0,
    "slope variance": τ1,
    "deviance": ("Fit", "Deviance"),
    "AIC": ("Fit", "AIC"),
    "BIC": ("Fit", "BIC"),
}


@pytest.fixture(scope="module")
def fits():
    hsb = blm.load_dataset("hsb")
    formulas = ("1 + (1 | school)", "ses + (1 | school)", "ses + (ses | school)")
    return [blm.lmer(f"mathach ~ {right}", hsb) for right in formulas]


@pytest.fixture(scope="module")
def hsb_table(fits):
    return blm.model_table(*fits)


@pytest.fixture(scope="module")
def sleep():
    return blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def post(sleep):
    return sleep.fit(**SHORT)


def of_note_3():
    for entry in PRINTED:
        found = re.fullmatch(r"(Model [ABC]) (.*)", entry["quantity"])
        if entry["note"] == 3 and found:
            yield pytest.param(entry, *found.groups(), id=entry["quantity"])


@pytest.mark.parametrize(("entry", "model", "quantity"), list(of_note_3()))
def test_the_table_of_note_3(hsb_table, entry, model, quantity):
    name, is_error = re.subn(" se$", "", quantity)
    value = (hsb_table.std_error if is_error else hsb_table.table).loc[ROWS[name], model]
    if entry["status"] == "disagree":  # a slip of the note, 4.76 for 4.768: lme4's number, which it was made from
        assert value == pytest.approx(entry["obtained"], rel=1e-6)
    else:
        assert value == pytest.approx(entry["value"], abs=0.51 * 10.0 ** -entry["decimals"])


def test_what_models_do_not_have_is_missing(hsb_table, fits):
    table, errors = hsb_table.table, hsb_table.std_error
    assert list(table) == ["Model A", "Model B", "Model C"] and table.index.equals(errors.index)
    assert table.loc[[ROWS["ses"], τ1, ρ]].isna().to_numpy().tolist() == [
        [True, False, False],
        [True, True, False],
        [True, True, False],
    ]
    assert table.notna().sum().sum() == 3 * len(table) - 5
    assert table.loc[("Fit", "ICC")].tolist() == [f.icc().loc["adjusted", "estimate"] for f in fits]
    assert table.loc[("Fit", "R² marginal"), "Model C"] == fits[2].r2().loc["marginal", "estimate"]
    assert (table.loc[("Fit", "Levels of school")] == 160).all()
    # point fits have standard errors of fixed effects only
    assert errors.loc["Fixed effects"].notna().sum().sum() == 5
    assert errors.drop(index="Fixed effects", level=0).isna().all().all()
    cov = fits[2].var_corr()["school"].to_numpy()
    assert table.loc[ρ, "Model C"] == pytest.approx(cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]))


def test_rows_keep_the_order_of_every_model(fits):
    hsb = blm.load_dataset("hsb")
    more = blm.lmer("mathach ~ sector + ses + minority + (1 | school)", hsb)
    for chosen in ((*fits, more), (more, *fits), (fits[2], fits[0], more)):
        table = blm.model_table(*chosen).table
        assert list(table.index.get_level_values(0).unique()) == ["Fixed effects", "Random part", "Fit"]
        for fit, head in zip(chosen, table, strict=True):
            own = list(table.loc["Fixed effects", head].dropna().index)
            assert own == list(fit.design.x_names)
            alone = blm.model_table(fit).table
            pd.testing.assert_index_equal(table[head].dropna().index, alone.iloc[:, 0].dropna().index)


def test_a_list_or_a_dict_of_fits_will_do(fits):
    plain = blm.model_table(*fits, names=["a", "b", "c"][: len(fits)])
    heads = list(plain.cells)
    for same in (blm.model_table(list(fits), names=heads), blm.model_table(dict(zip(heads, fits, strict=True)))):
        pd.testing.assert_frame_equal(same.table, plain.table)
    with pytest.raises(InputError, match="has names already"):
        blm.model_table({"a": fits[0]}, names=["b"])


def test_what_is_printed(hsb_table):
    text = str(hsb_table)
    assert max(map(len, text.splitlines())) <= 100
    for cell in ("12.637 (0.244)", "2.390 (0.106)", "2.394 (0.118)", "39.15 [6.26]", "47,116.8", "46,653.2", "7,185"):
        assert cell in text
    assert "Model C: mathach ~ ses + (ses | school) (REML)" in text and "REML criterion" in text
    assert "nan" not in text.lower()
    ml = str(blm.model_table(blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"), REML=False)))
    assert "(ML)" in ml and "REML criterion" not in ml
    html = hsb_table._repr_html_()
    assert "<table" in html and "12.637 (0.244)" in html


def test_both_kinds_of_fit_side_by_side(sleep, post):
    found = blm.model_table(sleep.fit_reml(), post, names=["REML", "posterior"])
    table, errors = found.table, found.std_error
    fixed, components = post.fixef(), post.variance_components().set_index(["group", "term", "quantity"])
    np.testing.assert_allclose(table.loc["Fixed effects", "posterior"], fixed["mean"])
    np.testing.assert_allclose(errors.loc["Fixed effects", "posterior"], fixed["sd"])
    for row, key in (
        ("τ₁₁ Subject: Days", ("Subject", "Days", "variance")),
        ("σ²", ("Residual", "", "variance")),
        ("ρ₀₁ Subject: Intercept, Days", ("Subject", "Intercept, Days", "cor")),
    ):
        assert table.loc[("Random part", row), "posterior"] == components.loc[key, "mean"]
        assert errors.loc[("Random part", row), "posterior"] == components.loc[key, "sd"]
    assert table.loc[("Fit", "ICC"), "posterior"] == post.icc().loc["adjusted", "mean"]
    assert errors.loc[("Fit", "R² conditional"), "posterior"] == post.r2().loc["conditional", "sd"]
    assert table.loc[[("Fit", "Deviance"), ("Fit", "AIC"), ("Fit", "BIC")], "posterior"].isna().all()
    assert "posterior" in str(found) and max(map(len, str(found).splitlines())) <= 100


def simulated():
    rng = np.random.default_rng(3)
    g, x = np.arange(160) % 16, rng.normal(size=160)
    eta = 0.5 * x + rng.normal(size=16)[g]
    return pd.DataFrame(
        {
            "y": (eta + rng.logistic(size=160) > 0).astype(int),
            "k": np.digitize(eta + rng.logistic(size=160), [-1, 1]),
            "b": 1 / (1 + np.exp(-eta - 0.3 * rng.normal(size=160))),
            "x": x,
            "g": g,
        }
    )


def test_other_families():
    data = simulated()
    binary, ordered, share = (
        blm.Model(f"{y} ~ x + (1 | g)", data, family=family).fit(**SHORT)
        for y, family in (("y", "bernoulli"), ("k", "ordinal"), ("b", "beta"))
    )
    found = blm.model_table(binary, ordered, share, names=["binary", "ordered", "share"])
    table = found.table
    # the latent residual is a constant, not estimated; a beta response has none to compare with
    assert ("Random part", "σ²") not in table.index
    assert table.loc[("Fit", "ICC")].isna().tolist() == [False, False, True]
    family = table.loc["Family"]
    assert set(family.index) == {"cutpoint[0]", "cutpoint[1]", "phi"}
    cells = family.loc[["cutpoint[0]", "cutpoint[1]", "phi"]].notna().to_numpy().tolist()
    assert cells == [[False, True, False]] * 2 + [[False, False, True]]
    np.testing.assert_allclose(family["ordered"].dropna(), ordered.draws("cutpoint").mean(axis=(0, 1)))
    # an ordinal model's intercept is in its cutpoints
    assert table.loc["Fixed effects"].isna().to_numpy().tolist() == [[False, True, False], [False] * 3]
    text = str(found)
    assert "bernoulli" in text and "(0.000" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_models_without_groups(sleep):
    linear = blm.lmer("Reaction ~ Days", blm.load_dataset("sleepstudy"))
    table = blm.model_table(linear, sleep.fit_reml()).table
    assert table.loc[("Fit", "R² marginal"), "Model A"] == linear.r2().loc["marginal", "estimate"]
    assert table.loc[("Random part", "σ²"), "Model A"] == pytest.approx(linear.sigma**2)
    assert np.isnan(table.loc[("Fit", "ICC"), "Model A"])
    alone = blm.model_table(linear).table
    assert ("Fit", "ICC") not in alone.index and list(alone.loc["Random part"].index) == ["σ²"]


def test_predictors_named_like_measures_are_coefficients():
    data = blm.load_dataset("sleepstudy").rename(columns={"Days": "Observations"})
    data["ICC"] = np.sin(data["Observations"]) * 1e4
    fit = blm.lmer("Reaction ~ Observations + ICC + (1 | Subject)", data)
    lines = [line.strip() for line in str(blm.model_table(fit)).splitlines()]
    coefficient = next(line for line in lines if line.startswith("Observations") and "(" in line)
    assert re.fullmatch(r"Observations\s+10\.\d+ \(0\.8\d+\)", coefficient)
    icc = next(line for line in lines if line.startswith("ICC") and "e-" not in line)
    assert not re.search(r"0\.000 \(", icc)


def test_slopes_without_an_intercept_are_counted_from_one():
    fit = blm.lmer("Reaction ~ Days + (0 + Days | Subject)", blm.load_dataset("sleepstudy"))
    assert ("Random part", "τ₁₁ Subject: Days") in blm.model_table(fit).table.index


def columns_of(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown(hsb_table):
    markdown = hsb_table.to_markdown()
    rows = [columns_of(line) for line in markdown.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {4}
    assert ["Intercept", "12.637 (0.244)", "12.657 (0.188)", "12.665 (0.190)"] in rows
    assert ["ses", "", "2.390 (0.106)", "2.394 (0.118)"] in rows


def test_latex_compiles_by_its_letters():
    data = blm.load_dataset("sleepstudy").rename(columns={"Days": "n_days", "Subject": "the_subject"})
    fits = [
        blm.lmer(f"Reaction ~ {right} + (n_days | the_subject)", data)
        for right in ("n_days", "n_days + I(n_days**2)", "1")
    ]
    latex = blm.model_table(*fits, names=["A_1", "B & C", "100 %"]).to_latex()
    assert latex.isascii()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") >= 1
    # every special letter is escaped; & and \\ also separate cells and rows
    outside = re.sub(r"\$[^$]*\$", "", latex)
    assert not re.search(r"(?<!\\)[_%#~^]", outside) and "|" not in latex
    assert latex.count("$") % 2 == 0
    for line in latex.splitlines():
        if line.endswith(r"\\") and not line.startswith("Model") and " & " in line:
            assert len(re.findall(r"(?<!\\)&", line)) == 3, line
    paragraphs = [p for p in latex.split("\n\n") if "tabular" not in p]
    assert paragraphs and not any(re.search(r"(?<!\\)&", p) for p in paragraphs)


def test_what_is_no_table_of_models(fits):
    with pytest.raises(InputError, match="one fit at least"):
        blm.model_table()
    with pytest.raises(InputError, match="list is no fit"):
        blm.model_table([fits], fits[0])
    with pytest.raises(InputError, match="Model is no fit"):
        blm.model_table(blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")))
    for names in (["A"], ["A", "A"], ["A", "B", "C"]):
        with pytest.raises(InputError, match="one name of its own"):
            blm.model_table(*fits[:2], names=names)
    assert list(blm.model_table(*[fits[0]] * 28).table)[-2:] == ["Model 27", "Model 28"]
