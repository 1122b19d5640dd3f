"""Every table has a row for every parameter, and no two of them by one name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.show import style

# short runs: labels are asked for, not numbers
pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")

KEYS = ["effect", "group", "term"]
FORMULAS = (
    "x + (1 | g/h)",
    "x + (x | g/h)",
    "x + (x || g/h)",
    "x + (1 | g) + (0 + x | g)",
    "x + (1 | g) + (1 | h)",
    "x + (x | g) + (x | h)",
    "x + (1 | g) + (0 + x | g) + (1 | h)",
    "x * f + (f | g)",
    "x + (f || g)",
    "x + (0 + f | g) + (1 | h)",
    "x + (1 | g/h/b)",
    "x:z + `a:b` + (x | g) + (1 | g:h)",
    "f * b + (1 | g) + (1 | g:b)",
)
WORDS = ("fixed", "residual", "adjusted", "unadjusted", "total", "conditional")


def table_of():
    rng, i = np.random.default_rng(2), np.arange(144)
    data = pd.DataFrame({"g": np.array(list("ABCDEF"))[i % 6], "h": np.array(list("uvwx"))[(i // 6) % 4]})
    data["x"], data["z"], data["f"] = (
        rng.normal(size=144),
        rng.normal(size=144),
        rng.permutation(np.repeat(list("pqr"), 48)),
    )
    data["b"], data["a:b"] = np.array(list("kl"))[(i // 24) % 2], rng.normal(size=144)
    data["y"] = data["x"] + rng.normal(size=6)[i % 6] * (1.0 + 0.6 * data["x"]) + rng.normal(size=4)[(i // 6) % 4]
    data["y"] += 0.7 * rng.normal(size=24)[i % 24] + rng.normal(size=144)
    return data


def labels(table, columns):
    return pd.MultiIndex.from_frame(table.reset_index()[columns].fillna(""))


def unique(index, count=None):
    assert index.is_unique, index[index.duplicated()].tolist()
    assert count is None or len(index) == count


@pytest.mark.parametrize("right", FORMULAS)
def test_tables_of_a_point_fit(right):
    fit = blm.lmer(f"y ~ {right}", table_of())
    design, p = fit.design, fit.n_parameters
    levels = sum(g.n_levels for g in design.groups)
    effects = sum(g.n_levels * g.q for g in design.groups)
    unique(fit.fixef().index, len(design.x_names))
    unique(labels(fit.tidy(), KEYS), p)
    unique(pd.Index(style.parameter_names(design, fit.tidy().fillna({"group": ""}))), p)
    unique(labels(fit.ranef(), ["group", "level", "term"]), effects)
    unique(labels(fit.coef(), ["group", "level", "term"]))
    unique(fit.ranef(wide=True).index, levels)
    unique(labels(fit.variance_components(), ["group", "term", "quantity"]))
    assert len(fit.var_corr()) == len(design.groups)
    unique(fit.icc().index)
    unique(blm.drop1(fit).table.index)
    table = blm.model_table(fit).table
    unique(table.index)
    assert len(table.loc["Fixed effects"]) == len(design.x_names)
    assert len(table.loc["Random part"]) == p - len(design.x_names)
    unique(fit.bootstrap(2, random_seed=1, cores=1, progressbar=False).columns, p)
    shares = fit.predict(interval="plug-in", shares=True).filter(like="share_")
    unique(shares.columns, 2 + len(design.groups))


@pytest.mark.parametrize("right", FORMULAS)
def test_every_random_term_is_dropped_once(right):
    """What is dropped has as many parameters as the model has more than the rest, and no row is lost."""
    fit = blm.lmer(f"y ~ {right}", table_of())
    table = blm.ranova(fit).table
    unique(table.index)
    blocks = [(g, block) for g in fit.design.groups for block in g.blocks]
    assert len(table) - 1 >= len(blocks)
    assert (table["df"].iloc[1:] >= 1).all()
    named = [g.name for g, _ in blocks]
    assert all(
        any(f"| {name})" in label or f"|{name})" in label or "||" in label for label in table.index) for name in named
    )


@pytest.mark.parametrize("right", FORMULAS[:6])
def test_tables_of_a_posterior(right):
    model = blm.Model(f"y ~ {right}", table_of())
    fit, post = model.fit_reml(), model.fit(draws=60, tune=60, chains=2, random_seed=1, progressbar=False)
    p = fit.n_parameters
    unique(labels(post.tidy(), KEYS), p)
    unique(labels(post.confint(), KEYS), p)
    compared = blm.compare_estimates(fit, post).table
    unique(compared.index, p)
    unique(pd.Index(compared["parameter"]), p)
    unique(blm.model_table(fit, post, loo=False).table.index)
    unique(labels(post.ranef(), ["group", "level", "term"]), sum(g.n_levels * g.q for g in post.design.groups))
    unique(labels(post.prior_influence(), KEYS))


@pytest.mark.parametrize("word", WORDS)
def test_a_factor_by_a_word_of_a_table_has_its_own_row(word):
    """A factor called "adjusted" overwrote the ICC of all factors together."""
    data = table_of()
    plain = blm.lmer("y ~ x + (1 | g) + (1 | h)", data)
    fit = blm.lmer(f"y ~ x + (1 | {word}) + (1 | h)", data.rename(columns={"g": word}))
    icc = fit.icc()
    unique(icc.index, len(plain.icc()))
    np.testing.assert_allclose(icc["estimate"], plain.icc()["estimate"], rtol=1e-8)
    ask = {"interval": "plug-in", "shares": True}
    shares, expected = (one.predict(**ask).filter(like="share_") for one in (fit, plain))
    unique(shares.columns)
    np.testing.assert_allclose(shares, expected, rtol=1e-6, atol=1e-9)
    at = fit.icc(at={"x": [0.0]})
    assert at["icc"].is_unique and len(at) == 3
