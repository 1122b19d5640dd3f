"""Four threads that fit at once get what each would get alone."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import threadpoolctl

import bayeslmm as blm

pytestmark = pytest.mark.filterwarnings("ignore")  # few draws are in doubt


def few(**options):
    return {"draws": 100, "chains": 2, "progressbar": False} | options


def sleep():
    return blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


def counts():
    data = blm.load_dataset("cbpp")
    return blm.Model("p(incidence, size) ~ period + (1 | herd)", data, family="binomial")


def crossed():
    return blm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"))


JOBS = {
    "REML": lambda: sleep().fit_reml().tidy(),
    "REML, crossed": lambda: crossed().fit_reml().ranef(),
    "posterior": lambda: sleep().fit(**few(random_seed=1)).draws("b_Subject"),
    "posterior, other seed": lambda: sleep().fit(**few(random_seed=2)).draws("b_Subject"),
    "posterior, crossed": lambda: crossed().fit(**few(random_seed=3)).draws("b_plate"),
    "NUTS": lambda: counts().fit(**few(tune=100, random_seed=1)).draws("beta"),
    "predictions": lambda: sleep().fit(**few(random_seed=4)).predict(kind="response", random_seed=5),
    "leaving out": lambda: sleep().fit(**few(random_seed=4)).loo().elpd_i.to_numpy(),
    "bootstrap": lambda: sleep().fit_reml().bootstrap(4, random_seed=1, cores=1, progressbar=False),
    "profile": lambda: sleep().fit_ml().confint(method="profile"),
}


def plain(found):
    return found.to_dict() if isinstance(found, pd.DataFrame) else found


def test_threads_disturb_neither_each_other_nor_the_session():
    alone = {name: plain(job()) for name, job in JOBS.items()}
    filters, threads = list(warnings.filters), threading.active_count()
    blas = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    names = np.random.default_rng(1).permutation(list(JOBS) * 3)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: plain(JOBS[name]()), names))
    for name, result in zip(names, found, strict=True):
        np.testing.assert_equal(result, alone[name], err_msg=name)
    assert warnings.filters == filters and threading.active_count() <= threads  # those of others may end
    assert [pool["num_threads"] for pool in threadpoolctl.threadpool_info()] == blas


def test_a_fit_is_shared_by_threads():
    """What a fit computes once and keeps, such as its own draws of effects, is asked for by all at the same time."""
    post, reml = sleep().fit(**few(random_seed=1)), sleep().fit_reml()
    other, point = sleep().fit(**few(random_seed=1)), sleep().fit_reml()
    asked = [post.ranef, reml.ranef, post.icc, reml.fixef, post.loo, reml.summary, post.tidy, reml.r2] * 3
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda ask: str(ask()), asked))
    by_one = [other.ranef, point.ranef, other.icc, point.fixef, other.loo, point.summary, other.tidy, point.r2]
    assert found == [str(ask()) for ask in by_one] * 3
