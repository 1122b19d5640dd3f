"""What must hold of relationship matrices, multi-memberships and smooths whatever the data."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import linalg, sparse

import bayeslmm as blm
from bayeslmm.terms.bases import MAKERS, make
from bayeslmm.terms.smooth import Curve
from bayeslmm.terms.words import Smooth

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")  # as random data may be
LEVELS = [f"l{k:02d}" for k in range(14)]


def related(seed=1):
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(14, 20))
    A = B @ B.T / 20 + 0.1 * np.eye(14)
    return pd.DataFrame(A, index=LEVELS, columns=LEVELS)


def table(seed=2, n=120):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "g": rng.choice(LEVELS[:11], n),
            "h": rng.choice(list("abcd"), n),
            "w": rng.uniform(0.5, 2.0, n),
            "t": rng.uniform(-1, 3, n),
        }
    )
    effect = dict(zip(LEVELS, linalg.cholesky(related(), lower=True) @ rng.normal(size=14), strict=True))
    data["y"] = (
        2
        + data.x * (1 + 0.5 * data.g.map(effect))
        + 3.0 * data.h.map(dict(a=0, b=1, c=-1, d=0.5))
        + 1.3 * data.g.map(effect)
        + np.sin(2 * data.t)
        + rng.normal(size=n)
    )
    return data


def dense_criterion(fit, V0, reml):
    """−2 log (restricted) likelihood at the estimates of a fit with V = σ² W⁻¹ + Σ, by dense matrices."""
    design, sigma = fit.design, fit.sigma
    w = np.ones(design.n) if design.weights is None else design.weights
    V = V0 + np.diag(sigma**2 / w)
    X, r = design.X, design.y - design.X @ fit.solution.beta
    Vi = np.linalg.inv(V)
    value = np.linalg.slogdet(V)[1] + r @ Vi @ r + (design.n - reml * design.p) * np.log(2 * np.pi)
    return value + (np.linalg.slogdet(X.T @ Vi @ X)[1] if reml else 0.0)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weights", [None, "w"])
def test_everything_together_is_the_dense_model(reml, weights):
    data, A = table(), related()
    model = blm.Model(
        "y ~ x + s(t, k=7) + (1 | gr(g, cov=A)) + (0 + x | gr(g, cov=A)) + (1 | mm(g, k)) + (1 | h)",
        data.assign(k=np.roll(data.g, 1)),
        matrices={"A": A},
        weights=weights,
    )
    fit = model.fit_reml() if reml else model.fit_ml()
    V, Zb, terms = np.zeros((len(data), len(data))), np.zeros(len(data)), {}
    for term, cov, modes in zip(fit.design.groups, fit.solution.covariances, fit.solution.modes, strict=True):
        if term.is_wide:
            Z = sparse.csr_array(term.matrix).toarray()
            K = np.eye(Z.shape[1]) if term.root is None else term.root @ term.root.T
        else:
            Z, K = np.eye(term.n_levels)[term.codes], np.eye(term.n_levels)
        V += cov[0, 0] * Z @ K @ Z.T
        terms[term.name] = (cov[0, 0] * K @ Z.T, modes[:, 0])
        Zb += Z @ modes[:, 0]
    assert fit.criterion == pytest.approx(dense_criterion(fit, V, reml), rel=1e-10)
    w = np.ones(len(data)) if weights is None else fit.design.weights
    residual = fit.design.y - fit.design.X @ fit.solution.beta
    Vy = np.linalg.solve(V + np.diag(fit.sigma**2 / w), residual)
    for C, modes in terms.values():
        np.testing.assert_allclose(modes, C @ Vy, atol=1e-8)
    np.testing.assert_allclose(fit.fitted(), fit.design.X @ fit.solution.beta + Zb, atol=1e-10)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("right", ["(x | gr(g, cov=A)) + (1 | h)", "(x + w | mm(g, k)) + (1 | gr(g, prec=A))"])
def test_several_effects_of_a_level_are_the_dense_model(reml, right):
    data = table().assign(k=lambda d: np.roll(d.g, 1))
    model = blm.Model(f"y ~ x + {right}", data, matrices={"A": related()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SingularFitWarning)
        fit = model.fit_reml() if reml else model.fit_ml()
    V, terms = np.zeros((len(data), len(data))), []
    for term, cov in zip(fit.design.groups, fit.solution.covariances, strict=True):
        Z = term.matrix.toarray() if term.is_wide else np.eye(term.n_levels)[term.codes]
        K = np.eye(term.n_levels) if not term.is_wide or term.root is None else term.root @ term.root.T
        terms.append(np.kron(K, cov) @ Z.T)
        V += Z @ terms[-1]
    assert fit.criterion == pytest.approx(dense_criterion(fit, V, reml), rel=1e-10)
    residual = fit.design.y - fit.design.X @ fit.solution.beta
    V += fit.sigma**2 * np.eye(len(data))
    inverse = np.linalg.inv(V)
    for C, modes, errors, cov, term in zip(
        terms,
        fit.solution.modes,
        fit.solution.mode_covariances,
        fit.solution.covariances,
        fit.design.groups,
        strict=True,
    ):
        np.testing.assert_allclose(modes.reshape(-1), C @ inverse @ residual, atol=1e-8)
        K = np.eye(term.n_levels) if not term.is_wide or term.root is None else term.root @ term.root.T
        given = np.kron(K, cov) - C @ inverse @ C.T
        J, q = term.n_levels, term.q
        own = given.reshape(J, q, J, q)[np.arange(J), :, np.arange(J)]
        np.testing.assert_allclose(errors, own, atol=1e-8 * np.abs(own).max())


def test_identity_is_the_ordinary_factor_with_slopes_too():
    data, rng = table(), np.random.default_rng(3)
    levels = sorted(data.g.unique())
    data["y"] += data.x * data.g.map(dict(zip(levels, rng.normal(size=len(levels)), strict=True)))
    one = blm.Model("y ~ x + (x | gr(g, cov=A))", data, matrices={"A": (levels, np.eye(len(levels)))}).fit_reml()
    other = blm.Model("y ~ x + (x | g)", data).fit_reml()
    assert one.criterion == pytest.approx(other.criterion, rel=1e-10)
    np.testing.assert_allclose(one.var_corr()["gr(g)"], other.var_corr()["g"], rtol=1e-4)
    np.testing.assert_allclose(one.solution.modes[0], other.solution.modes[0], atol=1e-5)
    alone = blm.Model("y ~ x + (x | mm(g, k))", data.assign(k=None)).fit_reml()
    assert alone.criterion == pytest.approx(other.criterion, rel=1e-10)
    for ddf in ("satterthwaite", "kenward-roger"):
        mine, theirs = (f.fixef(ddf=ddf) for f in (one, other))
        np.testing.assert_allclose(mine["df"], theirs["df"], rtol=1e-3)
        np.testing.assert_allclose(mine["std_error"], theirs["std_error"], rtol=1e-5)


def test_terms_of_fewer_effects_are_nested_in_those_of_more():
    data, A = table().assign(k=lambda d: np.roll(d.g, 1)), {"A": related()}
    pairs = [("(1 | gr(g, cov=A))", "(x | gr(g, cov=A))"), ("(1 | mm(g, k))", "(x | mm(g, k))")]
    for small, large in pairs:
        given = A if "gr" in small else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", blm.errors.SingularFitWarning)
            one, other = (blm.Model(f"y ~ x + {bar}", data, matrices=given).fit_reml() for bar in (small, large))
        tested = blm.anova(one, other).table.iloc[-1]
        assert tested["chisq"] == pytest.approx(one.criterion - other.criterion, abs=1e-8)
        assert tested["chisq"] >= -1e-8
        assert one.design.groups[0].is_same(other.design.groups[0])
        assert not other.design.groups[0].is_same(one.design.groups[0])


def test_identity_is_the_ordinary_factor():
    data = table()
    levels = sorted(data.g.unique())
    A = (levels, sparse.eye_array(len(levels)))
    one = blm.Model("y ~ x + (1 | gr(g, cov=A)) + (1 | h)", data, matrices={"A": A}).fit_reml()
    other = blm.Model("y ~ x + (1 | g) + (1 | h)", data).fit_reml()
    assert one.criterion == pytest.approx(other.criterion, rel=1e-10)
    np.testing.assert_allclose(one.solution.beta, other.solution.beta, rtol=1e-5)
    mine = one.ranef().query("group == 'gr(g)'").set_index("level").loc[levels]
    theirs = other.ranef().query("group == 'g'").set_index("level").loc[levels]
    np.testing.assert_allclose(mine["estimate"], theirs["estimate"], atol=1e-5)
    np.testing.assert_allclose(mine["std_error"], theirs["std_error"], rtol=1e-5)


def test_precision_is_its_inverse_as_covariance():
    data, A = table(), related()
    Q = pd.DataFrame(np.linalg.inv(A), index=LEVELS, columns=LEVELS)
    one = blm.Model("y ~ x + (1 | gr(g, prec=Q))", data, matrices={"Q": Q}).fit_reml()
    other = blm.Model("y ~ x + (1 | gr(g, cov=A))", data, matrices={"A": A}).fit_reml()
    assert one.criterion == pytest.approx(other.criterion, rel=1e-10)
    np.testing.assert_allclose(one.solution.modes[0], other.solution.modes[0], atol=1e-6)


def test_order_of_rows_and_levels_does_not_matter():
    data, A = table(), related()
    formula = "y ~ s(t) + (1 | gr(g, cov=A)) + (1 | h)"
    one = blm.Model(formula, data, matrices={"A": A}).fit_reml()
    mixed = LEVELS[::-1]
    other = blm.Model(formula, data.sample(frac=1, random_state=3), matrices={"A": A.loc[mixed, mixed]}).fit_reml()
    assert one.criterion == pytest.approx(other.criterion, rel=1e-10)
    mine, theirs = (f.ranef().set_index(["group", "level"])["estimate"] for f in (one, other))
    np.testing.assert_allclose(mine, theirs.loc[mine.index], atol=1e-6)


def test_same_member_twice_with_half_a_weight_each_is_the_ordinary_factor():
    data = table()
    one = blm.Model("y ~ x + (1 | mm(g, k))", data.assign(k=data.g)).fit_reml()
    other = blm.Model("y ~ x + (1 | g)", data).fit_reml()
    assert one.criterion == pytest.approx(other.criterion, rel=1e-10)
    np.testing.assert_allclose(one.solution.modes[0], other.solution.modes[0], atol=1e-6)


def test_an_empty_slot_counts_for_nothing():
    data = table()
    alone = blm.Model("y ~ x + (1 | mm(g, k))", data.assign(k=None)).fit_reml()
    other = blm.Model("y ~ x + (1 | g)", data).fit_reml()
    assert alone.criterion == pytest.approx(other.criterion, rel=1e-10)
    assert len(alone.fitted()) == len(data)


def test_weights_of_members_are_scaled_or_not():
    data = table().assign(k=lambda d: np.roll(d.g, 1), v=1.0)
    scaled = blm.Model("y ~ x + (1 | mm(g, k, weights=[v, v]))", data).fit_reml()
    plain = blm.Model("y ~ x + (1 | mm(g, k))", data).fit_reml()
    assert scaled.criterion == pytest.approx(plain.criterion, rel=1e-10)
    summed = blm.Model("y ~ x + (1 | mm(g, k, weights=[v, v], scale=False))", data).fit_reml()
    assert summed.criterion == pytest.approx(plain.criterion, rel=1e-10)  # the same model in other units
    assert summed.var_corr()["mm(g, k)"].iloc[0, 0] == pytest.approx(
        plain.var_corr()["mm(g, k)"].iloc[0, 0] / 4, rel=1e-4
    )


@pytest.mark.parametrize("name", MAKERS)
def test_penalty_is_that_of_its_basis(name):
    """∫f''² by differences on a fine grid; for P-splines the second differences of the coefficients."""
    x = np.random.default_rng(4).uniform(-1, 3, 80)
    basis = make(name, x, 8, "s(x)")
    delta = np.random.default_rng(5).normal(size=len(basis.penalty))
    if name == "ps":
        wanted = np.sum(np.diff(delta, n=2) ** 2)
    else:
        grid = np.linspace(x.min(), x.max(), 200_001)
        f = basis.columns(grid) @ delta
        h = grid[1] - grid[0]
        wanted = np.sum(np.diff(f, n=2) ** 2) / h**3
    assert delta @ basis.penalty @ delta == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("name", MAKERS)
def test_curves_sum_to_zero_and_have_unit_penalty(name):
    x = np.random.default_rng(6).uniform(0, 1, 50)
    curve = Curve.of(Smooth(x="x", group="", by="", k=8, basis=name), "s(x)", x)
    np.testing.assert_allclose(curve.columns(x).sum(axis=0), 0.0, atol=1e-8)
    T = curve.transform
    np.testing.assert_allclose(T.T @ curve.basis.penalty @ T, np.eye(T.shape[1]), atol=1e-7)


@pytest.mark.parametrize("name", ["tp", "cr", "ps"])
def test_curves_are_straight_beyond_the_data(name):
    x = np.random.default_rng(7).uniform(0, 1, 50)
    curve = Curve.of(Smooth(x="x", group="", by="", k=8, basis=name), "s(x)", x)
    beyond = curve.columns(np.array([1.5, 2.0, 2.5, -0.5, -1.0, -1.5]))
    for side in (beyond[:3], beyond[3:]):
        np.testing.assert_allclose(side[0] - 2 * side[1] + side[2], 0.0, atol=1e-9 * np.abs(beyond).max())


def test_cyclic_curves_go_round():
    x = np.random.default_rng(8).uniform(0, 1, 60)
    curve = Curve.of(Smooth(x="x", group="", by="", k=8, basis="cc"), "s(x)", x)
    low, high = x.min(), x.max()
    at = np.array([0.2, 0.5, 0.9])
    np.testing.assert_allclose(curve.columns(at + (high - low)), curve.columns(at), atol=1e-9)
    step = 1e-5
    ends = curve.columns(np.array([low, high, low + step, high - step]))
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-9)
    np.testing.assert_allclose(ends[2] - ends[0], ends[1] - ends[3], atol=1e-6)


def test_a_curve_of_a_line_is_the_line():
    """Where all bends are noise, the sd is zero and the fit is that of a straight line."""
    rng = np.random.default_rng(11)
    t = np.linspace(0, 1, 40)
    basis = Curve.of(Smooth(x="t", group="", by="", k=8, basis="tp"), "s(t)", t).columns(t)
    noise = rng.normal(size=40)
    noise -= basis @ np.linalg.lstsq(basis, noise, rcond=None)[0]  # no bend at all
    data = pd.DataFrame({"t": t, "y": 1 + 2 * t + noise})
    with pytest.warns(blm.errors.SingularFitWarning):
        curved = blm.Model("y ~ s(t, k=8)", data).fit_reml()
    line = blm.Model("y ~ t", data).fit_reml()
    np.testing.assert_allclose(curved.fitted(), line.fitted(), atol=1e-8)


def test_levels_without_rows_are_predicted_from_their_relatives():
    data, A = table(), related()
    fit = blm.Model("y ~ x + (1 | gr(g, cov=A))", data, matrices={"A": A}).fit_reml()
    table_ = fit.ranef().set_index("level")
    seen, unseen = sorted(data.g.unique()), LEVELS[11:]
    b = table_.loc[seen, "estimate"].to_numpy()
    wanted = A.loc[unseen, seen].to_numpy() @ np.linalg.solve(A.loc[seen, seen], b)
    np.testing.assert_allclose(table_.loc[unseen, "estimate"], wanted, atol=1e-8)
    rows = pd.DataFrame({"x": 0.0, "g": unseen})
    np.testing.assert_allclose(fit.predict(rows), fit.solution.beta[0] + wanted, atol=1e-8)


def test_an_unknown_level_is_refused_or_average():
    data, A = table(), related()
    fit = blm.Model("y ~ x + (1 | gr(g, cov=A))", data, matrices={"A": A}).fit_reml()
    rows = pd.DataFrame({"x": [0.0, 0.0], "g": ["l01", "nobody"]})
    with pytest.raises(blm.errors.UnseenLevelError, match="observed_or_average"):
        fit.predict(rows)
    told = fit.predict(rows, groups="observed_or_average")
    assert told.iloc[1] == pytest.approx(fit.solution.beta[0])
    with pytest.raises(blm.errors.NotAvailableError, match="predict has the others"):
        fit.comparisons("x", groups="population")


NEW = [  # formula, rows, the variance that the levels of each row have by formula, for known and for unknown ones
    ("(x | gr(g, cov=A))", {"g": ["l01", "nobody", "l13"]}),
    ("(1 | mm(g, k))", {"g": ["l01", "nobody", "else"], "k": ["nobody", None, "nobody"]}),
]


def new_variances(term, cov, rows, given):
    """Covariances (n, n) of what rows get from the known levels where these are new, and from the unknown ones."""
    z = np.column_stack([np.ones(len(rows)), rows.x])[:, : term.q]
    columns = list(given.values())
    labels = sorted({c for column in columns for c in column if c is not None and c not in term.levels})

    def members(levels):
        slots = list(zip(*columns, strict=True))
        counts = np.array([[row.count(level) for level in levels] for row in slots], float)
        return counts / np.array([[sum(c is not None for c in row)] for row in slots])

    K = np.eye(term.n_levels) if term.root is None else term.root @ term.root.T
    known, unknown = members(term.levels), members(labels)
    inner = z @ cov @ z.T
    return known @ K @ known.T * inner, unknown @ unknown.T * inner


@pytest.mark.parametrize(("bar", "given"), NEW)
def test_new_levels_are_related_to_none(bar, given):
    data = table().assign(k=lambda d: np.roll(d.g, 1))
    model = blm.Model(f"y ~ x + {bar}", data, matrices={"A": related()} if "cov=" in bar else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SingularFitWarning)
        fit = model.fit_reml()
    rows = pd.DataFrame({"x": [0.5, 2.0, -1.0], **given})
    anew, others = new_variances(fit.design.groups[0], fit.solution.covariances[0], rows, given)
    at = {t: fit.predict(rows, interval="plug-in", groups=t) for t in ("observed_or_new", "observed_or_average")}
    told = at["observed_or_new"]["std_error"] ** 2 - at["observed_or_average"]["std_error"] ** 2
    np.testing.assert_allclose(told, np.diag(others), atol=1e-10)
    np.testing.assert_allclose(*(each["estimate"] for each in at.values()))
    at = {t: fit.predict(rows, interval="plug-in", groups=t) for t in ("new", "average")}
    told = at["new"]["std_error"] ** 2 - at["average"]["std_error"] ** 2
    np.testing.assert_allclose(told, np.diag(anew + others), atol=1e-10)
    whole = fit.predict(rows, interval="plug-in", groups="population", kind="response")["std_error"] ** 2
    part = fit.predict(rows, interval="plug-in", groups="average", kind="response")["std_error"] ** 2
    np.testing.assert_allclose(whole - part, np.diag(anew + others), atol=1e-10)
    names = fit.predict(rows, interval="plug-in", groups="observed_or_new")
    assert "new" in names.filter(like="target_").to_numpy()


@pytest.mark.parametrize(("bar", "given"), NEW)
def test_draws_of_new_levels_share_their_labels(bar, given):
    data = table().assign(k=lambda d: np.roll(d.g, 1))
    model = blm.Model(f"y ~ x + {bar}", data, matrices={"A": related()} if "cov=" in bar else None)
    post = model.fit(draws=1000, random_seed=1, progressbar=False)
    rows = pd.DataFrame({"x": [0.5, 2.0, -1.0], **given})
    known, anew = (
        np.asarray(post.predict(rows, groups=t, draws=True)).reshape(4000, -1)
        for t in ("observed_or_average", "observed_or_new")
    )
    again = post.predict(rows, groups="observed_or_population", draws=True)
    np.testing.assert_allclose(np.asarray(again).reshape(4000, -1), known, atol=1e-12)  # a linear mean has no bend
    cov = post.values.covariances[0].reshape(4000, *2 * (post.design.groups[0].q,)).mean(axis=0)
    _, others = new_variances(post.design.groups[0], cov, rows, given)
    drawn = np.cov((anew - known).T)
    # 4,000 draws whose scale varies: a variance is known to some 5 %
    np.testing.assert_allclose(drawn, others, atol=0.2 * np.diag(others).max())


def test_beyond_the_data_is_said_to_be_extrapolation():
    data = table()
    fit = blm.Model("y ~ s(t)", data).fit_reml()
    with pytest.warns(blm.errors.ExtrapolationWarning, match="2 rows lie beyond"):
        fit.predict(pd.DataFrame({"t": [-5.0, 0.0, 9.0]}))


def test_plug_in_errors_are_the_dense_ones():
    data, A = table(), related()
    fit = blm.Model("y ~ x + s(t, k=6) + (1 | gr(g, cov=A))", data, matrices={"A": A}).fit_reml()
    told = fit.predict(data.head(10), interval="plug-in")
    columns, spread = [fit.design.X], [np.zeros((fit.design.p, fit.design.p))]
    for term, cov in zip(fit.design.groups, fit.solution.covariances, strict=True):
        Z = sparse.csr_array(term.matrix).toarray()
        K = np.eye(Z.shape[1]) if term.root is None else term.root @ term.root.T
        columns.append(Z)
        spread.append(np.linalg.inv(cov[0, 0] * K))  # Henderson's equations
    C = np.hstack(columns)
    V = np.linalg.inv(C.T @ C / fit.sigma**2 + linalg.block_diag(*spread))
    wanted = np.sqrt(np.einsum("na,ab,nb->n", C[:10], V, C[:10]))
    np.testing.assert_allclose(told["std_error"], wanted, rtol=1e-6)
