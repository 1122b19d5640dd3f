"""Whatever columns and levels are called, every verb answers, and labels come back as they are."""

import io
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors

FEW = {"draws": 60, "tune": 100, "chains": 2, "cores": 1, "random_seed": 1, "progressbar": False}
# too few draws to be sure of, and letters that matplotlib's font lacks
pytestmark = [
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning"),
    pytest.mark.filterwarnings("ignore:Glyph .* missing:UserWarning"),
]
LABELS = {
    "dollars": ["$", "$$", "a$b$c", "\\$", "$x_{$", "5 $"],
    "signs": ["", "_", "<b>&", "a|b", "\\", "x\ny"],
    "long": [letter * 200 for letter in "abcdef"],
    "words": ["None", "nan", "NA", "Residual", "True", "1"],
    "letters": ["שלום", "日本", "ñ", "🙂", "\u202eabc", " a "],
    "floats": [0.1, 1e300, -2.5, 1 / 3, 1e-5, 2.0],
    "whole": [-1, 0, 1, 2, 3, 10**15],
    "truth": [False, True, False, True, False, True],
}
AS_TEXT = {  # labels of types that no file holds are read as they print
    "dates": list(pd.date_range("2020", "2021", periods=6)),
    "tuples": [(1, 2), (1, 3), (2,), ("a",), (), (3, 4)],
    "intervals": list(pd.interval_range(0, 6)),
}
NAMES = ["$", "a$b$c", "x\ny", "n" * 200, "_", "\\alpha", "<b>&", "a|b", "日本", "{0}", "%d", "class", "a/b", "'"]
OWN = ["Residual", "family", "fixed"]


def table(levels=tuple("abcdef"), group="g", number="x"):
    rng = np.random.default_rng(0)
    code, x = np.arange(60) % 6, rng.normal(size=60)
    labels = pd.Series([levels[k] for k in code])
    return pd.DataFrame({"y": np.linspace(-2, 2, 6)[code] + x + rng.normal(size=60), number: x, group: labels})


def drawn(picture, fit):
    picture(fit).savefig(io.BytesIO(), dpi=20)


def in_all_forms(shown):
    assert "<b>&" not in shown._repr_html_()
    return [str(shown), shown.to_markdown(), shown.to_latex()]


def answers(fit, data, group):
    """Every kind of table, text and prediction."""
    yield from (fit.ranef(wide=True), fit.coef(wide=True), fit.variance_components(), fit.icc(), fit.var_corr())
    yield fit.tidy(effects=["fixed", "ran_pars", "ran_vals", "ran_coefs"])
    yield from (fit.augment(), fit.glance(), fit.predict(data.head(3)))
    yield fit.predict(data.head(3).assign(**{group: ["else", None, "other"]}), groups="observed_or_average")
    for shown in (fit.summary(), blm.check(fit), blm.model_table(fit)):
        yield in_all_forms(shown)


PICTURES = [blm.plot_ranef, blm.plot_lines, blm.plot_pooling, blm.plot_ranef_normality, blm.plot_variance]
MORE = [*PICTURES, blm.plot_coef, blm.plot_predictions, blm.plot_estimates]
MORE.append(partial(blm.plot_ppc, kind="by", by="g"))


def again(fit, path):
    blm.save(fit, path / "fit.nc")
    return blm.load(path / "fit.nc")


def levels_of(fit):
    return [(type(level), level) for level in dict.fromkeys(fit.ranef()["level"])]


@pytest.mark.parametrize("levels", LABELS.values(), ids=LABELS)
def test_any_label_comes_back_from_every_verb(levels, tmp_path):
    data = table(levels)
    fit = blm.lmer("y ~ x + (1 | g)", data)
    assert levels_of(fit) == [(type(level), level) for level in sorted(set(levels))]
    assert all(answer is not None for answer in answers(fit, data, "g"))
    assert levels_of(again(fit, tmp_path)) == levels_of(fit)
    for picture in MORE:
        drawn(picture, fit)


@pytest.mark.parametrize("levels", AS_TEXT.values(), ids=AS_TEXT)
@pytest.mark.parametrize("category", [False, True])
def test_labels_of_other_types_are_read_as_they_print(levels, category, tmp_path):
    data = table(levels)
    if category:
        data["g"] = pd.Categorical(data["g"], categories=pd.Index(levels, tupleize_cols=False))
    fit = blm.lmer("y ~ x + (1 | g)", data)
    assert len(levels_of(fit)) == 6 and all(kind is str for kind, _ in levels_of(fit))
    assert all(answer is not None for answer in answers(fit, data, "g"))
    np.testing.assert_allclose(fit.predict(data), fit.fitted())
    assert levels_of(again(fit, tmp_path)) == levels_of(fit)


@pytest.mark.parametrize("name", [*NAMES, *OWN], ids=lambda name: ascii(name)[:12])
def test_any_column_name_serves_every_verb(name, tmp_path):
    for data, formula, group in (
        (table(group=name), f"y ~ x + (1 | `{name}`)", name),
        (table(number=name), f"y ~ `{name}` + (`{name}` | g)", "g"),
    ):
        fit = blm.lmer(formula, data)
        assert all(answer is not None for answer in answers(fit, data, group))
        assert list(fit.ranef()["group"].unique()) == [group]
        pd.testing.assert_frame_equal(again(fit, tmp_path).ranef(), fit.ranef())
        for picture in PICTURES[:3]:
            drawn(picture, fit)


@pytest.mark.parametrize("family, method", [("gaussian", "exact"), ("bernoulli", "nuts")])
def test_posteriors_and_reports_take_any_name(family, method, tmp_path):
    data = table(LABELS["dollars"], group="a$b$|<b>&")
    data["y"] = data["y"] > 0 if family == "bernoulli" else data["y"]
    post = blm.Model("y ~ x + (1 | `a$b$|<b>&`)", data, family=family).fit(method=method, **FEW)
    assert all(answer is not None for answer in answers(post, data, "a$b$|<b>&"))
    assert levels_of(post) == levels_of(again(post, tmp_path)) == [(str, v) for v in sorted(LABELS["dollars"])]
    variable = post.design.names.b["a$b$|<b>&"]
    for picture in (blm.plot_trace, blm.plot_ranef, blm.plot_variance, partial(blm.plot_trace, var_names=variable)):
        drawn(picture, post)
    if method == "exact":
        blm.report(post, tmp_path / "report.html")
        assert "<b>&" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", OWN)
def test_factors_called_as_rows_of_tables_have_rows_of_their_own(name):
    """The same numbers as under another name, and no row twice."""
    formula = "y ~ x + (x | {})"
    for fitted in (blm.lmer, lambda f, d: blm.Model(f, d).fit(**FEW)):
        fit, same = fitted(formula.format(name), table(group=name)), fitted(formula.format("g"), table())
        keys = [["effect", "group", "term"], ["group", "term", "quantity"]]
        tables = [(f.tidy(), f.variance_components()) for f in (fit, same)]
        for one, other, key in zip(*tables, keys, strict=True):
            assert not one.duplicated(key).any()
            numbers = one.select_dtypes("number").columns
            np.testing.assert_allclose(one[numbers], other[numbers], rtol=1e-9)
        shares = fit.variance_components().query("quantity == 'share'").set_index("group")
        assert list(shares.index) == [f"{name} (factor)" if name == "Residual" else name, "Residual"]
        in_all_forms(blm.model_table(fit))
        if fitted is not blm.lmer:
            assert list(fit.parameters("fixed").index) in (["Intercept", "x"],)
            part = name if name == "Residual" else f"{name} (factor)"
            assert list(fit.parameters(part).index) == ["sd(Intercept)", "sd(x)", "cor(Intercept, x)"]
            assert list(fit.parameters("family").index) == ["sigma"]


def test_columns_that_no_formula_can_name_are_refused():
    data = table()
    with pytest.raises(errors.DataError, match="MultiIndex"):
        blm.lmer("y ~ x + (1 | g)", data.set_axis(pd.MultiIndex.from_product([["a"], data.columns]), axis=1))
    with pytest.raises(errors.UnknownColumnError, match="type int"):
        blm.lmer("y ~ x + (1 | `1`)", data.assign(**{"z": 0}).rename(columns={"g": 1}))
    with pytest.raises(errors.DataError, match="two categories that read '1'"):
        twice = pd.Categorical([1, "1", "a"] * 20, categories=[1, "1", "a"])
        blm.lmer("y ~ x + (1 | g)", data.assign(g=twice))
    with pytest.raises(errors.DataError, match="mixes or holds types"):
        blm.lmer("y ~ x + (1 | g)", table([1, "1", "a", 2, "b", 3]))


HEADINGS = ["estimate", "mean", "contrast", "category", "row", "icc"]
BOTH = {"point": blm.lmer, "posterior": lambda formula, data: blm.Model(formula, data).fit(**FEW)}


def beside_labels(fit, name):
    """Tables that show the levels of a predictor beside numbers."""
    yield fit.means(name).table
    yield from (fit.means(name).pairs().table, fit.means("h", by=name).pairs().table, fit.trends("x", name).table)
    yield fit.means([name, "h"]).contrasts(interaction="pairwise").table
    yield from (fit.comparisons("x", by=name), fit.comparisons("h", at={name: ["u", "v"]}), fit.slopes("x", by=name))
    yield from (fit.icc(at={name: ["u", "v"]}), fit.within_correlation({name: ["u", "v"]}))
    str(fit.means("h", by=name).pairs())


@cache
def with_a_predictor(name, kind):
    data = table().assign(h=np.tile(["p", "q"], 30), **{name: np.repeat(["u", "v"], 30)})
    return BOTH[kind](f"y ~ `{name}` * x + h + (1 | g)", data)


@pytest.mark.parametrize("name", HEADINGS)
@pytest.mark.parametrize("kind", BOTH)
def test_predictors_called_as_columns_of_tables_stand_beside_them(name, kind):
    """The same table as under another name, where no column is there twice or lost; likewise draws."""
    one, other = (with_a_predictor(n, kind) for n in (name, "f"))
    for found, wanted in zip(beside_labels(one, name), beside_labels(other, "f"), strict=True):
        assert not found.columns.has_duplicates and found.shape == wanted.shape
        np.testing.assert_array_equal(found.isna().to_numpy(), wanted.isna().to_numpy())
        for a, b in zip(found.columns, wanted.columns, strict=True):
            assert a in (b, str(b).replace("f", name, 1), f"{name} (column)", f"{name} (column)_other")
            if wanted[b].dtype.kind == "f":
                np.testing.assert_allclose(found[a], wanted[b], rtol=1e-7, atol=1e-9)
            else:
                assert list(found[a].astype(str)) == list(wanted[b].astype(str).replace("f", name))
    if kind == "posterior":
        assert name in str(list(one.means(name).draws().coords)) and one.icc(at={name: ["u"]}, draws=True).size


@pytest.mark.parametrize("name", ["mean", "smooth"])
def test_curves_along_columns_called_as_those_of_tables(name):
    for fitted in BOTH.values():
        fit = fitted(f"y ~ s(`{name}`, k=5) + (1 | g)", table(number=name))
        curve = fit.smooth()
        assert not curve.columns.has_duplicates and curve[f"{name} (column)"].is_monotonic_increasing
        assert (curve["smooth"] == f"s({name})").all()
        drawn(blm.plot_smooth, fit)
        assert fitted is blm.lmer or fit.smooth(draws=True).ndim == 3
