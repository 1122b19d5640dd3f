"""Contrasts are R's."""

import numpy as np
import pandas as pd
import pytest

from bayeslmm.design.build import build_design
from bayeslmm.formulas.contrasts import Helmert, Poly, Sum, Treatment

R = {  # contr.poly(4), contr.helmert(4), contr.sum(3), contr.treatment(3)
    Poly: [
        [-0.6708204, 0.5, -0.2236068],
        [-0.2236068, -0.5, 0.6708204],
        [0.2236068, -0.5, -0.6708204],
        [0.6708204, 0.5, 0.2236068],
    ],
    Helmert: [[-1, -1, -1], [1, -1, -1], [0, 2, -1], [0, 0, 3]],
    Sum: [[1, 0], [0, 1], [-1, -1]],
    Treatment: [[0, 0], [1, 0], [0, 1]],
}


@pytest.mark.parametrize("contrast", R)
def test_contrasts_are_those_of_r(contrast):
    right = np.array(R[contrast], dtype=float)
    coded = contrast().code_without_intercept([*"abcd"[: len(right)]])
    np.testing.assert_allclose(coded.matrix, right, atol=1e-7)
    assert len(coded.labels) == right.shape[1]


@pytest.mark.parametrize("contrast", R)
def test_the_full_coding_spans_the_levels(contrast):
    for levels in ([1, 2], [*"abcdefgh"], list(range(25))):
        coded = contrast().code_with_intercept(levels)
        assert np.linalg.matrix_rank(coded.matrix) == len(levels) == len(coded.labels)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("C(f, contr.sum)", "C(f, Sum)"),
        ("C(f, contr.treatment)", "C(f, Treatment)"),
        ("C(f, contr.poly)", "C(f, Poly)"),
        ("C(f, contr.helmert)", "C(f, Helmert)"),
        ("relevel(f, ref='q')", "T(f, ref='q')"),
        ("as.factor(f)", "C(f)"),
        ("C(f, contr.sum())", "C(f, Sum())"),
        ("factor(f, levels=c('r', 'q', 'p'))", "C(f, levels=['r', 'q', 'p'])"),
    ],
)
@pytest.mark.parametrize("trust", [True, False])
def test_spellings_of_r(written, plain, trust):
    data = pd.DataFrame({"f": [*"pqr"] * 4, "y": np.arange(12.0) % 5})
    one, other = (build_design(f"y ~ {term}", data, trust=trust) for term in (written, plain))
    assert one.x_names == other.x_names
    np.testing.assert_array_equal(one.X, other.X)


def test_a_level_that_is_none():
    with pytest.raises(ValueError, match="'z' is none of the levels"):
        Treatment("z").code_without_intercept(["a", "b"])
    with pytest.raises(ValueError, match="'z' is none of the levels"):
        Sum("z").code_without_intercept(["a", "b"])
