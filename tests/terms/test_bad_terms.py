"""Hostile input to relationship matrices, multi-memberships and smooths: refused where it is written, with numbers."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import bayeslmm as blm
from bayeslmm.errors import DataError, FormulaError, InputError, NotAvailableError, UnidentifiedTermError

N = 30
DATA = pd.DataFrame(
    {
        "y": np.sin(np.arange(N) ** 2.0),
        "x": np.linspace(0, 1, N),
        "g": list("abc") * 10,
        "h": list("bca") * 10,
        "z": [0.0, 1.0, 2.0] * 10,
        "w": 1.0,
        "bad": -1.0,
        "f": ["u", "v"] * 15,
        "none": None,
        "nothing": None,
    }
)
I3 = pd.DataFrame(np.eye(3), index=list("abc"), columns=list("abc"))


def model(formula, matrix=I3, **options):
    return blm.Model(formula, DATA, matrices=None if matrix is None else {"A": matrix}, **options)


@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        (-I3, "not positive definite: its smallest eigenvalue is -1"),
        (I3 - 0.9 * np.ones((3, 3)), "not positive definite"),
        (I3 + pd.DataFrame(np.eye(3, k=1), index=I3.index, columns=I3.columns), "not symmetric: its entries for 'a'"),
        (I3.iloc[:, :2], "other labels"),
        (I3.rename(index={"a": "q"}), "other labels"),
        (I3.iloc[:2, :2], "1 level of 'g' is not in the matrix 'A'"),
        (I3 * np.nan, "9 entries are missing"),
        (I3 * (1.0 + 0.0j), "complex numbers"),
        ((["a", "b"], np.eye(3)), "2 labels for a matrix of 3 rows"),
        ((["a", "b", "b"], np.eye(3)), "the label 'b' is there twice"),
        ((["a", "b", None], np.eye(3)), "a label is missing"),
        ((["a", "b", "c"], np.ones((3, 2))), "a square matrix is needed"),
        (([1, 2, 3], np.eye(3)), "Its labels are int, the column's str"),
        (np.eye(3), "a DataFrame with labels on both sides"),
        ((list("abc"), np.array([["x"] * 3] * 3)), "other things than numbers"),
        ((list("abc"), sparse.csr_array(-np.eye(3))), "not positive definite"),
    ],
)
def test_matrices_at_fault(matrix, match):
    with pytest.raises(InputError, match=match):
        model("y ~ x + (1 | gr(g, cov=A))", matrix)


def test_a_precision_without_an_inverse():
    laplacian = 3 * np.eye(3) - np.ones((3, 3))
    with pytest.raises(InputError, match=r"rank 2 of 3.*proper"):
        model("y ~ x + (1 | gr(g, prec=A))", (list("abc"), laplacian))


def test_a_covariance_that_has_not_full_rank_is_none_at_fault():
    twins = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    model("y ~ x + (1 | gr(g, cov=A))", (list("abc"), twins))


@pytest.mark.parametrize(
    ("formula", "error", "match"),
    [
        ("y ~ (1 | gr(g, cov=B))", InputError, "no matrix 'B' was given"),
        ("y ~ (1 | gr(g))", FormulaError, "one column and one matrix"),
        ("y ~ (1 | gr(g, cov=A, prec=A))", FormulaError, "one column and one matrix"),
        ("y ~ (1 | gr(g, by=A))", FormulaError, "no argument by="),
        ("y ~ (x | gr(g, cov=A)) + (1 | gr(g, cov=A))", UnidentifiedTermError, r"gr\(g\) is there twice"),
        ("y ~ diag(x | gr(g, cov=A))", FormulaError, "write the bar without it"),
        ("y ~ (1 | gr(g, cov=A)/h)", FormulaError, "stands right of a bar"),
        ("y ~ gr(g, cov=A)", FormulaError, "stands right of a bar"),
        ("y ~ (1 | gr(nobody, cov=A))", DataError, "nobody"),
        ("y ~ (1 | gr(g, cov=A)) + (1 | gr(g, cov=A))", UnidentifiedTermError, "there twice"),
        ("y ~ (1 | mm(g))", FormulaError, "two columns or more"),
        ("y ~ (1 | mm(g, g))", FormulaError, "names a column twice"),
        ("y ~ (1 | mm(g, h, weights=[w]))", FormulaError, "a list of 2 columns"),
        ("y ~ (1 | mm(g, h, weights=[w, bad]))", DataError, "30 weights of members"),
        ("y ~ (1 | mm(g, h, weights=[w, nobody]))", DataError, "nobody"),
        ("y ~ (1 | mm(none, nothing))", DataError, "missing values alone"),
        ("y ~ (1 | mm(g, z))", DataError, "numbers and others text"),
        ("y ~ (nobody | mm(g, h))", DataError, "nobody"),
        ("y ~ s(x, k=2)", FormulaError, "between 3 and 500"),
        ("y ~ s(x, k=31)", DataError, "30 distinct values for 31 functions"),
        ("y ~ s(z)", DataError, "3 distinct values for 10 functions"),
        ("y ~ s(g)", DataError, "holds no numbers"),
        ("y ~ s(x, bs='gp')", FormulaError, "not offered; the bases are 'tp', 'cr'"),
        ("y ~ s(x, sp=1)", FormulaError, "no argument sp="),
        ("y ~ s(x, z)", FormulaError, "smooths of several"),
        ("y ~ s(x, by=w)", InputError, "write w \\+ s"),
        ("y ~ s(x, f, bs='fs') + (1 | f)", UnidentifiedTermError, "Intercept varies by f twice"),
        ("y ~ s(x, f, bs='fs', k=400)", DataError, "30 distinct values for 400 functions"),
        ("y ~ s(f, x, bs='fs')", DataError, "the number first and then the levels"),
        ("y ~ s(x) * f", FormulaError, "cannot be an operand"),
        ("y ~ (s(x) | g)", FormulaError, "without a bar"),
        ("y ~ s(nobody)", DataError, "nobody"),
    ],
)
def test_formulas_at_fault(formula, error, match):
    with pytest.raises(error, match=match):
        model(formula, I3 if "gr(" in formula else None)


def test_more_correlated_effects_than_a_dense_block_holds():
    labels = [*"abc", *(f"l{k}" for k in range(1_600))]
    with pytest.raises(NotAvailableError, match=r"dense block of 3,206 columns.*with \|\|"):
        model("y ~ (x | gr(g, cov=A))", (labels, sparse.eye_array(len(labels))))


def test_a_covariance_without_full_rank_has_no_density_for_pymc():
    twins = (list("abc"), np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    made = model("y ~ x + (x | gr(g, cov=A))", twins)
    with pytest.raises(NotAvailableError, match=r"has not full rank.*\|\|"):
        made.pymc  # noqa: B018


def test_a_matrix_that_no_term_names():
    with pytest.raises(InputError, match="the formula names none"):
        model("y ~ x + (1 | g)")


def test_rows_without_any_member():
    data = DATA.assign(g=[None, *DATA.g[1:]], h=[None, *DATA.h[1:]])
    with pytest.raises(DataError, match="1 rows have no member"):
        blm.Model("y ~ (1 | mm(g, h))", data)


def test_untrusted_formulas_name_matrices_and_columns_only():
    told = blm.Model("y ~ s(x) + (1 | gr(g, cov=A))", DATA, matrices={"A": I3}, trust=False)
    assert told.design.n == N
    with pytest.raises(FormulaError):
        blm.Model("y ~ s(__import__('os').getcwd())", DATA, trust=False)
    with pytest.raises(FormulaError):
        blm.Model("y ~ (1 | gr(g, cov=__import__('os')))", DATA, trust=False, matrices={"A": I3})
