"""A thin run of what ``make calibrate`` does through the public interface."""

import calibration
import calibration_models
import numpy as np
import pytest
from scipy import stats

LONG = ("exgaussian", "/ h")  # ten minutes each
THIN = [name for name in calibration_models.BY_QUADRATURE if not any(part in name for part in LONG)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*calibration_models.FAMILIES, *THIN])
def test_ranks_of_families_are_uniform(name):
    found = calibration_models.ranks_of_family(name, refits=40, seed=11)
    for parameter, ranks in found.items():
        # 13 tests: one in a thousand runs would fail by chance
        assert calibration.uniformity(ranks, bins=4) > 8e-5, (parameter, np.sort(ranks))


@pytest.mark.slow
def test_intervals_hold_the_truth():
    data_sets = 12
    table = calibration_models.intervals(12, data_sets, seed=5, bootstrap=40)
    methods = {"Wald", "Satterthwaite", "Kenward-Roger", "profile", "bootstrap", "posterior"}
    assert set(table.index.get_level_values("method")) == methods
    held = np.rint(table * data_sets).astype(int)
    for probability in calibration_models.PROBABILITIES:
        # 18 shares: one in a thousand runs would fail by chance, were all of them exact
        low = stats.binom.ppf(1e-3 / 18, data_sets, probability)
        assert (held[probability] >= low).all(), table


def test_coverage_counts_central_ranks():
    ranks = {"a": np.arange(calibration.KEPT + 1)}
    for probability in calibration_models.PROBABILITIES:
        assert calibration.coverage(ranks, probability) == pytest.approx(probability)
