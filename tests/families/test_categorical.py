"""Categories without an order: laws of the family, what every verb says of them, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.errors import (
    DataError,
    FormulaError,
    InputError,
    NotAvailableError,
    PriorError,
    UnidentifiedTermError,
    UnseenLevelError,
)
from bayeslmm.families import family_of
from bayeslmm.results.log_density import log_likelihood, log_prior
from bayeslmm.results.rows import normal_nodes

J, LEVELS = 8, ("bus", "car", "very good")
FORMULA = "way ~ x + (1 | g)"


@pytest.fixture(scope="module")
def data():
    """Three categories that hang on a number and on groups."""
    rng = fixed_rng(5)
    n = 25 * J
    d = pd.DataFrame({"x": rng.normal(size=n) + 1.0, "g": np.arange(n) % J, "w": rng.integers(1, 4, n)})
    b = 0.8 * rng.normal(size=(J, 2))
    eta = np.column_stack([np.zeros(n), 0.5 * d.x + b[d.g, 0], -0.5 + b[d.g, 1]])
    d["way"] = np.array(LEVELS)[np.argmax(eta + rng.gumbel(size=eta.shape), axis=1)]
    return d


def made(data, formula=FORMULA, **options):
    return blm.Model(formula, data, family="categorical", **options)


def from_priors(m, draws=6):
    """A posterior fit whose draws are those of the priors, for what is told of any draws."""
    prior = m.prior_predictive(draws, random_seed=3)
    with pytest.warns(blm.errors.SamplingWarning):
        return m.read_draws(type(prior).from_dict({"posterior": prior["prior"].to_dataset()}))


@pytest.fixture(scope="module")
def post(data):
    return from_priors(made(data))


def predictors(post, d, b=True):
    """The linear predictors (S, n, 3) of the categories at rows, written out."""
    X = np.column_stack([np.ones(len(d)), d.x])
    each = [np.zeros((6, len(d)))]
    for category in LEVELS[1:]:
        eta = post.draws(f"beta_mu_{category}")[0] @ X.T
        each.append(eta + b * post.draws(f"b_mu_{category}_g")[0][:, d.g, 0])
    return np.stack(each, axis=-1)


# -- the family


@pytest.fixture
def family():
    return type(family_of("categorical"))(link="logit", categories=("a", "b", "c", "d"))


def test_the_probabilities_are_those_of_the_density_the_distribution_function_and_the_draws(family):
    rng = np.random.default_rng(1)
    eta = np.zeros(4000)
    parameters = {name: rng.normal(size=4000) for name in family.parameters}
    p = family.expected(eta, parameters)
    each = np.stack([family.log_density(np.full(4000, k), eta, parameters) for k in range(4)], axis=-1)
    np.testing.assert_allclose(np.exp(each), p, rtol=1e-12)
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, rtol=1e-12)
    below, up_to = family.cdf(np.full(4000, 2), eta, parameters)
    np.testing.assert_allclose(up_to - below, p[:, 2], atol=1e-12)
    y = family.draw(eta, parameters, None, rng)
    scores = family.normal_scores(y, eta, parameters, None, rng)
    assert stats.kstest(scores, "norm").pvalue > 1e-6
    others = {name: value + 0.7 for name, value in parameters.items()}  # and the test can fail
    assert stats.kstest(family.normal_scores(y, eta, others, None, rng), "norm").pvalue < 1e-6


def test_another_reference_changes_no_probability(family):
    """Log odds against c are those against a less those of c."""
    rng = np.random.default_rng(2)
    values = {name: rng.normal(size=50) for name in family.parameters}
    other = type(family)(link="logit", categories=("c", "a", "b", "d"))
    moved = {"mu_a": -values["mu_c"], "mu_b": values["mu_b"] - values["mu_c"], "mu_d": values["mu_d"] - values["mu_c"]}
    np.testing.assert_allclose(
        other.expected(np.zeros(50), moved)[:, [1, 2, 0, 3]], family.expected(np.zeros(50), values), rtol=1e-12
    )


def test_two_categories_are_bernoulli(data):
    """The same priors and the same density: only the names differ."""
    d = data.assign(way=np.where(data.way == "car", "yes", "no"))
    ours, theirs = made(d), blm.Model(FORMULA, d, family="bernoulli")
    of_theirs = {entry.key: entry.prior for entry in theirs.priors.entries}
    for entry in ours.priors.entries:
        name, prior = entry.term, entry.prior
        expected = of_theirs["sd", "g", name] if entry.kind == "sd" else of_theirs[name]
        assert prior.name == expected.name
        np.testing.assert_allclose([v for _, v in prior.params], [v for _, v in expected.params], rtol=1e-12)
    drawn = ours.prior_predictive(5, random_seed=1)["prior"].to_dataset()
    renamed = {"beta_mu_yes": "beta", "coef_mu_yes": "coef", "b_mu_yes_g": "b_g", "sd_mu_yes_g": "sd_g"}
    same = drawn.rename(renamed | {"mu_yes_g": "g", "mu_yes_g_term": "g_term"})
    np.testing.assert_allclose(
        log_likelihood(ours.design, drawn)["y"], log_likelihood(theirs.design, same)["y"], rtol=1e-10, atol=1e-14
    )


def test_without_predictors_the_likelihood_is_highest_at_the_frequencies(data):
    m = made(data, "way ~ 1")
    counts = data.way.value_counts()[list(LEVELS)].to_numpy()
    odds = np.log(counts[1:] / counts[0])

    def loglik(values):
        import xarray as xr

        named = {
            f"beta_mu_{c}": (("chain", "draw", f"coef_mu_{c}"), [[[v]]])
            for c, v in zip(LEVELS[1:], values, strict=True)
        }
        return float(log_likelihood(m.design, xr.Dataset(named, {"chain": [0], "draw": [0]}))["y"].sum())

    best = loglik(odds)
    assert best == pytest.approx(counts @ np.log(counts / counts.sum()), rel=1e-12)
    for step in 0.01 * np.vstack([np.eye(2), -np.eye(2)]):
        assert loglik(odds + step) < best


def test_the_pymc_model_has_the_same_density(data, post):
    """At draws of the priors, in every category; and its draws are of these categories."""
    from pymc import stats as of_pymc

    m, tree = made(data), post.idata
    quick = {"extend_inferencedata": False, "progressbar": False}
    graph = of_pymc.compute_log_likelihood(tree, model=m.pymc, **quick)
    of_priors = of_pymc.compute_log_prior(tree, model=m.pymc, **quick)
    ours = log_likelihood(m.design, tree.posterior.to_dataset())["y"].to_numpy()
    np.testing.assert_allclose(graph["y"].to_numpy(), ours, rtol=1e-8, atol=1e-8)
    written_out = np.log(special.softmax(predictors(post, data), axis=-1))
    codes = data.way.map({level: k for k, level in enumerate(LEVELS)}).to_numpy()
    of_rows = np.take_along_axis(written_out, codes[None, :, None], -1)[..., 0]
    np.testing.assert_allclose(
        ours[0], of_rows, rtol=1e-9, atol=1e-14
    )  # of a probability near 1 the log has few digits
    mine = log_prior(m.design, m.priors, tree.posterior.to_dataset())
    for variable in mine:
        assert float(of_priors[variable].sum()) == pytest.approx(float(mine[variable].sum()), rel=1e-8)


# -- rows


def test_probabilities_of_known_new_average_and_all_groups(data, post):
    rows = pd.DataFrame({"x": [0.0, 2.0], "g": [1, 6]})

    def p(groups, **options):
        return post.predict(rows, groups=groups, draws=True, **options).to_numpy()[0]

    np.testing.assert_allclose(p("observed"), special.softmax(predictors(post, rows), axis=-1), rtol=1e-10)
    at_zero = predictors(post, rows, b=False)
    np.testing.assert_allclose(p("average"), special.softmax(at_zero, axis=-1), rtol=1e-10)
    sds = [post.draws(f"sd_mu_{c}_g")[0, :, 0] for c in LEVELS[1:]]
    z = stats.norm.ppf((np.arange(300) + 0.5) / 300)  # an average over both effects by a fine grid of quantiles
    first, second = np.meshgrid(z, z)
    total = np.zeros_like(at_zero)
    for a, b in zip(first.reshape(-1, 300), second.reshape(-1, 300), strict=True):
        moved = np.stack([0 * a[None] + 0 * sds[0][:, None], sds[0][:, None] * a, sds[1][:, None] * b], axis=-1)
        total += special.softmax(at_zero[:, :, None] + moved[:, None], axis=-1).mean(axis=2) / 300
    # 15 nodes a dimension where sds of log odds are up to some units, and tails of the grid beyond 2e-3
    np.testing.assert_allclose(p("population"), total, atol=5e-3)
    assert not np.allclose(p("new", random_seed=1), p("new", random_seed=2))
    by_factor = post.predict(rows, groups={"g": "average"}, draws=True).to_numpy()[0]
    np.testing.assert_array_equal(by_factor, p("average"))
    with pytest.raises(UnseenLevelError, match=r"groups=\{'g': 'observed_or_new'\}"):
        post.predict(rows.assign(g=99))


@pytest.mark.parametrize("dimensions", [1, 2, 3, 6])
def test_nodes_are_those_of_independent_normal_numbers(dimensions):
    nodes, weights = normal_nodes(dimensions)
    assert nodes.shape == (len(weights), dimensions) and weights.sum() == pytest.approx(1.0)
    # 512 points of a sequence in more than two dimensions: means of z and z² to some thousandths
    np.testing.assert_allclose(weights @ nodes, 0.0, atol=0.01)
    np.testing.assert_allclose(np.einsum("m,ma,mb->ab", weights, nodes, nodes), np.eye(dimensions), atol=0.06)


def test_tables_have_rows_by_category(post):
    columns = ["Intercept", "x"]
    labels = [f"mu_{category}_{column}" for category in LEVELS[1:] for column in columns]
    assert list(post.fixef().index) == labels == list(post.vcov().index)
    assert post.tidy("fixed")["term"].tolist() == labels
    assert set(post.ranef()["group"]) == {"mu_car_g", "mu_very good_g"} == set(post.var_corr())
    assert post.coef()["group"].nunique() == 2 and post.ngroups == {"g": J}
    level = post.coef().set_index(["group", "level", "term"]).loc[("mu_car_g", 3, "Intercept"), "mean"]
    by_hand = post.draws("beta_mu_car")[..., 0] + post.draws("b_mu_car_g")[:, :, 3, 0]
    assert level == pytest.approx(float(by_hand.mean()))
    sds = post.variance_components().query("quantity == 'sd'")
    assert sds["mean"].tolist() == pytest.approx([float(post.draws(f"sd_mu_{c}_g").mean()) for c in LEVELS[1:]])
    assert "mu_car_x" in str(post.summary()) and "against bus" in str(post.summary())
    assert list(post.augment().columns[-3:]) == [f"_p[{level}]" for level in LEVELS]


def test_fits_of_imputed_tables_have_rows_by_category(data, post):
    from bayeslmm.results.imputed import Imputed

    both = Imputed(fits=(post, from_priors(made(data.assign(x=data.x + 0.1)))))
    assert list(both.fixef().index) == list(post.fixef().index) == list(both.vcov().index)
    renamed = from_priors(made(data.assign(way=data.way.replace("car", "cab"))))
    with pytest.raises(InputError, match="mu_cab_x, mu_car_Intercept"):
        Imputed(fits=(post, renamed))


def test_data_sets_have_the_categories_of_the_data(data, post):
    drawn = post.simulate(4, random_seed=1)
    assert list(drawn["sim_1"].cat.categories) == list(LEVELS) and not drawn["sim_1"].cat.ordered
    again = made(data.assign(way=drawn["sim_2"]))
    assert again.design.levels == LEVELS


def test_effects_are_on_probabilities_and_add_up_to_nothing(data, post):
    table = post.comparisons("x", groups="observed")
    assert table["category"].tolist() == list(LEVELS)
    assert table["estimate"].sum() == pytest.approx(0.0, abs=1e-12)
    up, at = (special.softmax(predictors(post, data.assign(x=data.x + k)), axis=-1).mean(axis=1) for k in (1.0, 0.0))
    np.testing.assert_allclose(table["estimate"], (up - at).mean(axis=0), rtol=1e-9)
    odds = post.comparisons("x", parameter="mu_car")["estimate"]
    assert odds[0] == pytest.approx(float(post.draws("beta_mu_car")[..., 1].mean()))


def test_checks_of_shares_and_of_rows(data, post):
    shares = blm.ppc(post, random_seed=1).table
    assert shares["stat"].tolist() == [f"share[{level}]" for level in LEVELS]
    np.testing.assert_allclose(shares["observed"], data.way.value_counts(normalize=True)[list(LEVELS)], rtol=1e-12)
    assert blm.ppc(made(data), random_seed=1).table["observed"].tolist() == shares["observed"].tolist()
    check = blm.check(post, progressbar=False)
    assert check["levels"].level == "look" and check["random effects"].level == "none"
    with pytest.warns(blm.errors.SamplingWarning, match="Pareto k"):  # of six draws
        assert np.isfinite(post.loo(conditional=True, refit=False).elpd)
    audit = made(data).prior_audit(draws=50).table
    assert set(audit["quantity"]) >= {"sd", "mu_car_x", "share[bus]"} and "response" not in set(audit["quantity"])


def test_pictures_of_effects_are_of_every_category(post):
    figure = blm.plot_ranef_normality(post, group="mu_car_g")
    assert len(figure.axes) == 2  # density and QQ plot of one term
    assert len(blm.plot_ranef_normality(post).axes) == 4


def test_folds_spread_the_rows_of_every_group(data):
    from bayeslmm.model_comparison.kfold import deal

    folds = deal(made(data).design, "observation", 5, np.random.default_rng(1))
    assert (pd.crosstab(data.g, folds) == 5).all(axis=None)  # 25 rows a group


def test_words_and_equations_name_the_categories(data):
    m = made(data)
    explained = " ".join(str(m.explain()).split())
    assert "its log odds against bus" in explained and "g has 8 levels" in explained
    equations = m.equations()
    assert "μ_i[car]" in str(equations) and "η_i" not in str(equations)
    assert str(m).splitlines()[3] == "Fixed: Intercept, x of each of car, very good: log odds against bus"


def texts(data, labels):
    """All that is printed of a model and of a posterior, where the categories are called so."""
    m = made(data.assign(way=data.way.map(dict(zip(LEVELS, labels, strict=True)))))
    post = from_priors(m)
    yield from (m, m.explain(), m.equations(), m.prior_audit(draws=20), m.priors.table())
    yield from (post.fixef(), post.ranef(), post.ranef(wide=True), post.coef(), post.var_corr(), post.tidy())
    yield from (post.predict(data.head(3)), post.augment().drop(columns="way"), post.comparisons("x"))
    yield from (post.summary().to_markdown(), post.summary().to_latex())
    yield str(post.summary()).partition("Seconds")[0]


def test_a_line_break_in_a_category_tears_no_line(data):
    """All that is printed is the same as with a space."""
    labels = ("bus", "a{}car", "very{0}good")
    torn, whole = (texts(data, [label.format(sign) for label in labels]) for sign in ("\n", " "))
    for one, other in zip(torn, whole, strict=True):
        assert str(one) == str(other)
    assert "Response: '', " in str(from_priors(made(data.assign(way=data.way.replace("bus", "")))).summary())


def test_levels_that_are_not_known_are_told_once(data, post):
    with pytest.raises(blm.errors.UnseenLevelError) as refusal:
        post.predict(data.head(2).assign(g=99))
    assert str(refusal.value).startswith("newdata has 2 rows that belong to no g of the fit (99). Say what")
    assert "predict(newdata, groups={'g': 'observed_or_new'})" in str(refusal.value)
    post.predict(data.head(2).assign(g=99), groups={"g": "observed_or_new"})


@pytest.mark.parametrize("key", [("sd", "g"), ("sd", "mu_bus_g"), ("sd", "g", "Intercept")])
def test_sds_that_cannot_be_fixed_are_named(data, key):
    with pytest.raises(blm.errors.PriorError, match=r"not fixed by a number: \('sd', 'mu_car_g', 'Intercept'\)"):
        made(data, priors={key: 0})


def test_a_saved_fit_is_the_same(data, post, tmp_path):
    blm.save(post, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    assert again.design.levels == LEVELS and again.design.family == post.design.family
    np.testing.assert_array_equal(again.predict(draws=True), post.predict(draws=True))


# -- priors


def test_priors_go_by_category_or_for_all(data):
    one, two, three = (blm.Prior("Normal", mu=0, sigma=s) for s in (1, 2, 3))
    half = blm.Prior("HalfNormal", sigma=1)
    m = made(data, priors={"mu_car_x": one, "x": two, "Intercept": three, ("sd", "g"): half})
    given = {entry.label: entry.prior for entry in m.priors.entries}
    assert given["mu_car_x"] == one and given["mu_very good_x"] == two
    assert given["mu_car_Intercept"] == given["mu_very good_Intercept"] == three
    assert given["sd(Intercept | mu_car_g)"] == given["sd(Intercept | mu_very good_g)"] == half
    with pytest.raises(PriorError, match="flat prior is not offered"):
        made(data, priors={"x": blm.flat()})
    with pytest.raises(PriorError, match="matches the prior key 'z'"):
        made(data, priors={"z": one})


# -- responses


def test_categories_and_columns_that_give_one_name_are_refused(data):
    """``mu_b_c_x`` would be x of the category ``b_c``, and c_x of ``b``."""
    joined = data.assign(way=data.way.map(dict(zip(LEVELS, ("a", "b", "b_c"), strict=True))), c_x=data.x**2, c_g=data.g)
    with pytest.raises(DataError, match="called 'mu_b_c_x'"):
        made(joined, "way ~ x + c_x")
    with pytest.raises(DataError, match="called 'mu_b_c_g'"):
        made(joined, "way ~ x + (1 | g) + (1 | c_g)")


def test_declared_categories_without_rows_stay(data, tmp_path):
    d = data.assign(way=pd.Categorical(data.way, categories=[*LEVELS, "rail"]))
    m = made(d)
    assert m.design.levels == (*LEVELS, "rail")
    post = from_priors(m)
    assert post.predict(d.head(2), draws=True).shape[-1] == 4
    blm.save(post, tmp_path / "fit.nc")
    assert blm.load(tmp_path / "fit.nc").design.levels == (*LEVELS, "rail")
    with pytest.raises(DataError, match="no row in 'rail', its first category"):
        made(data.assign(way=pd.Categorical(data.way, categories=["rail", *LEVELS])))


@pytest.mark.parametrize(
    ("codes", "levels"), [((3, 1, 7), (1, 3, 7)), ((True, False, False), (0, 1)), (("b", "a", "c"), ("a", "b", "c"))]
)
def test_categories_are_whole_numbers_or_text(data, codes, levels):
    m = made(data.assign(way=data.way.map(dict(zip(LEVELS, codes, strict=True)))))
    assert m.design.levels == levels


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"way": "bus"}, DataError, "'bus' in all rows"),
        ({"way": 0.5}, DataError, "categories, text or whole numbers"),
        ({"way": range(25 * J)}, DataError, "200 categories"),
        ({"way": np.arange(25 * J) % 3 + 2**53}, DataError, "categories would merge"),
    ],
)
def test_other_responses_are_refused(data, changed, error, match):
    with pytest.raises(error, match=match):
        made(data.assign(**changed))


@pytest.mark.parametrize(
    ("formula", "options", "error", "match"),
    [
        ("way ~ x + offset(x)", {}, NotAvailableError, "an offset with family='categorical'"),
        ("way ~ x", {"offset": "x"}, NotAvailableError, "an offset with family='categorical'"),
        ("way ~ 0 + (1 | g)", {}, FormulaError, "without a fixed term"),
        ("way ~ x + (1 | mm(g, w))", {}, NotAvailableError, "levels are independent"),
        ("way ~ x", {"zi": "~ x"}, InputError, "has no zi"),
        ("way ~ x", {"weights": "w"}, NotAvailableError, "y | weights"),
        ("way ~ x", {"link": "probit"}, InputError, "links of categorical are logit"),
    ],
)
def test_other_models_are_refused(data, formula, options, error, match):
    with pytest.raises(error, match=match):
        made(data, formula, **options)


@pytest.mark.parametrize(
    "verb",
    [
        lambda m, post: m.fit_ml().residuals(),
        lambda m, post: m.fit_ml().comparisons("x"),
        lambda m, post: m.fit_ml().predict(interval="plug-in"),
        lambda m, post: m.fit_ml().predict(interval="simulated"),
        lambda m, post: m.fit_ml().predict(kind="link"),
        lambda m, post: m.fit_ml().predict(parameter="mu_car"),
        lambda m, post: m.fit_ml().icc(),
        lambda m, post: m.fit_ml().profile(),
        lambda m, post: m.fit_ml(nAGQ=9),
        lambda m, post: blm.drop1(m.fit_ml()),
        lambda m, post: blm.ranova(m.fit_ml()),
        lambda m, post: blm.anova(m.fit_ml()),
        lambda m, post: blm.compare_pooling(m),
        lambda m, post: blm.complete_pooling(m),
        lambda m, post: blm.no_pooling(m),
        lambda m, post: blm.assume(m, beta={"x": 1.0}),
        lambda m, post: post.icc(),
        lambda m, post: post.r2(),
        lambda m, post: post.bayes_r2(),
        lambda m, post: post.within_correlation({"x": [0.0]}),
        lambda m, post: post.means("x"),
        lambda m, post: post.residuals(),
        lambda m, post: post.loo(),
        lambda m, post: post.loo(unit="g"),
        lambda m, post: blm.kfold(post, unit="g"),
        lambda m, post: post.predict(kind="response"),
        lambda m, post: post.predict(shares=True),
        lambda m, post: blm.ppc(post, stat="mean"),
        lambda m, post: blm.plot_coef(post),
        lambda m, post: blm.plot_variance(post),
        lambda m, post: blm.plot_lines(post),
    ],
)
def test_what_has_no_answer_says_why(data, post, verb):
    with pytest.raises(NotAvailableError, match=r"categor"):
        verb(made(data), post)


def test_an_effect_of_every_row_is_refused_as_it_is_of_two_categories(data):
    d = data.assign(row=range(len(data)), two=data.way == "car")
    for response, family in (("way", "categorical"), ("two", "bernoulli")):
        with pytest.raises(UnidentifiedTermError, match="row"):
            blm.Model(f"{response} ~ x + (1 | row)", d, family=family)


def test_likelihood_weights_slopes_and_smooths_join_every_predictor(data):
    m = made(data, "way | weights(w) ~ s(x, k=5) + (x | g)")
    post = from_priors(m, 3)
    plain = from_priors(made(data, "way ~ s(x, k=5) + (x | g)"), 3)
    ratio = (log_likelihood(m.design, post.idata.posterior) / log_likelihood(plain.design, post.idata.posterior))["y"]
    np.testing.assert_allclose(ratio.to_numpy()[0, 0], data.w, rtol=1e-9)
    assert set(post.var_corr()) == {f"mu_{c}_{term}" for c in LEVELS[1:] for term in ("g", "s(x)")}
    with pytest.raises(NotAvailableError, match="parameter='mu_car'"):
        post.smooth()
    assert np.isfinite(post.predict(blm.grid(post, "x"), parameter="mu_car", groups="average")["mean"]).all()


def test_sds_of_zero_are_told_beside_the_posterior(data, post):
    shuffled = data.assign(g=np.random.default_rng(2).permutation(data.g.to_numpy()))
    with pytest.warns(blm.errors.BayesLMMWarning):
        fit = made(shuffled).fit_ml()
    assert fit.is_singular
    sentences = blm.compare_estimates(fit, from_priors(made(shuffled), 200)).boundary
    assert any("mu_" in sentence and "zero" in sentence for sentence in sentences)
