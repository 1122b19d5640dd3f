"""What the description and the arrays of a saved fit have to be, each said by name where it is something else.

A file can be edited, or made by somebody else: nothing in it is taken to be what `save` writes. Kinds come first; what
follows from the formula, such as the number of coefficients, is then held against the design that is built from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np

from ..design.design import Design, GroupTerm
from ..design.identification import limits_of
from ..design.names import EACH, RHO
from ..design.priors import LKJ, Priors, resolve_priors
from ..engine import agq, iterative_fit
from ..engine.reml import PointSolution, Status, reported_at
from ..engine.scaling import Problem
from ..errors import DataError
from .contract import shapes

Kind = tuple[str, Callable[[Any], bool]]  # in words, and as a test
MOST_DRAWS = 10**9  # of one number, in all chains: eight gigabytes
CLOSE = 1e-4  # of numbers made of the same cross-products on two machines


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Whether it is a float, or a whole number that fits into 64 bits."""
    return isinstance(value, float) or (_is_whole(value) and abs(value) < 2**63)


def _is_size(value: Any) -> bool:
    return _is_number(value) and bool(value >= 0.0)


TEXT: Kind = ("text", lambda v: isinstance(v, str))
LABEL: Kind = ("text, a number or nothing", lambda v: v is None or isinstance(v, str) or _is_number(v))
FLAG: Kind = ("true or false", lambda v: isinstance(v, bool))
COUNT: Kind = ("a whole number, at least 0", lambda v: _is_whole(v) and 0 <= v < 2**63)
POSITIVE: Kind = ("a whole number, at least 1", lambda v: _is_whole(v) and 1 <= v < 2**63)
NUMBER: Kind = ("a number", _is_number)
FINITE: Kind = ("a finite number", lambda v: _is_number(v) and bool(np.isfinite(float(v))))
SIZE: Kind = ("a number, at least 0", _is_size)
TEXTS: Kind = ("a list of texts", lambda v: isinstance(v, list) and all(isinstance(block, str) for block in v))
FLAGS: Kind = ("a list of true and false", lambda v: isinstance(v, list) and all(isinstance(e, bool) for e in v))
RECORD: Kind = ("an object", lambda v: isinstance(v, dict))
LIST: Kind = ("a list", lambda v: isinstance(v, list))
KEY: Kind = ("text or a list of texts", lambda v: TEXT[1](v) or TEXTS[1](v))
VALUES: Kind = (
    "a finite number or a list of them",
    lambda v: all(FINITE[1](block) for block in v) if isinstance(v, list) else FINITE[1](v),
)
RANGE: Kind = ("three whole numbers", lambda v: isinstance(v, list) and len(v) == 3 and all(_is_whole(e) for e in v))


def _or_nothing(kind: Kind) -> Kind:
    return f"{kind[0]} or nothing", lambda v: v is None or kind[1](v)


def _one_of(*words: str) -> Kind:
    return f"one of {', '.join(words)}", lambda v: isinstance(v, str) and v in words


Fields = Mapping[str, Kind]
HEADER: Fields = {"format": POSITIVE, "version": TEXT, "kind": _one_of("point", "posterior")}
ROWS: Fields = {
    "formula": TEXT,
    "family": TEXT,
    "link": TEXT,
    "own": TEXTS,
    "n_dropped": COUNT,
    "columns": LIST,
    "index": LIST,
    "offset_column": _or_nothing(TEXT),
    "offset_is_array": FLAG,
}
LATER: Fields = {  # of rows, and not in files of older versions
    **dict.fromkeys(("se", "weights_column", "sigma", "residual"), _or_nothing(TEXT)),
    "contrasts": _or_nothing(("a word or a record", lambda v: isinstance(v, str | dict))),
}
STORED: Fields = {"array": TEXT}
CATEGORIES: Fields = {**STORED, "categories": RECORD, "ordered": FLAG}
POINT: Fields = {"reml": FLAG, "solution": RECORD}
ESTIMATES: Fields = {
    "tuples": RECORD,
    "reml": FLAG,
    "criterion": FINITE,
    "gradient_norm": NUMBER,
    "evaluations": COUNT,
    "status": _one_of(*get_args(Status)),
    "singular": FLAGS,
}
FORMAT_1: Fields = {"sigma": SIZE}  # of estimates
FORMAT_2: Fields = {
    "parameters": RECORD,
    "parameter_errors": RECORD,
    "nodes": COUNT,
    "limits": TEXTS,
    "rule_error": FINITE,
}
POSTERIOR: Fields = {
    "priors": LIST,
    "resolved": LIST,
    "settings": RECORD,
    "diagnosis": RECORD,
    "ci_prob": NUMBER,
    "ci_kind": TEXT,
    "groups": RECORD,
}
RESOLVED: Fields = {"kind": TEXT, "group": TEXT, "term": TEXT, "prior": RECORD, "reason": TEXT}
SETTINGS: Fields = {
    "draws": POSITIVE,
    "tune": POSITIVE,
    "chains": POSITIVE,
    "progressbar": FLAG,
    "centring": LIST,
    "options": RECORD,
}
DIAGNOSIS: Fields = {
    "max_rhat": NUMBER,
    "min_ess_bulk": NUMBER,
    "min_ess_tail": NUMBER,
    "divergences": _or_nothing(COUNT),
    "min_ebfmi": _or_nothing(NUMBER),
    "k_hat": _or_nothing(NUMBER),
    "sampler": TEXT,
    "reasons": TEXTS,
}
ATTRIBUTES: Fields = {  # those that are read here; ArviZ and users have others
    "tuning_steps": COUNT,
    "seconds": SIZE,
    "compile_seconds": SIZE,
    "tune_seconds": SIZE,
    "draw_seconds": SIZE,
    "sampling_time": SIZE,
    "rhat": NUMBER,
    "ebfmi": NUMBER,
    "k_hat": NUMBER,
    "reason": TEXT,
    "doubt": TEXT,
    "extended": TEXT,
    "sampler": TEXT,
    "method": TEXT,
    "sample_dims": TEXTS,
    "good_k": NUMBER,
    "draws": COUNT,
}


def check_fields(about: Any, required: Fields, where: str = "", *, optional: bool = False) -> None:
    """Raise DataError unless an object of the description has these fields, each of its kind."""
    if not isinstance(about, dict):
        raise DataError(f"{where or 'the description'} is {_shown(about)}, not an object")
    for name, (words, test) in required.items():
        place = f"{where}.{name}" if where else name
        if name not in about:
            if optional:
                continue
            raise DataError(f"the file is damaged: its description lacks {place}")
        if not test(about[name]):
            raise DataError(
                f"the file is damaged: its description has {place} = {_shown(about[name])}, and it is {words}"
            )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_description(about: Any) -> None:
    """Raise DataError unless the description has the kinds of values that `save` writes."""
    check_fields(about, ROWS)
    check_fields(about, LATER, optional=True)
    for k, column in enumerate(about["columns"]):
        check_fields(column, {"name": TEXT}, f"columns[{k}]")
        _check_stored(column, f"columns[{k}]")
    matrices = about.get("matrices", [])
    if not isinstance(matrices, list):
        raise DataError(f"the file is damaged: its description has matrices = {_shown(matrices)}, and it is a list")
    for k, matrix in enumerate(matrices):
        check_fields(matrix, {"name": TEXT, "values": TEXT, "array": TEXT}, f"matrices[{k}]")
    if not about["index"]:
        raise DataError("the file is damaged: its description has no index")
    for k, level in enumerate(about["index"]):
        check_fields(level, {"name": LABEL}, f"index[{k}]")
        if "range" in level:
            check_fields(level, {"range": RANGE}, f"index[{k}]")
        else:
            _check_stored(level, f"index[{k}]")
    if "names" in about:  # versions before did not write it
        check_fields(about, {"names": RECORD})
    if "fixed" in about:
        check_fields(about, {"fixed": LIST})
        for pair in about["fixed"]:
            if not (
                isinstance(pair, list) and len(pair) == 2 and _is_key(pair[0]) and isinstance(pair[1], float | int)
            ):
                raise DataError(f"the file is damaged: {pair!r} among its fixed parameters is no key and number")
    if about["kind"] == "point":
        check_fields(about, POINT)
        check_fields(about["solution"], ESTIMATES, "solution")
        check_fields(about["solution"], {"probes": COUNT}, "solution", optional=True)
        check_fields(about["solution"], FORMAT_1 if about["format"] == 1 else FORMAT_2, "solution")
        for name in ("parameters", "parameter_errors"):
            values = about["solution"].get(name, {})
            check_fields(values, dict.fromkeys(values, VALUES), f"solution.{name}")
        check_fields(about["solution"]["tuples"], dict.fromkeys(TUPLES, COUNT), "solution.tuples")
    else:
        check_fields(about, POSTERIOR)
        _check_posterior(about)


def _is_key(key: Any) -> bool:
    """Whether it is a key of priors as JSON has it."""
    return isinstance(key, str) or (isinstance(key, list) and all(isinstance(part, str) for part in key))


TUPLES = ("covariances", "modes", "mode_covariances")


def _check_stored(about: Any, where: str) -> None:
    while "categories" in about:
        check_fields(about, CATEGORIES, where)
        about, where = about["categories"], f"{where}.categories"
    check_fields(about, STORED, where)
    check_fields(about, {"as": TEXT}, where, optional=True)


def _check_posterior(about: Mapping[str, Any]) -> None:
    for name in ("priors", "settings.centring"):
        pairs = about["settings"].get("centring") if name == "settings.centring" else about[name]
        for k, pair in enumerate(pairs if isinstance(pairs, list) else ()):
            if not (isinstance(pair, list) and len(pair) == 2 and KEY[1](pair[0])):
                raise DataError(
                    f"the file is damaged: its description has {name}[{k}] = {_shown(pair)}, and it is a list of a "
                    "key and a value"
                )
    for k, (_, prior) in enumerate(about["priors"]):
        _check_prior(prior, f"priors[{k}]")
    for k, entry in enumerate(about["resolved"]):
        check_fields(entry, RESOLVED, f"resolved[{k}]")
        _check_prior(entry["prior"], f"resolved[{k}].prior")
    settings = about["settings"]
    check_fields(settings, SETTINGS, "settings")
    for k, (_, weight) in enumerate(settings["centring"]):
        check_fields({"weight": weight}, {"weight": FINITE}, f"settings.centring[{k}]")
    if settings["draws"] * settings["chains"] > MOST_DRAWS or settings["tune"] > MOST_DRAWS:
        raise DataError(
            f"the file is damaged: its description has settings of {settings['chains']:,} chains of "
            f"{settings['draws']:,} draws after {settings['tune']:,}, more than any memory holds"
        )
    check_fields(about["diagnosis"], DIAGNOSIS, "diagnosis")
    for name, attributes in about["groups"].items():
        check_fields(attributes, ATTRIBUTES, f"groups.{name}", optional=True)


def _check_prior(about: Any, where: str) -> None:
    check_fields(about, {}, where)
    if "LKJ" in about:
        check_fields(about, {"LKJ": FINITE}, where)
        return
    check_fields(about, {"name": TEXT, "params": RECORD}, where)
    check_fields(about["params"], dict.fromkeys(about["params"], FINITE), f"{where}.params")


# -- against the design


def check_rows(arrays: Mapping[str, np.ndarray], names: list[str]) -> None:
    """Raise DataError unless the arrays of the rows are there, as long as the response, and their numbers finite."""
    lacking = [name for name in ("y", "offset", *names) if name not in arrays]
    if lacking:
        raise DataError(f"the file is damaged: it has no array {', '.join(lacking)}")
    unexplained = sorted(set(arrays) - {"y", "offset", "weights", "se", *names})
    if unexplained:
        raise DataError(f"the file is damaged: nothing in its description says what {', '.join(unexplained)} is")
    n = arrays["y"].shape[:1]
    for name in ("y", "offset", "weights", "se"):
        if name in arrays:
            check_array(name, arrays[name], n)
    for name in names:
        if arrays[name].ndim != 1 or (not name.endswith("categories") and arrays[name].shape != n):
            raise DataError(f"the file is damaged: {name} has shape {arrays[name].shape}, and y {arrays['y'].shape}")


def check_array(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise DataError unless an array holds finite doubles of this shape."""
    if array.dtype != np.float64:
        raise DataError(f"the file is damaged: {name} is of type {array.dtype}, and it is float64")
    if array.shape != shape:
        raise DataError(f"the file is damaged: {name} has shape {array.shape}, and by its formula {shape}")
    if not np.isfinite(array).all():
        n_invalid = int((~np.isfinite(array)).sum())
        raise DataError(f"the file is damaged: {name} holds {n_invalid} values that are missing or infinite")


def names_of(design: Design) -> dict[str, Any]:
    """What the formula makes of the rows, to tell that a file's formula is still the one that was fitted."""
    return {
        "response": design.response,
        "coefficients": list(design.x_names),
        "groups": [
            [
                group.name,
                list(group.columns),
                [list(block) for block in group.blocks],
                group.n_levels,
                *_structures(group),
            ]
            for group in design.every_group
        ],
    }


def _structures(group: GroupTerm) -> list[list[str]]:
    """The structures of a factor's bars by name, unless all are unstructured."""
    structures = group.template.structures
    if all(structure.is_free for structure in structures):
        return []
    return [[f"{structure.name}{' hom' * structure.hom}" for structure in structures]]


def check_names(kept: Mapping[str, Any], design: Design) -> None:
    """Raise DataError if the design has other names than that of the fit."""
    for name, values in names_of(design).items():
        if kept.get(name) != values:
            raise DataError(
                f"the file is damaged: its formula {design.formula.text!r} has {name} {_shown(values)}, and what was "
                f"fitted has {_shown(kept.get(name))}"
            )


def check_residual(solution: PointSolution, design: Design) -> None:
    """Raise DataError unless the parameters of the residuals are as many as the design has, and possible."""
    count = 0 if design.residual is None else design.residual.n_parameters
    check_array("residual", solution.residual, (count,))
    if design.residual is not None and np.abs(solution.residual[design.residual.n_spread :]).max(initial=0.0) > 1.0:
        raise DataError("the file is damaged: residual holds correlations beyond ±1")


def check_solution(solution: PointSolution, design: Design) -> PointSolution:
    """What θ gives on the rows of the file; raise DataError unless these are the estimates."""
    p, groups, n_fixed = len(design.x_names), design.every_group, len(design.coefficient_labels)
    if solution.nodes == 0 and not design.family.has_reml:
        raise DataError(f"the file is damaged: its fit is that of a normal response, and its family {design.family}")
    _check_parameters(solution, design)
    count = sum(group.template.n_theta for group in groups)
    for name in ("theta", "scaled_theta"):
        check_array(name, getattr(solution, name), (count,))
    check_array("beta", solution.beta, (p,))
    check_array("vcov", solution.vcov, (n_fixed, n_fixed))
    check_array("separation", solution.separation, (n_fixed,) if len(solution.separation) else (0,))
    endless = {*limits_of(design), *(["sigma"] if design.family.has_reml else [])}
    endless |= {label for part in design.predictors.values() for label in part.labels}
    if not set(solution.limits) <= endless:
        raise DataError(f"the file is damaged: limits are of {_shown(list(solution.limits))}, which have none")
    shapes_of: dict[str, list[tuple[int, ...]]] = {
        "covariances": [(group.q, group.q) for group in groups],
        "modes": [(group.n_levels, group.q) for group in groups],
        "mode_covariances": [(group.n_levels, group.q, group.q) for group in groups],
    }
    for name, all_of in shapes_of.items():
        parts = getattr(solution, name)
        if len(parts) != len(groups):
            raise DataError(f"the file is damaged: {name} are of {len(parts)} factors, and there are {len(groups)}")
        for k, (part, shape) in enumerate(zip(parts, all_of, strict=True)):
            check_array(f"{name}_{k}", part, shape)
    if len(solution.singular) != len(groups):
        raise DataError(f"the file is damaged: singular has {len(solution.singular)} entries for {len(groups)} factors")
    if design.sums is not None and not design.family.has_reml:  # its rows are not in the file
        return solution
    exact = solution.nodes == 0
    if solution.probes and (not exact or not iterative_fit.FEWEST <= solution.probes <= iterative_fit.MOST):
        raise DataError(f"the file is damaged: its fit has {solution.probes} probes")
    report = iterative_fit.reported_at if solution.probes else reported_at
    again = report(Problem.of(design), solution) if exact else agq.reported_at(design, solution)
    shapes_of |= dict.fromkeys(("parameters", "parameter_errors"), [])
    for name in ("criterion", "theta", "beta", "vcov", *shapes_of):
        first, other = getattr(solution, name), getattr(again, name)
        if isinstance(other, Mapping):
            first, other = list(first.values()), list(other.values())
        pairs: list[Any] = list(zip(first, other, strict=True)) if name in shapes_of else [(first, other)]
        for kept, anew in pairs:
            largest = float(np.abs(anew).max(initial=0.0))
            if not np.allclose(kept, anew, rtol=CLOSE, atol=CLOSE * largest):
                raise DataError(
                    f"the file is damaged: its {name} is not what its theta gives on its rows; either was changed"
                )
    return again


def _check_parameters(solution: PointSolution, design: Design) -> None:
    """Raise DataError unless the family's parameters are there, of their shapes, and possible."""
    family = design.family
    for name in ("parameters", "parameter_errors"):
        values = getattr(solution, name)
        if name == "parameter_errors" and solution.nodes == 0:
            continue
        known = () if name == "parameter_errors" else tuple(family.known)
        if tuple(values) != (*design.parameters, *known):
            raise DataError(
                f"the file is damaged: its {name} are of {_shown(list(values))}, and the family's {design.parameters}"
            )
        for parameter, value in values.items():
            shape = () if parameter in family.known else design.shape_of(parameter)
            check_array(f"{name} of {parameter}", np.asarray(value), shape)
    for parameter, value in solution.parameters.items():
        if parameter in design.of_variable:
            continue
        possible = value > 0.0 if family.is_positive(parameter) else np.diff(value) > 0.0
        if not np.all(possible) or (family.is_probability(parameter) and not value < 1.0):
            raise DataError(f"the file is damaged: {parameter} = {_shown(np.asarray(value).tolist())} is impossible")


def check_draws(posterior: Any, design: Design) -> None:
    """Raise DataError unless the draws have the shapes of the design, are numbers, and sds are not negative."""
    sizes = tuple(posterior.sizes.get(name, 0) for name in EACH)
    expected_shapes, names = shapes(design), design.names
    if not expected_shapes.keys() & set(map(str, posterior.data_vars)):
        raise DataError(f"the file is damaged: its draws hold none of {', '.join(expected_shapes)}")
    positive = {*names.sd.values(), *design.family.parameters} - {"cutpoint"}
    for name, shape in expected_shapes.items():
        if name not in posterior.data_vars:
            continue  # draws made elsewhere may lack some
        values = posterior[name].to_numpy()
        check_array(name, values, sizes + shape)
        if name in positive and (values < 0.0).any():
            raise DataError(f"the file is damaged: {name} holds negative values")
        if design.family.is_probability(name) and (values > 1.0).any():
            raise DataError(f"the file is damaged: {name} holds probabilities above one")
        if (name in names.correlations or name == RHO) and (np.abs(values) > 1.0 + 1e-9).any():
            raise DataError(f"the file is damaged: {name} holds correlations beyond ±1")


def check_priors(priors: Priors, design: Design) -> None:
    """Raise DataError or PriorError unless there is one prior for each parameter of the design, of its kind."""
    expected = resolve_priors(design, priors.given).entries
    kept = priors.entries
    if [(parameter.kind, parameter.group, parameter.term) for parameter in kept] != [
        (parameter.kind, parameter.group, parameter.term) for parameter in expected
    ]:
        raise DataError(
            f"the file is damaged: it has priors of {_shown([parameter.label for parameter in kept])}, and by its "
            f"formula the parameters are {_shown([parameter.label for parameter in expected])}"
        )
    for entry in kept:
        if isinstance(entry.prior, LKJ) != (entry.kind in ("cor", RHO)):
            raise DataError(f"the file is damaged: {entry.label} has the prior {entry.prior!r}")
        if not isinstance(entry.prior, LKJ) and entry.prior.name not in WRITTEN_OUT:
            from ..engine.pymc_draws import distribution

            distribution(entry.prior, entry.label)


WRITTEN_OUT = frozenset(
    {  # asking PyMC takes seconds
        "Flat",
        "HalfFlat",
        "Normal",
        "StudentT",
        "Cauchy",
        "HalfNormal",
        "HalfStudentT",
        "HalfCauchy",
        "Exponential",
        "Gamma",
        "InverseGamma",
        "LogNormal",
        "Uniform",
        "Beta",
    }
)
