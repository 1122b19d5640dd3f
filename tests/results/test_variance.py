"""ICC, R², shares, correlations within groups and pseudo-R², against dense covariance matrices and known numbers."""

from __future__ import annotations

import itertools
import json
import pathlib

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from shifted import fixed_rng
from strategies import examples

import bayeslmm as blm
from bayeslmm.covariances.template import covariance
from bayeslmm.engine.bootstrap import estimates
from bayeslmm.engine.profile import parameters
from bayeslmm.engine.scaling import Problem
from bayeslmm.errors import InputError, NotAvailableError, SingularFitWarning
from bayeslmm.results import intervals, pseudo_r2, quantities, variance
from bayeslmm.results.contract import as_dataset
from bayeslmm.results.intervals import values_of
from bayeslmm.results.reference import POINTS, reference_grid

# few draws on purpose: what is tested is what is made of them
pytestmark = [
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.FewLevelsWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.WeaklyIdentifiedWarning"),
]

LME4 = json.loads((pathlib.Path(__file__).parents[1] / "reference" / "lme4.json").read_text())
EXACT = {"rtol": 1e-10, "atol": 1e-13}  # the same sums in another order


# -- random designs and draws


def table_of(rng, n=40):
    """Rows with a factor of 5 levels, one of 3 inside it, and one of 4 across."""
    g, h = np.arange(n) % 5, rng.integers(0, 3, n)
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": np.round(rng.normal(size=n), 3),
            "z": rng.uniform(-1, 2, n),
            "g": [f"g{i}" for i in g],
            "h": [f"h{i}" for i in h],
            "a": [f"a{i}" for i in rng.integers(0, 4, n)],
        }
    )


RIGHT = {
    "intercepts": "x + (1 | g)",
    "slopes": "x + z + (x | g)",
    "uncorrelated slopes": "x + (x + z || g)",
    "slopes only": "0 + z + (0 + x | g)",
    "nested": "x + (1 | g/h)",
    "nested with slopes": "x + (x | g/h)",
    "crossed": "x + (x | g) + (1 | a)",
    "crossed and nested": "1 + (1 | g/h) + (0 + x | a)",
    "no fixed part": "0 + (x | g)",
}


def correlations(rng, lead, group):
    """Correlation matrices (*lead, q, q) with zeros outside the blocks."""
    root = rng.normal(size=(*lead, group.q, group.q))
    cov = root @ root.swapaxes(-1, -2)
    sd = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
    same = np.zeros((group.q, group.q))
    for block in group.blocks:
        same[np.ix_(block, block)] = 1.0
    return cov / (sd[..., :, None] * sd[..., None, :]) * same


def drawn(design, rng, lead=()):
    """Variables of the naming contract with these leading axes."""
    names = {
        "sigma": lambda: rng.uniform(0.3, 2.0, lead),
        "nu": lambda: rng.uniform(2.5, 9.0, lead),
        "shape": lambda: rng.uniform(0.5, 5.0, lead),
        "phi": lambda: rng.uniform(2.0, 9.0, lead),
        "cutpoint": lambda: np.sort(rng.normal(size=(*lead, len(design.levels) - 1)), axis=-1),
    }
    found = {name: names[name]() for name in design.family.parameters}
    found["beta"] = 0.5 * rng.normal(size=(*lead, design.p))
    for g in design.groups:
        found[f"sd_{g.name}"] = rng.uniform(0.1, 1.5, (*lead, g.q))
        if g.correlated:
            found[f"cor_{g.name}"] = correlations(rng, lead, g)
        found[f"b_{g.name}"] = rng.normal(size=(*lead, g.n_levels, g.q))
    return found


def values_from(design, found):
    return variance.Values(
        beta=found["beta"],
        covariances=tuple(
            covariance(found[f"sd_{g.name}"], found.get(f"cor_{g.name}", np.eye(g.q))) for g in design.groups
        ),
        family={name: found[name] for name in design.family.parameters},
    )


def posterior_of(model, seed=0, **changed):
    """A posterior of 2 x 30 draws made up, with some variables changed."""
    found = drawn(model.design, np.random.default_rng(seed), (2, 30)) | changed
    with np.errstate(invalid="ignore"):  # draws that do not vary have no R-hat
        return model.read_draws(xr.DataTree.from_dict({"posterior": as_dataset(model.design, found)}))


def dense(design, values):
    """The part of V that each factor adds (n, n), from the definition: rows of one level share z'Σz."""
    return {
        g.name: (g.codes[:, None] == g.codes[None, :]) * (g.Z @ cov @ g.Z.T)
        for g, cov in zip(design.groups, values.covariances, strict=True)
    }


@st.composite
def cases(draw, kinds=tuple(RIGHT)):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    design = blm.Model(f"y ~ {RIGHT[draw(st.sampled_from(kinds))]}", table_of(rng)).design
    return design, values_from(design, drawn(design, rng))


# -- against the dense covariance matrix


@examples(40)
@given(cases())
def test_icc_r2_and_shares_are_read_off_the_diagonal_of_V(case):
    design, values = case
    parts = {name: np.diag(V).mean() for name, V in dense(design, values).items()}
    sigma2, fixed = values.family["sigma"] ** 2, np.var(design.X @ values.beta, ddof=1)
    random = sum(parts.values())
    expected = {"adjusted": random / (random + sigma2), "unadjusted": random / (random + sigma2 + fixed)}
    expected |= {name: v / (random + sigma2) for name, v in parts.items()}
    if "g:h" in parts:
        expected["g:h in g"] = (parts["g"] + parts["g:h"]) / (random + sigma2)
    found = variance.Parts.of(design, values)
    icc = variance.icc(design, found)
    assert list(icc) == list(expected)
    np.testing.assert_allclose(list(icc.values()), list(expected.values()), **EXACT)
    r2 = variance.r2(found)
    np.testing.assert_allclose(r2["marginal"], fixed / (fixed + random + sigma2), **EXACT)
    np.testing.assert_allclose(r2["conditional"], (fixed + random) / (fixed + random + sigma2), **EXACT)
    rows = {tuple(labels): value for *labels, value in variance.components(design, values, found)}
    shares = {group: value for (group, _, quantity), value in rows.items() if quantity == "share"}
    assert list(shares) == [*parts, "Residual"]
    assert sum(shares.values()) == pytest.approx(1.0, rel=1e-12)
    for name, v in parts.items():
        assert shares[name] == pytest.approx(v / (random + sigma2), rel=1e-10)
    for g, cov in zip(design.groups, values.covariances, strict=True):
        for k, column in enumerate(g.columns):
            assert rows[g.name, column, "variance"] == cov[k, k]
            assert rows[g.name, column, "sd"] == pytest.approx(np.sqrt(cov[k, k]), rel=1e-14)
        for a, b in g.correlated:
            pair = f"{g.columns[a]}, {g.columns[b]}"
            assert rows[g.name, pair, "cor"] == pytest.approx(cov[a, b] / np.sqrt(cov[a, a] * cov[b, b]), rel=1e-12)


@examples(20)
@given(cases(kinds=("nested",)))
def test_cumulative_icc_is_the_correlation_of_two_rows_of_one_class(case):
    design, values = case
    V = sum(dense(design, values).values()) + values.family["sigma"] ** 2 * np.eye(design.n)
    codes = design.group("g:h").codes
    i, j = next((i, j) for i in range(design.n) for j in range(i) if codes[i] == codes[j])
    icc = variance.icc(design, variance.Parts.of(design, values))
    assert icc["g:h in g"] == pytest.approx(V[i, j] / np.sqrt(V[i, i] * V[j, j]), rel=1e-12)


def pairs(design, group):
    """Two rows of one level of a factor that share no other level, but of the factors that it lies in."""
    term = design.group(group)
    inside = {"g": {"g"}, "g:h": {"g", "g:h"}, "a": {"a"}}[group]
    others = [g for g in design.groups if g.name not in inside]
    for i in range(design.n):
        for j in range(i):
            if term.codes[i] == term.codes[j] and all(o.codes[i] != o.codes[j] for o in others):
                yield i, j


@examples(15)
@given(cases())
def test_within_correlation_is_read_off_V(case):
    design, values = case
    V = sum(dense(design, values).values()) + values.family["sigma"] ** 2 * np.eye(design.n)
    columns = [name for name in ("x", "z") if name in design.frame]
    for group in design.groups:
        for i, j in list(itertools.islice(pairs(design, group.name), 2)):
            frame = design.frame.loc[design.index[[i, j]], columns]
            at = {name: list(frame[name]) for name in columns}
            quantity, grid = quantities.within_correlation(design, at, group.name)
            n = len(grid)
            matrix = quantity.of(values).reshape(n, n)
            places = [int(np.flatnonzero((grid[columns] == frame.iloc[k]).all(axis=1))[0]) for k in (0, 1)]
            expected = V[i, j] / np.sqrt(V[i, i] * V[j, j])
            assert matrix[places[0], places[1]] == pytest.approx(expected, rel=1e-10, abs=1e-13)
            np.testing.assert_allclose(matrix, matrix.T, **EXACT)


@examples(20)
@given(cases(kinds=("intercepts", "slopes", "uncorrelated slopes", "slopes only")))
def test_icc_at_values_is_the_correlation_of_a_row_with_itself(case):
    design, values = case
    at = {"x": [-1.0, 0.0, 0.7]}
    quantity, grid = quantities.within_correlation(design, at, None)
    matrix = quantity.of(values).reshape(len(grid), len(grid))
    np.testing.assert_allclose(np.diag(matrix), quantities.icc(design, at, True).of(values), **EXACT)


@pytest.mark.parametrize("kind", ["nested with slopes", "crossed"])
def test_icc_at_values_of_several_factors(kind):
    rng = np.random.default_rng(4)
    design = blm.Model(f"y ~ {RIGHT[kind]}", table_of(rng)).design
    values = values_from(design, drawn(design, rng))
    quantity = quantities.icc(design, {"x": [0.0, 2.0]}, True)
    table = quantity.labels.assign(value=quantity.of(values)).pivot(index="x", columns="icc", values="value")
    first, second = design.groups
    for x in (0.0, 2.0):
        z = np.array([1.0, x])
        v = [z[: len(cov)] @ cov @ z[: len(cov)] for cov in values.covariances]
        total = sum(v) + values.family["sigma"] ** 2
        assert table.loc[x, "adjusted"] == pytest.approx(sum(v) / total, rel=1e-12)
        assert table.loc[x, first.name] == pytest.approx(v[0] / total, rel=1e-12)
        assert table.loc[x, second.name] == pytest.approx(v[1] / total, rel=1e-12)
    assert list(quantities.icc(design, {"x": [0.0, 2.0]}, False).labels) == ["x"]


def test_no_variance_is_negative_by_rounding():
    """Slopes that cancel in every row: their variances are differences of equal numbers."""
    rng = fixed_rng(1)  # whose rounding makes some of them negative
    data = table_of(rng).assign(x=0.1)
    design = blm.Model("y ~ 0 + I(x + z) + I(x - z) + (0 + x + I(3 * x) | g)", data).design
    Z, X = design.groups[0].Z, design.X
    slopes = rng.normal(size=(200, 1)) * [3.0, -1.0]
    cov = slopes[:, :, None] * slopes[:, None, :]
    assert np.einsum("ab,dab->d", Z.T @ Z / len(Z), cov).min() < 0.0
    assert variance.mean_group_variance(Z, cov).min() == 0.0
    beta = rng.normal(size=(200, 1)) * [1.0, 1.0]
    assert np.einsum("da,ab,db->d", beta, np.cov(X, rowvar=False), beta).min() < 0.0
    assert variance.fixed_part_variance(design.X, beta).min() == 0.0


def test_the_fixed_part_of_no_columns_is_zero_for_every_draw():
    design = blm.Model("y ~ 0 + (x | g)", table_of(np.random.default_rng(1))).design
    assert variance.fixed_part_variance(design.X, np.zeros((2, 3, 0))).tolist() == [[0.0] * 3] * 2


FAMILIES = {
    "gaussian": {},
    "student_t": {},
    "poisson": {},
    "negbinomial": {},
    "gamma": {},
    "bernoulli": {},
    "ordinal": {},
}


def model_of(family, right, rng, link=None):
    data = table_of(rng)
    made = {
        "bernoulli": lambda v: (v > 0).astype(int),
        "poisson": lambda v: np.floor(np.exp(v)),
        "negbinomial": lambda v: np.floor(np.exp(v)),
        "gamma": np.exp,
        "lognormal": np.exp,
        "beta": lambda v: 1 / (1 + np.exp(-v)),
        "ordinal": lambda v: np.digitize(v, [-0.5, 0.5]),
    }
    data["y"] = made.get(family, lambda v: v)(data["y"])
    return blm.Model(f"y ~ {right}", data, family=family, link=link)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["nested with slopes", "crossed"])
def test_stacked_draws_give_what_a_loop_over_draws_gives(family, kind):
    rng = np.random.default_rng(3)
    design = model_of(family, RIGHT[kind], rng).design
    found = drawn(design, rng, (2, 5))
    stacked = values_from(design, found)
    at = {"x": [-1.0, 0.5], "g": ["g0", "g3"]}
    known = [
        quantities.icc(design, None, True),
        quantities.icc(design, at, True),
        quantities.r2(design),
        quantities.components(design, stacked),
        quantities.within_correlation(design, at, "g")[0],
    ]
    for quantity in known:
        together = quantity.of(stacked)
        assert together.shape == (2, 5, len(quantity.labels))
        for c, d in np.ndindex(2, 5):
            one = values_from(design, {name: value[c, d] for name, value in found.items()})
            np.testing.assert_allclose(together[c, d], quantity.of(one), **EXACT)


@pytest.mark.parametrize(("link", "expected"), [("logit", np.pi**2 / 3), ("probit", 1.0), ("cloglog", np.pi**2 / 6)])
def test_latent_residuals_have_the_variance_of_the_links_distribution(link, expected):
    design = model_of("bernoulli", "x + (1 | g)", np.random.default_rng(3), link).design
    found, _ = variance.residual_variance(design, {}, np.zeros((2, 3)), np.ones((2, 3)))
    np.testing.assert_allclose(found, np.full((2, 3), expected), rtol=1e-15)


# -- numbers known from elsewhere


@pytest.fixture(scope="module")
def hsb():
    return blm.load_dataset("hsb")


@pytest.fixture(scope="module")
def schools(hsb):
    formulas = ("1 + (1 | school)", "ses + (1 | school)", "ses + (ses | school)")
    return [blm.lmer(f"mathach ~ {right}", hsb) for right in formulas]


@pytest.fixture(scope="module")
def sleep():
    return blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


def test_sleepstudy_as_performance_has_it(sleep):
    """R's performance::icc and r2_nakagawa."""
    icc, r2 = sleep.icc()["estimate"], sleep.r2()["estimate"]
    assert icc["adjusted"] == pytest.approx(0.7217, abs=5e-5)
    assert icc["unadjusted"] == pytest.approx(0.5206, abs=1e-4)
    assert r2["marginal"] == pytest.approx(0.2787, abs=1e-4)
    assert r2["conditional"] == pytest.approx(0.7992, abs=5e-5)
    reference = LME4["sleepstudy_corr_reml"]
    np.testing.assert_allclose(
        [icc["adjusted"], icc["unadjusted"], *r2],
        [reference[k] for k in ("icc_adjusted", "icc_unadjusted", "r2_marginal", "r2_conditional")],
        atol=1e-6,
    )
    assert list(sleep.icc(by_group=False).index) == ["adjusted", "unadjusted"]


def test_numbers_of_the_notes(schools):
    null, ses, slopes = schools
    assert round(null.icc().loc["adjusted", "estimate"], 3) == 0.180
    assert null.r2().loc["marginal", "estimate"] == 0.0
    for fit, printed in ((ses, 0.05), (slopes, 0.06)):
        table = fit.pseudo_r2(null)
        assert round(table.loc["Residual", "pseudo_r2"], 2) == printed
        expected = 1 - fit.sigma**2 / null.sigma**2
        assert table.loc["Residual", "pseudo_r2"] == pytest.approx(expected, rel=1e-12)
        assert (table["note"] == "").all()
    assert list(ses.pseudo_r2(null).index) == ["Residual", "school"]
    assert list(slopes.pseudo_r2(slopes).index) == ["Residual", "school", "ses | school"]
    assert (slopes.pseudo_r2(slopes)["pseudo_r2"] == 0.0).all()


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedRowsWarning")
def test_classes_in_schools():
    with pytest.warns(SingularFitWarning):
        fit = blm.lmer("like ~ sex + PrivPub + (1 | school/class)", blm.load_dataset("science"))
    icc = fit.icc()["estimate"]
    assert list(icc.index) == ["adjusted", "unadjusted", "school", "school:class", "school:class in school"]
    assert round(icc["school:class in school"], 3) == 0.095
    assert icc["school"] == 0.0 and icc["school:class"] == icc["school:class in school"]
    shares = fit.variance_components().query("quantity == 'share'")["estimate"]
    assert shares.sum() == pytest.approx(1.0) and (shares >= 0).all()


# -- posteriors


@pytest.fixture(scope="module")
def posteriors(hsb):
    options = {"random_seed": 1, "progressbar": False}
    formulas = ("1 + (1 | school)", "ses + (1 | school)")
    return [blm.Model(f"mathach ~ {right}", hsb).fit(**options) for right in formulas]


def test_posterior_icc_of_schools(posteriors):
    post = posteriors[0]
    row = post.icc().loc["adjusted"]
    # sd of the posterior 0.019; REML's 0.180 is near its mode
    assert row["mean"] == pytest.approx(0.18, abs=0.01)
    assert row["conf_low"] < 0.18 < row["conf_high"]
    draws = post.icc(draws=True)
    assert draws.dims == ("chain", "draw", "icc")
    assert ((draws >= 0) & (draws <= 1)).all()
    direct = post.draws("sd_school")[..., 0] ** 2
    direct = direct / (direct + post.draws("sigma") ** 2)
    np.testing.assert_allclose(draws.sel(icc="adjusted"), direct)
    assert row["mean"] == pytest.approx(direct.mean()) and row["sd"] == pytest.approx(direct.std(ddof=1))
    np.testing.assert_allclose(row[["conf_low", "conf_high"]], np.quantile(direct, [0.025, 0.975]))


def test_posterior_pseudo_r2_is_near_that_of_reml(schools, posteriors):
    table = posteriors[1].pseudo_r2(posteriors[0])
    point = schools[1].pseudo_r2(schools[0])
    assert list(table.index) == list(point.index)
    # within half a posterior sd; both are about the same likelihood of 160 schools
    off = (table["pseudo_r2"] - point["pseudo_r2"]) / table["sd"]
    assert off.abs().max() < 0.5
    assert (table["conf_low"] < point["pseudo_r2"]).all() and (point["pseudo_r2"] < table["conf_high"]).all()
    old, new = (p.draws("sigma").reshape(-1) ** 2 for p in posteriors)
    # that of independent draws, although both fits have one seed: by the delta method, which the draws' own error of
    # 1 % and a correlation by chance of 0.03 blur
    apart = np.hypot(old.std() / old.mean(), new.std() / new.mean()) * new.mean() / old.mean()
    assert table.loc["Residual", "sd"] == pytest.approx(apart, rel=0.08)
    assert table.loc["Residual", "baseline"] == pytest.approx(np.median(old))
    narrow = posteriors[1].pseudo_r2(posteriors[0], ci_prob=0.5)
    assert (narrow["conf_high"] - narrow["conf_low"] < table["conf_high"] - table["conf_low"]).all()


def test_a_group_variance_of_zero_is_no_trouble():
    data = blm.load_dataset("dyestuff2")
    post = blm.Model("Yield ~ 1 + (1 | Batch)", data).fit(random_seed=1, progressbar=False)
    for draws in (post.icc(draws=True), post.r2(draws=True), post.variance_components(draws=True)):
        assert np.isfinite(draws).all() and (draws >= 0).all()
    assert (post.icc(draws=True) <= 1).all()
    slopes = blm.Model("y ~ x + (x | g) + (1 | a)", table_of(np.random.default_rng(1)))
    zero = posterior_of(slopes, sd_g=np.zeros((2, 30, 2)), sd_a=np.zeros((2, 30, 1)))
    assert (zero.icc(draws=True) == 0).all()
    table = zero.variance_components()
    assert table.drop(columns="p_positive").notna().all().all()  # which is that of correlations only
    assert (table.query("group != 'Residual' and quantity == 'share'")["mean"] == 0).all()
    assert (zero.within_correlation({"x": [0, 1]}, group="g")["mean"] == 0).all()
    nothing = posterior_of(slopes, sd_g=np.zeros((2, 30, 2)), sd_a=np.zeros((2, 30, 1)), sigma=np.zeros((2, 30)))
    assert (nothing.icc(draws=True) == 0).all() and nothing.r2().notna().all().all()


# -- pseudo-R²


def cancelling(rng):
    """x differs between groups, y does not much: given x, groups differ the other way."""
    g = np.arange(300) % 15
    m, u = rng.normal(size=15)[g], 0.4 * rng.normal(size=15)[g]
    x = m + rng.normal(size=300)
    return pd.DataFrame({"y": x - m + u + 0.5 * rng.normal(size=300), "x": x, "g": g})


def test_a_variance_that_rises_is_remarked_upon():
    data = cancelling(np.random.default_rng(1))
    null, fit = blm.Model("y ~ 1 + (1 | g)", data), blm.Model("y ~ x + (1 | g)", data)
    table = fit.fit_reml().pseudo_r2(null.fit_reml())
    assert table.loc["g", "pseudo_r2"] < 0 and table.loc["g", "note"] == pseudo_r2.NEGATIVE
    assert table.loc["Residual", "pseudo_r2"] > 0 and table.loc["Residual", "note"] == ""
    options = {"random_seed": 1, "progressbar": False, "draws": 500}
    table = fit.fit(**options).pseudo_r2(null.fit(**options))
    assert table.loc["g", "pseudo_r2"] < 0 and table.loc["g", "note"] == pseudo_r2.NEGATIVE


def test_nothing_can_be_reduced_of_a_variance_of_zero():
    with pytest.warns(SingularFitWarning):
        fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff2"))
    table = fit.pseudo_r2(fit)
    assert np.isnan(table.loc["Batch", "pseudo_r2"]) and table.loc["Batch", "note"] == pseudo_r2.NOTHING
    assert table.loc["Residual", "pseudo_r2"] == 0.0 and table.loc["Residual", "note"] == ""


def test_variances_of_a_latent_scale_are_not_compared_without_a_word():
    rng = np.random.default_rng(2)
    null, model = (model_of("bernoulli", right, np.random.default_rng(2)) for right in ("1 + (1 | g)", "x + (x | g)"))
    before, after = np.abs(rng.normal(2.0, 0.1, (2, 30, 1))), np.abs(rng.normal(1.0, 0.1, (2, 30, 2)))
    table = posterior_of(model, sd_g=after).pseudo_r2(posterior_of(null, sd_g=before))
    assert list(table.index) == ["g"]  # the latent residual is a constant, no row of its own
    assert table.loc["g", "note"] == pseudo_r2.RESCALED
    table = posterior_of(null, sd_g=before).pseudo_r2(posterior_of(model, sd_g=after))
    assert table.loc["g", "note"] == f"{pseudo_r2.RESCALED}; {pseudo_r2.NEGATIVE}"


def test_posteriors_of_other_lengths_are_paired_as_far_as_they_go():
    model = blm.Model("y ~ x + (1 | g)", table_of(np.random.default_rng(1)))
    long, rng = posterior_of(model), np.random.default_rng(5)
    found = drawn(model.design, rng, (2, 20))
    short = model.read_draws(xr.DataTree.from_dict({"posterior": as_dataset(model.design, found)}))
    table = long.pseudo_r2(short)
    old, new = found["sigma"].reshape(-1) ** 2, long.draws("sigma").reshape(-1)[:40] ** 2
    old = np.random.default_rng(0).permutation(old[:, None])[:, 0]  # pairs at random
    assert table.loc["Residual", "pseudo_r2"] == pytest.approx(np.median(1 - new / old))


def test_pseudo_r2_is_of_the_same_data(hsb, schools, posteriors):
    null = schools[0]
    with pytest.raises(InputError, match="posterior"):
        null.pseudo_r2(posteriors[0])
    with pytest.raises(InputError, match="posterior"):
        posteriors[0].pseudo_r2(null)
    with pytest.raises(InputError, match=r"7,185 .*7,184"):
        null.pseudo_r2(blm.lmer("mathach ~ 1 + (1 | school)", hsb.iloc[1:]))
    with pytest.raises(InputError, match="'ses'"):
        null.pseudo_r2(blm.lmer("ses ~ 1 + (1 | school)", hsb))
    with pytest.raises(InputError, match="other rows"):
        null.pseudo_r2(blm.lmer("mathach ~ 1 + (1 | school)", hsb.iloc[::-1]))
    with pytest.raises(InputError, match="weights"):
        null.pseudo_r2(blm.Model("mathach ~ 1 + (1 | school)", hsb, weights=np.ones(7185)).fit_reml())


def test_pseudo_r2_needs_a_variance_in_common():
    model, other = (model_of("poisson", r, np.random.default_rng(1)) for r in ("x + (1 | g)", "x + (1 | a)"))
    with pytest.raises(NotAvailableError, match="no variance in common"):
        posterior_of(model).pseudo_r2(posterior_of(other))


# -- nesting


def nesting(formula, **columns):
    data = pd.DataFrame({"y": np.random.default_rng(0).normal(size=len(next(iter(columns.values())))), **columns})
    return variance.nesting(blm.Model(formula, data).design)


def test_nesting_is_seen_in_the_codes():
    s = np.repeat(np.arange(4), 12)
    c = np.tile(np.repeat(np.arange(3), 4), 4)
    assert nesting("y ~ 1 + (1 | s/c)", s=s, c=c) == {"s:c": ("s",), "s": ()}
    # classes with ids of their own need no interaction
    assert nesting("y ~ 1 + (1 | s) + (1 | k)", s=s, k=3 * s + c) == {"s": (), "k": ("s",)}
    assert nesting("y ~ 1 + (1 | s) + (1 | c)", s=s, c=c) == {"s": (), "c": ()}
    k = np.repeat(np.arange(6), 8)
    assert nesting("y ~ 1 + (1 | s) + (1 | k)", s=k % 3, k=k) == {"s": (), "k": ("s",)}
    moved = 3 * s + c
    moved[0] = 5  # one pupil in a class of another school
    assert nesting("y ~ 1 + (1 | s) + (1 | k)", s=s, k=moved) == {"s": (), "k": ()}


def test_nesting_of_three_levels():
    d = np.repeat(np.arange(3), 24)
    s = np.tile(np.repeat(np.arange(2), 12), 3)
    c = np.tile(np.repeat(np.arange(3), 4), 6)
    found = nesting("y ~ 1 + (1 | d/s/c)", d=d, s=s, c=c)
    assert {name: set(above) for name, above in found.items()} == {"d": set(), "d:s": {"d"}, "d:s:c": {"d", "d:s"}}


def test_factors_that_are_the_same_partition_are_not_inside_each_other():
    g = np.repeat(np.arange(6), 5)
    x = np.random.default_rng(3).normal(size=30)
    assert nesting("y ~ 1 + (1 | g) + (0 + x | k)", g=g, k=10 - g, x=x) == {"g": (), "k": ()}


def test_observations_of_one_group_share_the_same_groups_by_another_name():
    data = table_of(np.random.default_rng(1)).assign(k=lambda d: "k" + d["g"])
    two = blm.Model("y ~ x + (1 | g) + (0 + x | k)", data).design
    one = blm.Model("y ~ x + (x || g)", data).design
    found = drawn(one, np.random.default_rng(2))
    split = {name: found[name] for name in ("beta", "sigma")}
    split |= {"sd_g": found["sd_g"][:1], "sd_k": found["sd_g"][1:]}
    at = {"x": [-1.0, 0.0, 2.0]}
    expected = quantities.within_correlation(one, at, None)[0].of(values_from(one, found))
    for group in ("g", "k"):
        ours = quantities.within_correlation(two, at, group)[0].of(values_from(two, split))
        np.testing.assert_allclose(ours, expected, **EXACT)


# -- reference grids


def grid_design():
    rng = np.random.default_rng(8)
    data = table_of(rng).assign(
        f=pd.Categorical(rng.permutation(["low", "mid", "mid", "mid"] * 10), categories=["mid", "low", "none"]),
        t=rng.random(40) < 0.3,
    )
    return blm.Model("y ~ x + z + f + t + (x | g)", data).design


def test_grids_of_given_values():
    design = grid_design()
    grid, rows = reference_grid(design, {"x": [3, 1], "f": ["low", "mid"]})
    assert grid.to_numpy().tolist() == [[3, "low"], [3, "mid"], [1, "low"], [1, "mid"]]
    assert set(rows) == set(design.frame)
    z = design.frame["z"]
    typical = z.iloc[(z - z.mean()).abs().argmin()]
    assert (rows["z"] == typical).all() and typical in set(z)
    assert not rows["t"].any()  # the most frequent value of a column of yes and no
    grid, rows = reference_grid(design, {"x": 2.5})
    assert grid["x"].tolist() == [2.5] and rows["f"].tolist() == ["mid"]


def test_grids_of_a_name():
    design = grid_design()
    x = design.frame["x"]
    grid, _ = reference_grid(design, "x")
    np.testing.assert_allclose(grid["x"], np.linspace(x.min(), x.max(), POINTS))
    assert reference_grid(design, "f")[0]["f"].tolist() == ["mid", "low"]
    assert reference_grid(design, "t")[0]["t"].tolist() == [False, True]
    assert reference_grid(design, "g")[0]["g"].tolist() == [f"g{i}" for i in range(5)]


def test_every_kind_of_variable_can_be_looked_at(sleep):
    model = blm.Model("y ~ x + (x | g)", table_of(np.random.default_rng(1)))
    post = posterior_of(model)
    assert list(post.icc(at="x")) == ["x", "mean", "sd", "median", "conf_low", "conf_high"]
    assert len(post.icc(at="g")) == 5
    curve = sleep.icc(at="Days")
    assert len(curve) == POINTS and curve["Days"].iloc[-1] == 9
    wide = sleep.within_correlation({"Days": [0, 9]}, wide=True)
    assert list(wide.index) == [0, 9] and wide.iloc[0, 1] == wide.iloc[1, 0]
    long = sleep.within_correlation({"Days": [0, 9]})
    assert list(long) == ["Days", "Days_other", "estimate"]
    np.testing.assert_allclose(long["estimate"], wide.to_numpy().reshape(-1))


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("hour", "'hour' is no predictor"),
        ({"hour": [1]}, "'hour' is no predictor"),
        ({"Days": []}, "no values"),
        ({"Days": [1, np.nan]}, "missing"),
        ({"Days": np.nan}, "missing"),
        ({"Days": None}, "missing"),
        ([0, 1], "values by variable"),
        ({}, "values by variable"),
    ],
)
def test_values_that_cannot_be_looked_at(sleep, at, message):
    with pytest.raises(InputError, match=message):
        sleep.icc(at=at)
    with pytest.raises(InputError, match=message):
        sleep.within_correlation(at)


def test_an_icc_needs_groups(sleep):
    linear = blm.lmer("Reaction ~ Days", blm.load_dataset("sleepstudy"))
    for ask in (linear.icc, lambda: linear.icc(at="Days"), lambda: linear.within_correlation("Days")):
        with pytest.raises(NotAvailableError, match="no random effects"):
            ask()
    assert linear.r2().loc["marginal", "estimate"] == linear.r2().loc["conditional", "estimate"]
    crossed = blm.Model("y ~ x + (1 | g) + (1 | a)", table_of(np.random.default_rng(1))).fit_ml
    with pytest.warns(SingularFitWarning):
        crossed = crossed()
    with pytest.raises(InputError, match=r"several .*'g', 'a'"):
        crossed.within_correlation("x")
    with pytest.raises(InputError, match="'h'"):
        crossed.within_correlation("x", group="h")


# -- residual variances of families


@pytest.mark.parametrize(
    ("family", "link", "reason"),
    [
        ("beta", None, "no simple form"),
        ("bernoulli", "cauchit", "Cauchy"),
        ("poisson", "sqrt", "no simple form"),
        ("poisson", "identity", "no simple form"),
        ("gamma", "inverse", "no simple form"),
        ("gamma", "identity", "no simple form"),
        ("student_t", "inverse", "no simple form"),
        ("gaussian", "inverse", "no simple form"),
    ],
)
def test_families_without_a_residual_variance_say_why(family, link, reason):
    post = posterior_of(model_of(family, "x + (1 | g)", np.random.default_rng(1), link))
    for ask in (post.icc, lambda: post.icc(at="x"), post.r2, lambda: post.within_correlation("x")):
        with pytest.raises(NotAvailableError, match=reason):
            ask()
    table = post.variance_components()
    assert set(table["quantity"]) == {"variance", "sd"} and set(table["group"]) == {"g"}


@pytest.mark.parametrize(
    ("family", "link", "told"),
    [
        ("gaussian", None, "residual: sigma^2"),
        ("student_t", None, "residual: sigma^2 nu/(nu - 2)"),
        ("poisson", None, "residual: log(1 + 1/mean)"),
        ("negbinomial", None, "residual: log(1 + 1/mean + 1/shape)"),
        ("gamma", None, "residual: log(1 + 1/shape)"),
        ("bernoulli", "logit", "latent residual: pi^2/3"),
        ("bernoulli", "probit", "latent residual: 1"),
        ("ordinal", "cloglog", "latent residual: pi^2/6"),
    ],
)
def test_a_residual_variance_says_what_it_is(family, link, told):
    rng = np.random.default_rng(1)
    design = model_of(family, "x + (1 | g)", rng, link).design
    values = values_from(design, drawn(design, rng))
    assert variance.Parts.of(design, values).residual_words == told
    for name in design.family.parameters:
        rest = {other: value for other, value in values.family.items() if other != name}
        found, why = variance.residual_variance(design, rest, np.zeros(1), np.zeros(1))
        assert found is None and why.startswith(f"these draws hold no '{name}'")


def test_icc_of_counts_at_values_has_the_residual_there():
    model = model_of("poisson", "x + offset(z) + (x | g)", np.random.default_rng(1))
    post = posterior_of(model)
    draws = post.icc(at={"x": [-1.0, 2.0]}, draws=True)
    z = model.design.frame["z"]
    typical = z.iloc[(z - z.mean()).abs().argmin()]
    cov = post.covariances()[0]
    for k, x in enumerate((-1.0, 2.0)):
        row = np.array([1.0, x])
        v = np.einsum("a,cdab,b->cd", row, cov, row)
        residual = np.log1p(1 / np.exp(post.draws("beta") @ row + typical + v / 2))
        np.testing.assert_allclose(draws.isel(row=k), v / (v + residual), **EXACT)
    mean = np.einsum("na,cda->cdn", model.design.X, post.draws("beta")).mean(axis=-1) + z.mean()
    v = np.einsum("na,cdab,nb->cdn", model.design.groups[0].Z, cov, model.design.groups[0].Z).mean(axis=-1)
    fixed = np.einsum("na,cda->cdn", model.design.X, post.draws("beta")).var(axis=-1, ddof=1)
    expected = v / (v + np.log1p(np.exp(-mean - (fixed + v) / 2)))  # at E(y) over rows and groups
    np.testing.assert_allclose(post.icc(draws=True).sel(icc="adjusted"), expected, **EXACT)


@pytest.mark.parametrize(
    ("family", "link", "residual"),
    [
        ("bernoulli", "logit", np.pi**2 / 3),
        ("bernoulli", "probit", 1.0),
        ("bernoulli", "cloglog", np.pi**2 / 6),
        ("ordinal", "logit", np.pi**2 / 3),
    ],
)
def test_latent_residuals_are_constant(family, link, residual):
    post = posterior_of(model_of(family, "x + (x | g)", np.random.default_rng(1), link))
    table = post.variance_components(draws=True)
    chosen = (table["group"] == "Residual") & (table["quantity"] == "variance")
    np.testing.assert_allclose(table[..., chosen.to_numpy()], residual, rtol=1e-14)
    v = post.draws("sd_g")[..., 0] ** 2
    np.testing.assert_allclose(post.icc(at={"x": 0}, draws=True)[..., 0], v / (v + residual), **EXACT)


def test_residuals_with_a_parameter():
    post = posterior_of(model_of("student_t", "x + (1 | g)", np.random.default_rng(1)))
    v, sigma, nu = post.draws("sd_g")[..., 0] ** 2, post.draws("sigma"), post.draws("nu")
    expected = v / (v + sigma**2 * nu / (nu - 2))
    np.testing.assert_allclose(post.icc(draws=True).sel(icc="adjusted"), expected, **EXACT)
    post = posterior_of(model_of("gamma", "x + (1 | g)", np.random.default_rng(1)))
    v, shape = post.draws("sd_g")[..., 0] ** 2, post.draws("shape")
    expected = v / (v + np.log1p(1 / shape))
    np.testing.assert_allclose(post.icc(draws=True).sel(icc="adjusted"), expected, **EXACT)
    post = posterior_of(model_of("negbinomial", "x + (1 | g)", np.random.default_rng(1)))
    v, shape = post.draws("sd_g")[..., 0] ** 2, post.draws("shape")
    beta, X = post.draws("beta"), post.design.X
    mean = np.exp(beta @ X.mean(axis=0) + (v + (beta @ X.T).var(axis=-1, ddof=1)) / 2)
    expected = v / (v + np.log1p(1 / mean + 1 / shape))
    np.testing.assert_allclose(post.icc(draws=True).sel(icc="adjusted"), expected, **EXACT)


def test_tails_without_a_variance_leave_nothing_to_the_groups():
    """Student t with nu of 2 and less has an infinite variance: a share of zero, not a missing one."""
    model = model_of("student_t", "x + (1 | g)", np.random.default_rng(1))
    post = posterior_of(model, nu=np.full((2, 30), 1.5))
    assert (post.icc(draws=True) == 0).all() and (post.r2(draws=True) == 0).all()
    draws = post.variance_components(draws=True)
    share = draws[..., (draws["quantity"] == "share").to_numpy()]
    np.testing.assert_array_equal(share, np.broadcast_to([0.0, 1.0], (2, 30, 2)))
    values = {"sigma": np.array([1.0, 2.0, 2.0]), "nu": np.array([1.5, 2.0, 4.0])}
    found, _ = variance.residual_variance(model.design, values, np.zeros(3), np.zeros(3))
    np.testing.assert_allclose(found, [np.inf, np.inf, 8.0], rtol=1e-15)
    some = posterior_of(model, nu=np.linspace(1.5, 6.0, 60).reshape(2, 30)).variance_components()
    share = some[some["quantity"] == "share"].set_index("group")["mean"]
    assert share.sum() == pytest.approx(1.0) and share["g"] > 0
    assert np.isfinite(some["median"]).all()


# -- bootstrap


BOOT = {"random_seed": 1, "cores": 1, "progressbar": False}


@pytest.fixture(scope="module")
def replicates(sleep):
    return sleep.bootstrap(12, **BOOT)


@pytest.mark.parametrize("ask", ["icc", "r2", "variance_components", "within_correlation"])
def test_bootstrap_intervals_are_percentiles_of_the_quantity(sleep, replicates, ask, monkeypatch):
    given = {"at": {"Days": [0, 9]}} if ask == "within_correlation" else {}
    if ask != "icc":  # one that simulates by itself is enough; of the others that they ask for the same
        asked = {}
        monkeypatch.setattr(intervals, "bootstrap_table", lambda fit, **o: asked.update(o) or replicates)
    table = getattr(sleep, ask)(**given, bootstrap=12, ci_prob=0.8, **BOOT)
    assert ask == "icc" or asked == {"draws": 12, **BOOT}
    quantity = {
        "icc": lambda: quantities.icc(sleep.design, None, True),
        "r2": lambda: quantities.r2(sleep.design),
        "variance_components": lambda: quantities.components(sleep.design, sleep.values),
        "within_correlation": lambda: quantities.within_correlation(sleep.design, given["at"], None)[0],
    }[ask]()
    each = []
    for _, row in replicates.iterrows():
        sd0, sd1, cor, sigma, *beta = row
        cov = np.array([[sd0**2, sd0 * sd1 * cor], [sd0 * sd1 * cor, sd1**2]])
        values = variance.Values(beta=np.array(beta), covariances=(cov,), family={"sigma": np.asarray(sigma)})
        each.append(quantity.of(values))
    low, high = np.quantile(each, [0.1, 0.9], axis=0)
    np.testing.assert_allclose(table["conf_low"], low, rtol=1e-9)
    np.testing.assert_allclose(table["conf_high"], high, rtol=1e-9)
    plain = getattr(sleep, ask)(**given)
    np.testing.assert_array_equal(plain["estimate"], table["estimate"])
    assert "conf_low" not in plain
    assert ((low <= table["estimate"]) & (table["estimate"] <= high)).mean() > 0.7


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
@pytest.mark.parametrize("right", ["x + (x | g)", "x + (x + z || g)", "x + (1 | g/h)", "0 + (x | g)"])
def test_estimates_there_and_back(right):
    fit = blm.lmer(f"y ~ {right}", table_of(np.random.default_rng(6)))
    back = values_of(fit.design, estimates(parameters(Problem.of(fit.design)), fit.solution))
    np.testing.assert_allclose(back.beta, fit.values.beta, rtol=1e-12)
    np.testing.assert_allclose(back.family["sigma"], fit.values.family["sigma"], rtol=1e-12)
    for ours, theirs in zip(back.covariances, fit.values.covariances, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-14)
