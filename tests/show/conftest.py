"""Fits that several pictures are drawn of, each made once."""

import warnings
from functools import cache

import matplotlib
import pytest

import bayeslmm as blm

matplotlib.use("Agg")  # ArviZ draws with pyplot

MODELS = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "hsb": "mathach ~ ses + (ses | school)",
    "science": "like ~ sex + PrivPub + (1 | school/class)",
    "penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    "chickweight": "weight ~ Time + (0 + Time | Chick)",
    "cbpp": "p(incidence, size) ~ period + (1 | herd)",
}


@cache
def model_of(name):
    family = {"family": "binomial"} if name == "cbpp" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.DroppedRowsWarning)
        return blm.Model(MODELS[name], blm.load_dataset(name), **family)


@cache
def point_of(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SingularFitWarning)  # science: no variance between schools
        return model_of(name).fit_reml()


@cache
def post_of(name):
    return model_of(name).fit(random_seed=1)


@pytest.fixture(scope="session")
def model():
    return model_of


@pytest.fixture(scope="session")
def point():
    return point_of


@pytest.fixture(scope="session")
def post():
    return post_of
