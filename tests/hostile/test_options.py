"""Weights, offsets, priors, families and other arguments that are bad or strange."""

import inspect
import warnings
from importlib import import_module

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bayeslmm as blm
from bayeslmm import errors

from .harness import ROWS, Case, check, check_message, clean, fitted, refused

DATA, UNKNOWN, INPUT, PRIOR = (errors.DataError, errors.UnknownColumnError, errors.InputError, errors.PriorError)
PLAIN = "y ~ x + (1 | g)"
W = np.resize([1.0, 2.0, 0.5], ROWS)
HEAVY = pd.Series(W)


def weighted(name: str, weights: object, change: object = None) -> Case:
    """Weights that mean the same as an array of them."""
    return fitted(f"weights {name}", PLAIN, change, like_options={"weights": W}, weights=weights)


def shifted(name: str, offset: object, change: object = None) -> Case:
    """An offset that means the same as an array of it."""
    return fitted(f"offset {name}", PLAIN, change, like_options={"offset": W}, offset=offset)


def bad(name: str, error: type[errors.BayesLMMError], *words: str, change: object = None, **options: object) -> Case:
    return refused(name, PLAIN, change, error, *words, **options)


def bad_of_both(name: str, values: object, error: type[errors.BayesLMMError], *words: str) -> list[Case]:
    """The same values as weights and as offset."""
    return [bad(f"{what} {name}", error, what, *words, **{what: values}) for what in ("weights", "offset")]


GAPS = np.where(np.arange(ROWS) == 4, np.nan, W)
NUMBERS = [
    case
    for given in (weighted, shifted)
    for case in (
        given("as a list", W.tolist()),
        given("as a tuple", tuple(W)),
        given("as a Series", HEAVY),
        given("as a Series of Float64", HEAVY.astype("Float64")),
        given("as a Series of Arrow", HEAVY.astype("float64[pyarrow]")),
        given("as objects", HEAVY.astype(object)),
        given("as text of numbers", HEAVY.astype(str).tolist()),
        given("as float32", W.astype("float32")),
        given("as an array of Arrow", pa.array(W)),
        given("as an index", pd.Index(W)),
        given("as a column", "w", {"w": W}),
        given("as a column of Int64 halves", "w", {"w": HEAVY.astype("Float64")}),
        given("as a column with a strange name", "~ w:", {"~ w:": W}),
        given("as a read-only view", np.broadcast_to(W, (1, ROWS))[0]),
    )
]
WRONG = [
    *bad_of_both("too short", np.ones(59), DATA, "59 values for 60 rows"),
    *bad_of_both("empty", [], DATA, "0 values for 60 rows"),
    *bad_of_both("a single number", 2.0, DATA, "one value for each row"),
    *bad_of_both("of text", ["heavy"] * ROWS, DATA, "does not hold numbers", "'heavy'"),
    *bad_of_both("of lists", [[1.0]] * ROWS, DATA, "list"),
    *bad_of_both("of dates", pd.date_range("2020", periods=ROWS), DATA, "holds dates"),
    *bad_of_both("of durations", pd.to_timedelta(range(ROWS), unit="D"), DATA, "holds durations"),
    *bad_of_both("complex", W + 1j, DATA, "complex numbers"),
    *bad_of_both("in two columns", np.ones((ROWS, 2)), DATA, "no column of numbers", "(60, 2)"),
    *bad_of_both("as a table", pd.DataFrame({"w": W}), DATA, "no column of numbers"),
    *bad_of_both("as a dict", {"w": 1}, DATA, "one dict", "one value for each row"),
    *bad_of_both("as a set", set(W), DATA, "no column of numbers", "unordered"),
    *bad_of_both("as an object", object(), DATA, "one object"),
    *bad_of_both("with another index", HEAVY.set_axis(range(100, 160)), DATA, "index other than the data's"),
    *bad_of_both("as an unknown column", "ww", UNKNOWN, "'ww'"),
    bad("weights of a text column", DATA, "weights", "numbers", weights="f"),
    bad("offset of a text column", DATA, "offset", "number", offset="f"),
    bad(
        "weights twice in the data",
        DATA,
        "2 columns called 'w'",
        weights="w",
        change=lambda d: pd.concat([d, pd.DataFrame({"w": W}), pd.DataFrame({"w": W})], axis=1),
    ),
    bad("weights zero", DATA, "positive and finite", "60 are not", weights=np.zeros(ROWS)),
    bad(
        "a weight below zero",
        DATA,
        "positive and finite",
        "1 are not",
        "row 4",
        weights=np.where(W == W[4], 1, W) - 2.0 * (np.arange(ROWS) == 4),
    ),
    bad("a weight infinite", DATA, "1 are not (row 4)", weights=np.where(np.isnan(GAPS), np.inf, W)),
    bad("a weight missing", DATA, "1 are not (row 4)", weights=GAPS),
    bad("weights of 1e300", DATA, "weights", "Rescale", weights=W * 1e300),
    bad("weights of 1e-300", DATA, "weights", "Rescale", weights=W * 1e-300),
    bad(
        "an offset infinite",
        errors.NonFiniteError,
        "offset",
        "1 infinite",
        "row 4",
        offset=np.where(np.isnan(GAPS), np.inf, W),
    ),
    bad("an offset of 1e300", DATA, "offset", "Rescale", offset=W * 1e300),
    bad("an offset all missing", DATA, "No row is complete", "'offset' is all missing", offset=np.full(ROWS, np.nan)),
    fitted(
        "an offset with a gap",
        PLAIN,
        offset=GAPS,
        like=PLAIN,
        of=lambda d: d.drop(index=4),
        like_options={"offset": np.delete(W, 4)},
        warns=(errors.DroppedRowsWarning,),
    ),
    fitted("weights all equal", PLAIN, weights=np.full(ROWS, 1.0), like=PLAIN),
]
CASES = [*NUMBERS, *WRONG]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_numbers_beside_the_table(case):
    check(case)


REFUSED = {
    "family that is not there": ({"family": "gausian"}, INPUT, "gausian"),
    "family of another type": ({"family": 3}, INPUT, "family"),
    "family None": ({"family": None}, INPUT, "family"),
    "link that is not there": ({"link": "logg"}, INPUT, "logg"),
    "link of another type": ({"link": 3}, INPUT, "link"),
    "link of another family": ({"link": "logit"}, INPUT, "logit"),
    "priors that are no mapping": ({"priors": [1]}, PRIOR, "priors"),
    "priors as a text": ({"priors": "flat"}, PRIOR, "priors"),
    "prior of nothing": ({"priors": {"ses": blm.Prior("Normal", mu=0, sigma=1)}}, PRIOR, "'ses'"),
    "prior as a number": ({"priors": {"x": 3}}, errors.NotAvailableError, "x", "offset(3 * x)"),
    "prior as a text": ({"priors": {"x": "Normal(0, 1)"}}, PRIOR, "x"),
    "prior with a key of another type": ({"priors": {3: blm.flat()}}, PRIOR, "3"),
    "bernoulli of numbers": ({"family": "bernoulli"}, DATA, "0 or 1"),
    "poisson of numbers": ({"family": "poisson"}, DATA, "whole numbers"),
    "gamma of numbers": ({"family": "gamma"}, DATA, "numbers above zero"),
    "beta of numbers": ({"family": "beta"}, DATA, "strictly between 0 and 1"),
    "ordinal of numbers": ({"family": "ordinal"}, DATA, "ordered categories or whole numbers"),
    "binomial of numbers": ({"family": "binomial"}, DATA, "proportions"),
    "two categories too many": ({"family": "bernoulli", "formula": "f ~ x + (1 | g)"}, DATA, "3 categories"),
    "categories without an order": ({"family": "ordinal", "formula": "f ~ x + (1 | g)"}, DATA, "without an order"),
    "more successes than trials": (
        {"family": "binomial", "formula": "p(abs(i), 2) ~ x"},
        DATA,
        "more successes than trials",
    ),
    "counts for gaussian": ({"formula": "p(abs(i), 5) ~ x"}, DATA, "family='binomial'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_of_a_model(name):
    given, error, *words = REFUSED[name]
    options = {"formula": PLAIN, **given}
    with warnings.catch_warnings(), pytest.raises(Exception) as caught:  # noqa: PT011
        warnings.simplefilter("error")
        blm.Model(options.pop("formula"), clean(), **options).fit_reml()
    check_message(caught.value, error, tuple(words))


def test_text_of_a_response_is_named_once():
    """The same refusal for every family that needs numbers."""
    for family in ("gaussian", "student_t", "lognormal", "poisson", "negbinomial", "gamma", "beta"):
        with pytest.raises(DATA, match="'f' holds text or categories; numbers are needed"):
            blm.Model("f ~ x + (1 | g)", clean(), family=family)


# -- responses of other families, in every dtype

COUNTS = clean()["i"] + 2
YES = clean()["b"]
RESPONSES = {
    "poisson": [COUNTS.astype(t) for t in ("int8", "uint64", "Int64", "float32", "int64[pyarrow]", "object")],
    "bernoulli": [YES.astype(t) for t in ("boolean", "bool[pyarrow]", "object", "int8", "Int64", "float64")]
    + [YES.map({True: "yes", False: "no"}), pd.Categorical(YES.map({True: "a", False: "b"}), ["b", "a"])],
    "ordinal": [COUNTS.astype(t) for t in ("int8", "Int64", "float64", "int64[pyarrow]", "object")]
    + [pd.Categorical(COUNTS, range(7), ordered=True)]
    + [pd.Categorical(COUNTS.astype(str), [*"0123456789"], ordered=True)],
    "gamma": [(COUNTS + 0.5).astype(t) for t in ("float32", "Float64", "float64[pyarrow]", "object")],
}


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedCategoriesWarning")
@pytest.mark.parametrize("family", RESPONSES)
def test_responses_of_every_dtype(family):
    first, *others = [
        blm.Model("r ~ x + (1 | g)", clean().assign(r=r), family=family).design for r in RESPONSES[family]
    ]
    for design in others:
        np.testing.assert_array_equal(design.y, first.y)
    assert first.n == ROWS and len(np.unique(first.y)) == (2 if family == "bernoulli" else 7)


@pytest.mark.parametrize("family", ["gaussian", "poisson", "bernoulli", "ordinal", "gamma"])
def test_gaps_in_responses_of_every_family(family):
    counts = (COUNTS if family != "bernoulli" else YES.astype(int)).astype("Int64").where(COUNTS.index > 4)
    counts = counts + 1 if family == "gamma" else counts
    with pytest.warns(errors.DroppedRowsWarning, match="5 of 60 rows left out"):
        assert blm.Model("r ~ x + (1 | g)", clean().assign(r=counts), family=family).design.n == ROWS - 5


CLASSES = ("results.point.PointFit", "results.posterior.PosteriorFit", "results.imputed.Imputed", "results.means.Means")


def switches():
    """Every argument that is true or false, of every public function and of every verb."""
    functions = {name: getattr(blm, name) for name in blm.__all__ if inspect.isfunction(getattr(blm, name))}
    functions |= {"Model": blm.Model.__init__, "fit": blm.Model.fit}
    for path in CLASSES:
        room, _, name = path.rpartition(".")
        verbs = inspect.getmembers(getattr(import_module(f"bayeslmm.{room}"), name), inspect.isfunction)
        functions |= {f"{name}.{verb}": function for verb, function in verbs if not verb.startswith("_")}
    for name, function in functions.items():
        for word, parameter in inspect.signature(function).parameters.items():
            if str(parameter.annotation) in ("bool", "bool | None"):
                yield name, function, word


def test_what_is_true_or_false_is_no_text_or_number():
    """``sum_to_zero="no"`` counted as true."""
    found = list(switches())
    assert len(found) > 60 and {word for _, _, word in found} > {"trust", "sum_to_zero", "REML", "refit", "wide"}
    for name, function, word in found:
        for wrong in ("no", "False", 0, 1, np.array([True, False]), []):
            with pytest.raises(errors.InputError, match=f"{word} is True or False"):
                function(**{word: wrong})
                pytest.fail(name)
    with pytest.raises(errors.InputError, match="REML is True or False"):
        blm.lmer(PLAIN, clean(), "no")
    assert blm.lmer(PLAIN, clean(), REML=np.bool_(False)).solution.reml is False
