"""Tables, arrays and numbers where a word is wanted: an error of ours, not one about the truth of a table."""

import warnings

import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm import errors

TABLE = blm.load_dataset("sleepstudy")
STRANGE = {"a table": TABLE, "an array": np.arange(3), "a number": 3, "a list": ["x", "y"], "bytes": b"x"}


@pytest.fixture(scope="module")
def model():
    return blm.Model("Reaction ~ Days + (Days | Subject)", TABLE)


@pytest.fixture(scope="module")
def reml(model):
    return model.fit_reml()


@pytest.fixture(scope="module")
def post(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.SamplingWarning)
        return model.fit(random_seed=1, draws=50, progressbar=False)


ASKED = {
    "family": lambda model, reml, post, odd: blm.Model("Reaction ~ 1 + (1 | Subject)", TABLE, family=odd),
    "link": lambda model, reml, post, odd: blm.Model("Reaction ~ 1 + (1 | Subject)", TABLE, link=odd),
    "method of fit": lambda model, reml, post, odd: model.fit(method=odd),
    "sampler": lambda model, reml, post, odd: model.fit(nuts_sampler=odd),
    "kind of predictions": lambda model, reml, post, odd: post.predict(kind=odd),
    "groups of predictions": lambda model, reml, post, odd: reml.predict(groups=odd),
    "one factor's groups": lambda model, reml, post, odd: post.predict(groups={"Subject": odd}),
    "kind of residuals": lambda model, reml, post, odd: reml.residuals(odd),
    "kind of mean residuals": lambda model, reml, post, odd: post.residuals(odd),
    "unit to leave out": lambda model, reml, post, odd: post.loo(odd),
    "unit of folds": lambda model, reml, post, odd: blm.kfold(post, unit=odd),
    "method of intervals": lambda model, reml, post, odd: reml.confint(method=odd),
    "degrees of freedom": lambda model, reml, post, odd: reml.summary(ddf=odd),
    "kind of intervals": lambda model, reml, post, odd: post.summary(ci_kind=odd),
    "group to rank": lambda model, reml, post, odd: post.rank_groups(odd),
    "group to pool": lambda model, reml, post, odd: blm.compare_pooling(model, odd),
    "draws of": lambda model, reml, post, odd: post.draws(odd),
    "effects": lambda model, reml, post, odd: reml.tidy(effects=[odd]),
    "variable of a grid": lambda model, reml, post, odd: blm.grid(post, odd),
    "kind of picture": lambda model, reml, post, odd: blm.plot_ppc(post, kind=odd),
    "estimates": lambda model, reml, post, odd: blm.compare_estimates(reml, post, method=odd),
    "path to save": lambda model, reml, post, odd: blm.save(post, odd),
    "path of a report": lambda model, reml, post, odd: blm.report(post, odd),
}


@pytest.mark.parametrize("odd", STRANGE)
@pytest.mark.parametrize("name", ASKED)
def test_what_is_no_word_is_refused(name, odd, model, reml, post):
    with pytest.raises(errors.BayesLMMError) as caught:
        ASKED[name](model, reml, post, STRANGE[odd])
    assert "ambiguous" not in str(caught.value) and "unhashable" not in str(caught.value)


def test_a_grid_has_levels_that_there_are():
    chicks = blm.lmer("weight ~ Time + Diet + (1 | Chick)", blm.load_dataset("chickweight"))
    with pytest.raises(errors.InputError, match="Diet has no level 'zz'; it has '1', '2', '3', '4'"):
        blm.grid(chicks, Diet="zz")
    assert len(blm.grid(chicks, Diet=["1", "3"], Time=[0, 10])) == 4
