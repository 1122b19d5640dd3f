"""Borderline draws are drawn longer and thinned; draws that are clean, or bad, are left as they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.signal import lfilter
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results import extension
from bayeslmm.results.diagnosis import diagnose_draws, judge, narrowly_missed, too_slow
from bayeslmm.results.extension import LONGER, settled, thinned
from bayeslmm.results.settings import Settings

DESIGN = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).design
NAMES = DESIGN.names


def chains(rng, rho, *, m=4, n=1000, k=1, apart=0.0, **stats):
    """Autoregressive chains of k variables, one of which may be apart from the others."""
    e = rng.normal(size=(m, n, k))
    e[:, 0] /= np.sqrt(1.0 - rho**2)
    x = lfilter([1.0], [1.0, -rho], e, axis=1) * np.sqrt(1.0 - rho**2)
    x[0] += apart
    posterior = xr.Dataset({"beta": (("chain", "draw", "coef"), x)}, coords={"chain": range(m), "draw": range(n)})
    sample_stats = xr.Dataset({name: (("chain", "draw"), v) for name, v in stats.items()})
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": sample_stats})


def counted(rho, **how):
    """A sampler, and the numbers of draws that it was asked for."""
    asked = []

    def sample(settings):
        asked.append(settings.draws)
        return chains(fixed_rng(settings.random_seed), rho, n=settings.draws, **how)

    return sample, asked


def test_clean_draws_are_what_the_sampler_gave():
    sample, asked = counted(0.0)
    tree, found = settled(sample, DESIGN, Settings(random_seed=1))
    assert asked == [1000] and found.converged and "times as many" not in str(found)
    assert tree.identical(sample(Settings(random_seed=1)))


def test_draws_that_miss_a_limit_narrowly_are_drawn_longer():
    """An effective size of about 330 where 400 are wanted: its standard error is 50."""
    sample, asked = counted(0.845)
    tree, found = settled(sample, DESIGN, Settings(random_seed=1))
    assert asked == [1000, 4000]
    assert tree.posterior.sizes["draw"] == 1000 and tree.posterior["draw"].to_numpy().tolist() == list(range(1000))
    longer = sample(Settings(random_seed=1, draws=4000))
    np.testing.assert_array_equal(tree.posterior["beta"], longer.posterior["beta"][:, LONGER - 1 :: LONGER])
    assert found.converged and "4 times as many draws, thinned, since" in str(found)
    again, _ = settled(sample, DESIGN, Settings(random_seed=1))
    assert again.posterior.identical(tree.posterior)


@pytest.mark.parametrize("how", [{"rho": 0.0, "apart": 1.0}, {"rho": 0.996}, {"rho": 0.3, "apart": 4.0}])
def test_draws_that_are_bad_are_not(how):
    sample, asked = counted(**how)
    _, found = settled(sample, DESIGN, Settings(random_seed=1))
    assert asked == [1000] and not found.converged


def test_divergences_are_no_matter_of_chance(monkeypatch):
    rng = np.random.default_rng(1)
    diverging = np.zeros((4, 1000), dtype=bool)
    tree = chains(rng, 0.845, diverging=diverging)
    assert narrowly_missed(tree, judge(tree, NAMES), NAMES)
    diverging[1, 7] = True
    tree = chains(rng, 0.845, diverging=diverging)
    assert not narrowly_missed(tree, judge(tree, NAMES), NAMES)


def test_nothing_that_happened_between_two_draws_that_are_kept_is_lost():
    diverging = np.zeros((2, 40), dtype=bool)
    diverging[1, 9] = True  # the third of four steps to the third draw
    energy = np.arange(80.0).reshape(2, 40)
    thin = thinned(chains(np.random.default_rng(1), 0.5, m=2, n=40, diverging=diverging, energy=energy), 4)
    assert np.argwhere(thin.sample_stats["diverging"].to_numpy()).tolist() == [[1, 2]]
    np.testing.assert_array_equal(thin.sample_stats["energy"], energy[:, 3::4])


def test_too_large_fits_are_warned_about_instead(monkeypatch):
    monkeypatch.setattr(extension, "MOST_NUMBERS", 1000)
    sample, asked = counted(0.845)
    settled(sample, DESIGN, Settings(random_seed=1))
    assert asked == [1000]


@pytest.mark.parametrize("m", [2, 4])
def test_chains_that_agree_are_never_told_that_they_disagree(m):
    """Of 200 variables some 50 have an R-hat above 1.01 by chance; one in 1,000 may be beyond its error."""
    rng, missed, narrow = np.random.default_rng(1), 0, 0
    for _ in range(200):
        tree = chains(rng, 0.8, m=m)
        found = judge(tree, NAMES)
        if found.max_rhat > 1.01 and min(found.min_ess_bulk, found.min_ess_tail) > 80 * m:
            missed += 1
            narrow += bool(narrowly_missed(tree, found, NAMES))
    assert missed > 10 and missed - narrow <= 3


FORMULA = "Reaction ~ Days + (Days | Subject)"
HOW = {
    "exact": {"method": "exact"},
    "marginal": {"method": "exact"},
    "joint": {"method": "nuts", "target_accept": 0.9},  # else one divergence in four times as many draws changes it
    "pymc": {"method": "nuts", "nuts_sampler": "nutpie"},
}


@pytest.mark.parametrize("kind", HOW)
def test_every_sampler_can_go_on(kind, monkeypatch, tmp_path):
    from bayeslmm.results import exact

    if kind == "marginal":
        monkeypatch.setattr(exact, "SHARE_LIMIT", 1.1)  # no proposal is good enough
    model = blm.Model(FORMULA, blm.load_dataset("sleepstudy"))
    how = {"draws": 60, "tune": 200, "chains": 2, "random_seed": 3, "progressbar": False, **HOW[kind]}
    doubts = iter(["", "", "R-hat was up to 1.011"])  # of as many draws as asked for
    monkeypatch.setattr(extension, "narrowly_missed", lambda tree, found, names: next(doubts))
    plain = model.fit(**how)
    assert "times as many" not in plain.verdict
    longer = model.fit(**{**how, "draws": 240})
    post = model.fit(**how)
    assert post.n_draws == 60 and post.settings == plain.settings
    for name in ("beta", "sd_Subject", "b_Subject", "sigma"):
        np.testing.assert_array_equal(post.draws(name), longer.draws(name)[:, 3::4])
    said = " ".join(post.verdict.split())
    assert "4 times as many draws, thinned, since R-hat was up to 1.011 at first" in said
    assert all(v.shape == (2, 60) for v in post.idata.sample_stats.data_vars.values())
    if kind != "exact":  # nothing of the longer run but its length differs: the chains went on
        np.testing.assert_array_equal(longer.draws("sigma")[:, :60], plain.draws("sigma"))
    blm.save(post, tmp_path / "post.nc")
    again = blm.load(tmp_path / "post.nc")
    assert again.verdict == post.verdict
    np.testing.assert_array_equal(again.draws("beta"), post.draws("beta"))


def test_what_is_still_in_doubt_is_told():
    tree = chains(np.random.default_rng(1), 0.99)
    with pytest.warns(errors.SamplingWarning, match="doubtful"):
        diagnose_draws(tree, NAMES)


@pytest.mark.parametrize(("rho", "asked"), [(0.97, [1000, 4000]), (0.993, [1000, 4000, 16000])])
def test_draws_of_an_exact_sampler_go_on_until_they_are_enough(rho, asked):
    """Of 4,000 draws that hang on each other by rho, a share (1 − rho)/(1 + rho) counts: 60 and 14."""
    sample, seen = counted(rho)

    def exact(settings):
        tree = sample(settings)
        tree.posterior.attrs["method"] = "exact"
        return tree

    tree, diagnosis = settled(exact, DESIGN, Settings(random_seed=1))
    assert seen[-1] >= asked[-1] and seen[:2] == asked[:2] and tree.posterior.sizes["draw"] == 1000
    assert f"{seen[-1] // 1000} times as many draws, thinned" in str(diagnosis)
    seen.clear()
    settled(exact, DESIGN, Settings(random_seed=1, draws=400))
    assert seen == [400]


@pytest.mark.parametrize(("rho", "asked"), [(0.96, 4000), (0.98, 16000)])
def test_slow_chains_that_agree_go_on_until_their_draws_are_enough(rho, asked):
    """Of 4,000 draws a share (1 − rho)/(1 + rho) counts: 82 and 40."""
    sample, seen = counted(rho)
    tree, diagnosis = settled(sample, DESIGN, Settings(random_seed=1))
    assert seen == [n for n in (1000, 4000, 16000) if n <= max(asked, seen[-1])] and seen[-1] >= asked
    assert tree.posterior.sizes["draw"] == 1000 and diagnosis.min_ess_bulk > 200.0
    assert "times as many draws, thinned, since the effective sample size was down to" in str(diagnosis)
    few, seen = counted(rho)
    settled(few, DESIGN, Settings(random_seed=1, draws=400))
    assert seen == [400]


def test_slow_chains_go_on_in_better_coordinates_and_in_the_old_ones_where_these_are_worse():
    sample, _ = counted(0.97)
    settings, asked = Settings(random_seed=1), []

    def in_others(rho):
        def by_target(changed):
            asked.append(dict(changed.options))
            rng = fixed_rng(changed.random_seed)
            return chains(rng, rho if changed.options else 0.97, n=changed.draws)

        return by_target

    def better(slow, of_slow):
        assert slow.posterior.sizes["draw"] == 1000 and of_slow == settings
        return of_slow.changed({"options": {"adaptation": "low_rank"}}), " with a better metric"

    _, diagnosis = settled(in_others(0.5), DESIGN, settings, better)
    assert asked == [{}, {"adaptation": "low_rank"}] and diagnosis.converged
    assert "4 times as many draws with a better metric, thinned" in str(diagnosis)
    asked.clear()
    settled(in_others(0.999), DESIGN, settings, better)
    assert asked == [{}, {"adaptation": "low_rank"}, {}]


@pytest.mark.parametrize("apart", [0.0, 30.0])
def test_chains_that_hardly_move_have_another_try_that_may_lose_no_mode(apart):
    """The first chain stays ``apart`` sds off: where better coordinates never lead, two modes are spoken of."""

    def sample(changed):
        rng = np.random.default_rng(changed.random_seed)
        diverging = np.zeros((4, changed.draws), dtype=bool)
        how = {"rho": 0.0} if changed.options else {"rho": 0.995, "apart": apart}
        return chains(rng, n=changed.draws, diverging=diverging, **how)

    def better(slow, of_slow):
        return of_slow.changed({"options": {"adaptation": "low_rank"}}), " with a better metric"

    _, diagnosis = settled(sample, DESIGN, Settings(random_seed=1), better)
    assert "since R-hat was up to" in str(diagnosis) and diagnosis.converged == (apart == 0.0)
    assert ("two modes" in str(diagnosis)) == (apart > 0.0)


def test_chains_that_diverge_do_not_go_on():
    diverging = np.zeros((4, 1000), dtype=bool)
    rng = np.random.default_rng(1)
    assert too_slow(chains(rng, 0.96, diverging=diverging), *_judged(rng, diverging))
    diverging[0, 3] = True
    assert not too_slow(chains(rng, 0.96, diverging=diverging), *_judged(rng, diverging))


def _judged(rng, diverging):
    return judge(chains(rng, 0.96, diverging=diverging), NAMES), NAMES


def test_slow_chains_go_on_by_how_many_gradients_they_took():
    """By nothing that hangs on the machine: the same seed gives the same draws everywhere."""

    def asked_of(gradients):
        seen = []

        def sample(settings):
            seen.append(settings.draws)
            steps = np.full((4, settings.draws), gradients)
            return chains(np.random.default_rng(settings.random_seed), 0.96, n=settings.draws, n_steps=steps)

        settled(sample, DESIGN, Settings(random_seed=1, progressbar=False))
        return seen

    assert asked_of(7)[:2] == [1000, 4000] and asked_of(10**7) == [1000]


def test_crossed_factors_of_few_levels_are_clean_by_default():
    """Four levels crossed with 45: their mean moves against the intercept, and a diagonal metric leaves 8 of 4,000."""
    rng = np.random.default_rng(1)
    a, b = np.repeat(np.arange(4), 45), np.tile(np.arange(45), 4)
    eta = -0.8 + rng.normal(0, 0.5, 4)[a] + rng.normal(0, 1.0, 45)[b]
    trials = rng.integers(20, 200, 180)
    table = {"r": rng.binomial(trials, 1 / (1 + np.exp(-eta))), "n": trials, "a": a, "b": b}
    data = pd.DataFrame(table)
    post = blm.Model("p(r, n) ~ 1 + (1 | a) + (1 | b)", data, family="binomial").fit(random_seed=1, progressbar=False)
    assert post.diagnosis.converged and post.diagnosis.min_ess_bulk > 400.0
    assert post.settings.options == {}


def test_an_exact_sampler_does_not_go_on_for_longer_than_a_minute(monkeypatch):
    monkeypatch.setattr(extension, "MOST_SECONDS", 0.0)
    sample, seen = counted(0.97)

    def exact(settings):
        tree = sample(settings)
        tree.posterior.attrs |= {"method": "exact", "seconds": 1.0}
        return tree

    _, diagnosis = settled(exact, DESIGN, Settings(random_seed=1))
    assert seen == [1000] and not diagnosis.converged
