"""Saving and loading fits: one netCDF file with the draws, the data and everything a fit needs to be itself.

Nothing in it is pickled. Numbers and text are variables, the rest is JSON; the design is built anew from the formula
and the stored rows, so that it is the code of this version, not of the file, that runs. The formula is the one thing
that is evaluated: as untrusted text, unless the caller vouches for it. Nothing else in a file names code, except that
priors name continuous distributions of PyMC.

Layout: the attribute ``bayeslmm`` of the root holds the description (JSON), group ``bayeslmm_data`` the rows, group
``bayeslmm_solution`` the arrays of a point fit; a posterior has ArviZ's groups under their own names.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..design.build import build_design
from ..design.design import Design
from ..design.names import EACH
from ..design.priors import LKJ, Prior, Priors, ResolvedPrior
from ..engine import agq
from ..engine.reml import PointSolution, with_rivals
from ..engine.scaling import Problem
from ..errors import BayesLMMError, BayesLMMWarning, DataError, FormulaError, StorageError
from ..families import family_of
from ..formulas.binding import Scope
from ..formulas.contrasts import Codings
from ..formulas.expressions import total_offset
from ..terms.relationship import Matrix
from ..tools.caller import names_of_caller
from ..tools.frame import frozen
from ..tools.warned import muted, warn
from . import stored_sums
from .diagnosis import Diagnosis
from .estimates import Origin
from .file_columns import read, store
from .file_contents import check_contents
from .file_fields import (
    HEADER,
    check_description,
    check_draws,
    check_fields,
    check_names,
    check_priors,
    check_residual,
    check_rows,
    check_solution,
    names_of,
)
from .files import checked_path, write_whole
from .point import PointFit
from .posterior import PosteriorFit
from .settings import Settings
from .summaries import check_interval

FORMAT = 3  # since 2, a point fit has its family's parameters by name, where there was sigma alone
IN_MEMORY = 2  # the format of fits of rows in memory; 3 has sums of rows that came in chunks
SCALE = "n - 1"  # what scale() divides by; files without a word about it are of a version that divided by n
DATA, SOLUTION = "bayeslmm_data", "bayeslmm_solution"  # groups beside those of ArviZ
Arrays = dict[str, np.ndarray]


def save(fit: PointFit | PosteriorFit, path: str | os.PathLike[str]) -> None:
    """Save a fit to a netCDF file; `load` gives it back.

    The draws of a posterior are ArviZ's groups, which any netCDF reader opens. An existing file is replaced only once
    the new one is complete.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
    path : str or path
        Such as ``"fit.nc"``.

    Raises
    ------
    StorageError
        The file cannot be written, or the data hold labels that no file can, or the fit is one of another family than
        gaussian whose search failed: its numbers are not what its rows give again.

    Examples
    --------
    >>> import bayeslmm as blm, tempfile, pathlib
    >>> fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     blm.save(fit, pathlib.Path(folder, "fit.nc"))
    ...     again = blm.load(pathlib.Path(folder, "fit.nc"))
    >>> bool((again.predict() == fit.predict()).all())
    True
    """
    import xarray as xr

    if hasattr(fit, "fits"):
        raise StorageError(
            "save: fits of imputed tables are saved one by one, those of .fits; of those that are loaded "
            "bayeslmm.results.imputed.Imputed(fits=tuple(fits)) is the same again"
        )
    if not isinstance(fit, PointFit | PosteriorFit):
        raise StorageError(f"save: {type(fit).__name__} is no fit; fit_reml(), fit_ml() and fit() give some")
    if isinstance(fit, PointFit) and fit.solution.status == "failed" and not fit.design.family.has_reml:
        raise StorageError(f"save: this fit ended nowhere that load could find again. Its verdict: {fit.verdict}")
    target = checked_path(path, "save")
    if not target.parent.is_dir():
        raise StorageError(f"save: there is no folder {target.parent}")
    description, data = _describe_design(fit.design)
    description = {"format": IN_MEMORY if fit.design.sums is None else FORMAT, "version": _version(), **description}
    groups: dict[str, Any] = {DATA: _dataset(data)}
    if isinstance(fit, PointFit):
        description |= {"kind": "point", "reml": fit.solution.reml}
        described, arrays = _describe_solution(fit.solution)
        description["solution"], groups[SOLUTION] = described, _dataset(arrays)
    else:
        description |= {"kind": "posterior", **_describe_posterior(fit)}
        label_names, description["groups"] = set(fit.design.coords), {}
        for name, node in fit.idata.children.items():
            dataset = node.to_dataset()
            description["groups"][name] = _plain(dict(dataset.attrs))
            dataset.attrs = {}
            groups[name] = dataset.drop_vars([str(coord) for coord in dataset.coords if str(coord) in label_names])
    tree = xr.DataTree.from_dict(groups)
    try:
        tree.attrs["bayeslmm"] = json.dumps(description)
    except (TypeError, ValueError) as problem:
        raise StorageError(f"save: an attribute of idata cannot be written: {problem}") from None
    try:
        # in memory first: HDF5 on a full disk ends in a segmentation fault (github.com/h5py/h5py/issues/914)
        write_whole(target, tree.to_netcdf(engine="h5netcdf"))
    except (OSError, ValueError, TypeError) as problem:
        raise StorageError(f"save: {target} cannot be written: {problem}") from problem


def load(path: str | os.PathLike[str], *, namespace: Mapping[str, Any] | None = None, trust: bool = False) -> Any:
    """Load a fit that `save` wrote.

    A file from a stranger cannot run code: nothing is unpickled, and the formula is checked before it is evaluated (see
    docs/security.md). Only a formula with functions of its author's own needs more.

    Parameters
    ----------
    path : str or path
    namespace : mapping, optional
        Functions and values of your own that the formula may use besides the known ones, by name.
    trust : bool
        True to evaluate the formula of the file whatever it holds, as that of a new model, with the names of
        ``namespace`` or else those in scope where ``load`` is called. For files that you or people you trust have made.

    Returns
    -------
    PointFit or PosteriorFit

    Raises
    ------
    StorageError
        There is no such file, it is damaged, no fit, or of a newer format; or its formula may not be evaluated.
    """
    source = checked_path(path, "load")
    names = names_of_caller() if trust and namespace is None else namespace or {}
    description = _about(source)
    if description["format"] > FORMAT:
        raise StorageError(
            f"load: {source} is of format {description['format']}, written by bayeslmm "
            f"{description['version']}; this version ({_version()}) reads up to format {FORMAT}. Upgrade "
            "bayeslmm to load it."
        )
    try:
        check_description(description)
    except DataError as problem:
        raise StorageError(f"load: {source}: {problem}") from None
    tree = _tree(source)
    try:
        if not trust:
            _check_own(description.get("own", []), names)
        scope = Scope(names=names, trusted=trust, codings=Codings.of(description.get("contrasts")))
        design, origin = _build_design(description, _arrays(tree[DATA].to_dataset()), scope)
        if description["kind"] == "point":
            solution = _build_solution(description["solution"], _arrays(tree[SOLUTION].to_dataset()))
            check_residual(solution, design)
            if design.residual is not None:
                design = design.with_residual(solution.residual)
            again = check_solution(solution, design)
            if solution.probes:
                solution = replace(solution, iterative=again.iterative)
            elif solution.nodes == 0:
                solution = with_rivals(Problem.of(design), solution)
            elif design.sums is None:
                solution = agq.with_rivals(design, solution)
            return PointFit(design=design, solution=solution, origin=origin)
        return _build_posterior(description, tree, design)
    except BayesLMMError as problem:
        raise StorageError(f"load: {source}: {problem}") from None
    except Exception as problem:  # the libraries below meet what no `save` has written in ways of their own
        raise StorageError(f"load: {source} is damaged: {type(problem).__name__}: {problem}") from None


def _check_own(captured: list[str], names: Mapping[str, Any]) -> None:
    """Refuse a formula whose author's own functions are not given, also where one of numpy has the same name."""
    absent = [name for name in captured if name not in names]
    if absent:
        example = ", ".join(f"{name!r}: {name}" for name in absent)
        raise FormulaError(
            f"the formula uses names of its author's own ({', '.join(absent)}): load with namespace={{{example}}}, or, "
            "if you trust the file, with trust=True"
        )


def _about(source: Path) -> dict[str, Any]:
    """The description in the file's root."""
    import h5py

    if not source.is_file():
        raise StorageError(f"load: there is no file {source}")
    try:
        with h5py.File(source, "r") as file:
            check_contents(file)
            text = file.attrs.get("bayeslmm")
    except Exception as problem:  # h5py has no one error for damage
        raise StorageError(f"load: {source} is damaged or no netCDF file: {problem}") from None
    if text is None:
        raise StorageError(f"load: {source} holds no fit: it was not written by bayeslmm.save")
    try:
        description = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        description = None
    if not isinstance(description, dict):
        raise StorageError(f"load: {source} is damaged: its description cannot be read")
    try:
        check_fields(description, HEADER)
    except DataError as problem:
        raise StorageError(f"load: {source}: {problem}") from None
    return description


def _tree(source: Path) -> Any:
    import xarray as xr

    try:
        with xr.open_datatree(source, engine="h5netcdf") as opened:
            return opened.load()
    except Exception as problem:  # xarray and h5netcdf have no one error for damage either
        raise StorageError(f"load: {source} is damaged: {problem}") from None


def _version() -> str:
    from importlib.metadata import version

    return version("bayeslmm")


def _dataset(arrays: Mapping[str, np.ndarray]) -> Any:
    """Arrays as a Dataset, each with dimensions of its own lengths."""
    import xarray as xr

    variables = {name: ([f"n{size}" for size in _distinct(a.shape)], a) for name, a in arrays.items()}
    return xr.Dataset(variables)


def _distinct(shape: tuple[int, ...]) -> list[str]:
    """A name for every axis; netCDF wants axes of one array to differ."""
    return [f"{size}" + "_" * shape[:i].count(size) for i, size in enumerate(shape)]


def _arrays(dataset: Any) -> Arrays:
    return {str(name): variable.to_numpy() for name, variable in dataset.data_vars.items()}


# -- design


def _describe_design(design: Design) -> tuple[dict[str, Any], Arrays]:
    arrays: Arrays = {}
    frame, index, streamed = design.frame, design.index, {}
    if design.sums is not None:
        described, frame = stored_sums.describe(design, arrays)
        index, streamed = frame.index, {"streamed": described}
    else:
        arrays |= {"y": design.y, "offset": design.offset}
        if design.standard_errors is not None:
            arrays["se"] = design.standard_errors
        elif design.prior_weights is not None:
            arrays["weights"] = design.prior_weights
    columns = [
        {"name": name, **store(f"column_{k}", frame[name].array, arrays, f"column {name!r}")}
        for k, name in enumerate(frame)
    ]
    description = {
        "formula": design.formula.text,
        "family": design.family.word,
        "link": design.family.link,
        "scale": SCALE,
        "own": sorted(design.scope.names),
        "n_dropped": design.n_dropped,
        "columns": columns,
        "index": _store_index(index, arrays),
        "offset_column": _offset_column(design),
        "offset_is_array": design.recipe.offset_given_as_array,
        "se": design.se,
        "weights_column": design.weights_column,
        "sigma": None if design.residual is None else design.residual.words.sigma,
        "residual": None if design.residual is None else design.residual.words.residual,
        "contrasts": design.scope.codings.given,
        "predictors": design.said_predictors,
        "fixed": [[_plain(key), value] for key, value in design.fixed.items()],
        "names": names_of(design),
        **streamed,
    }
    if design.matrices:
        description["matrices"] = [
            _store_matrix(f"matrix_{k}", matrix, arrays) for k, matrix in enumerate(design.matrices.values())
        ]
    return description, arrays


def _store_matrix(name: str, matrix: Matrix, arrays: Arrays) -> dict[str, Any]:
    """A relationship matrix: its values, and its labels as those of a column."""
    arrays[name] = matrix.values
    labels = pd.Series(list(matrix.labels)).array
    return {
        "name": matrix.name,
        "values": name,
        **store(f"{name}_labels", labels, arrays, f"the labels of matrices[{matrix.name!r}]"),
    }


def _read_matrices(about: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    return {each["name"]: (list(read(each, arrays)), arrays[each["values"]]) for each in about.get("matrices", [])}


def _offset_column(design: Design) -> str | None:
    """The column given as ``offset=``, which stands after the offsets of the formula."""
    extra = design.recipe.offsets[len(design.formula.offsets) :]
    return extra[0].label if extra else None


def _build_design(about: Mapping[str, Any], arrays: Arrays, scope: Scope) -> tuple[Design, Origin]:
    if "streamed" in about:
        return _build_streamed(about, arrays, scope)
    matrices = about.get("matrices", [])
    of_matrices = [*(matrix["values"] for matrix in matrices), *_arrays_of(matrices)]
    check_rows(
        {name: array for name, array in arrays.items() if name not in of_matrices},
        list(_arrays_of([*about["columns"], *about["index"]])),
    )
    index = _read_index(about["index"], arrays, len(arrays["y"]))
    frame = pd.DataFrame({c["name"]: read(c, arrays) for c in about["columns"]})
    frame.index = index
    weights: Any = arrays.get("weights")
    errors = arrays.get("se")
    if (errors is None) != (about.get("se") is None):
        raise DataError("the file is damaged: of the standard errors it has only the name, or only the values")
    offset: Any = about["offset_column"]
    if about["offset_is_array"]:
        offset = np.zeros(len(frame))
    fixed = {_key(key): value for key, value in about.get("fixed", [])}
    with muted(BayesLMMWarning):  # they were given when the model was made
        _check_scale(about)
        design = build_design(
            about["formula"],
            frame,
            weights=weights,
            offset=offset,
            se=errors,
            namespace=scope.names,
            trust=scope.trusted,
            contrasts=scope.codings.given,
            family=family_of(about["family"], about["link"]),
            matrices=_read_matrices(about, arrays) or None,
            sigma=about.get("sigma"),
            residual=about.get("residual"),
            predictors=about.get("predictors"),
            fixed=fixed,
        )
    if design.n != len(arrays["y"]):
        raise DataError(f"{len(arrays['y'])} rows were saved and {design.n} are complete")
    check_names(about.get("names", names_of(design)), design)
    if about["offset_is_array"]:
        offset = arrays["offset"] - total_offset(design.recipe.offsets, design.frame, None)
    design = replace(
        design.with_coded_response(arrays["y"]),
        offset=frozen(arrays["offset"]),
        n_dropped=about["n_dropped"],
        se=about.get("se"),
        weights_column=about.get("weights_column"),
    )
    se: Any = errors
    if design.se:  # the column that they were stands beside those of the formula again
        se, frame = design.se, frame if design.se in frame else frame.assign(**{design.se: errors})
    if design.weights_column and weights is not None:
        frame = frame if design.weights_column in frame else frame.assign(**{design.weights_column: weights})
        weights = design.weights_column
    origin = Origin(
        data=frame,
        weights=weights,
        offset=offset,
        se=se,
        sigma=about.get("sigma"),
        residual=about.get("residual"),
        predictors=about.get("predictors") or {},
        fixed=fixed,
    )
    return design, origin


def _build_streamed(about: Mapping[str, Any], arrays: Arrays, scope: Scope) -> tuple[Design, Origin]:
    """The design of sums of rows that came in chunks; the rows themselves are in no file."""
    lacking = [name for name in _arrays_of(about["columns"]) if name not in arrays]
    if lacking:
        raise DataError(f"the file is damaged: it has no array {', '.join(lacking)}")
    frame = pd.DataFrame({c["name"]: read(c, arrays) for c in about["columns"]})
    with muted(BayesLMMWarning):  # they were given when the model was made
        family = family_of(about["family"], about["link"])
        design, given = stored_sums.restored(about, arrays, frame, scope, family)
    check_names(about.get("names", names_of(design)), design)
    return design, Origin(data=design.frame, weights=given.weights, offset=given.offset, levels=given.levels)


def _check_scale(about: Mapping[str, Any]) -> None:
    """Refuse estimates for columns that this version scales otherwise."""
    if about.get("scale") != SCALE and re.search(r"\b(scale|standardize)\(", str(about["formula"])):
        raise DataError(
            f"it was written by bayeslmm {about['version']}, whose scale() divided by n and not, as R's and this "
            "one's, by n - 1, so its estimates are for other columns: fit the model again"
        )


def _arrays_of(stored: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The arrays that columns or levels of an index are read from."""
    for description in stored:
        if "array" in description:
            yield description["array"]
        if "categories" in description:
            yield from _arrays_of([description["categories"]])


def _store_index(index: pd.Index, arrays: Arrays) -> list[dict[str, Any]]:
    """Each level of the index; the first is a range if it is one."""
    if isinstance(index, pd.RangeIndex):
        return [{"name": index.name, "range": [index.start, index.stop, index.step]}]
    levels = [index.get_level_values(k) for k in range(index.nlevels)]
    return [
        {"name": level.name, **store(f"index_{k}", level.array, arrays, "the index of the data")}
        for k, level in enumerate(levels)
    ]


def _read_index(about: list[dict[str, Any]], arrays: Arrays, n: int) -> pd.Index:
    if "range" in about[0]:
        return pd.RangeIndex(*about[0]["range"], name=about[0]["name"])
    levels = [read(level, arrays) for level in about]
    names = [level["name"] for level in about]
    if len(levels) == 1:
        return pd.Index(levels[0], name=names[0])
    return pd.MultiIndex.from_arrays(levels, names=names)


# -- point fit


def _describe_solution(solution: PointSolution) -> tuple[dict[str, Any], Arrays]:
    """Scalars by name; arrays, and tuples of arrays numbered."""
    scalars: dict[str, Any] = {"tuples": {}}
    arrays: Arrays = {}
    for field in _stored(solution):
        value = getattr(solution, field.name)
        if isinstance(value, np.ndarray):
            arrays[field.name] = value
        elif field.name == "limits":
            scalars[field.name] = list(value)
        elif isinstance(value, tuple) and field.name != "singular":
            scalars["tuples"][field.name] = len(value)
            arrays |= {f"{field.name}_{k}": part for k, part in enumerate(value)}
        elif isinstance(value, Mapping):
            scalars[field.name] = {name: np.asarray(each).tolist() for name, each in value.items()}
        else:
            scalars[field.name] = list(map(bool, value)) if field.name == "singular" else _plain(value)
    return scalars, arrays


def _stored(solution: Any) -> list[Any]:
    """The fields that are stored; estimates that are as good are found again."""
    return [field for field in fields(solution) if field.name not in ("untold", "rivals", "iterative")]


def _build_solution(scalars: Mapping[str, Any], arrays: Arrays) -> PointSolution:
    solution_fields: dict[str, Any] = {}
    if "parameters" not in scalars:  # format 1
        scalars = {
            **scalars,
            "parameters": {"sigma": scalars["sigma"]},
            "parameter_errors": {},
            "nodes": 0,
            "limits": [],
            "rule_error": 0.0,
        }
        arrays = {**arrays, "separation": np.zeros(0)}
    arrays = {"residual": np.zeros(0), **arrays}  # which files of older versions do not have
    scalars = {"probes": 0, **scalars}
    for field in _stored(PointSolution):
        name = field.name
        if name in arrays:
            solution_fields[name] = arrays[name]
        elif name in ("singular", "limits"):
            solution_fields[name] = tuple(scalars[name])
        elif name in scalars["tuples"]:
            solution_fields[name] = tuple(arrays[f"{name}_{k}"] for k in range(scalars["tuples"][name]))
        elif isinstance(scalars[name], Mapping):
            solution_fields[name] = {key: np.asarray(value, dtype=float) for key, value in scalars[name].items()}
        else:
            solution_fields[name] = scalars[name]
    return PointSolution(**solution_fields)


# -- posterior


def _describe_posterior(fit: PosteriorFit) -> dict[str, Any]:
    settings = asdict(fit.settings)
    settings["centring"] = [[_plain(key), _plain(value)] for key, value in fit.settings.centring.items()]
    options = {name: value for name, value in fit.settings.options.items() if _is_json(value)}
    dropped = sorted(set(fit.settings.options) - set(options))
    if dropped:
        warn(
            f"save: options of the sampler that JSON cannot hold are left out ({', '.join(dropped)}); with_priors and "
            "refit of the loaded fit will do without them",
            BayesLMMWarning,
        )
    settings["options"] = options
    return {
        "priors": [[_plain(key), _prior(value)] for key, value in fit.priors.given.items()],
        "resolved": [  # a refit keeps the scales of the first response, so they do not follow from the data
            {
                "kind": entry.kind,
                "group": entry.group,
                "term": entry.term,
                "prior": _prior(entry.prior),
                "reason": entry.reason,
                "at": entry.at,
            }
            for entry in fit.priors.entries
        ],
        "settings": _plain(settings),
        "diagnosis": _plain(asdict(fit.diagnosis)),
        "ci_prob": fit.ci_prob,
        "ci_kind": fit.ci_kind,
    }


def _prior(prior: Prior | LKJ) -> dict[str, Any]:
    if isinstance(prior, LKJ):
        return {"LKJ": float(prior.eta)}
    return {"name": prior.name, "params": {name: float(value) for name, value in prior.params}}


def _build_prior(about: Mapping[str, Any]) -> Prior | LKJ:
    return LKJ(about["LKJ"]) if "LKJ" in about else Prior(about["name"], **about["params"])


def _build_posterior(about: Mapping[str, Any], tree: Any, design: Design) -> PosteriorFit:
    import xarray as xr

    check_interval(about["ci_prob"], about["ci_kind"])
    user_priors = {_key(key): _build_prior(value) for key, value in about["priors"]}
    entries = (ResolvedPrior(**{**entry, "prior": _build_prior(entry["prior"])}) for entry in about["resolved"])
    priors = Priors(entries=tuple(entries), given=user_priors, fixed=design.fixed)
    check_priors(priors, design)
    if "posterior" not in about["groups"]:
        raise DataError("the file is damaged: its description has no group posterior, which holds the draws")
    settings = dict(about["settings"])
    settings["centring"] = {_key(key): value for key, value in settings["centring"]}
    coordinates, groups = design.coords, {}
    for name, attrs in about["groups"].items():
        dataset = _under_contract(tree[name].to_dataset(), design)
        coords = {dim: coordinates[str(dim)] for dim in dataset.dims if str(dim) in coordinates}
        groups[name] = dataset.assign_coords(coords).assign_attrs(attrs)
    check_draws(groups["posterior"], design)
    diagnosis = {**about["diagnosis"], "reasons": tuple(about["diagnosis"]["reasons"])}
    return PosteriorFit(
        design=design,
        priors=priors,
        idata=xr.DataTree.from_dict(groups),
        diagnosis=Diagnosis(**diagnosis),
        settings=Settings(**settings),
        ci_prob=about["ci_prob"],
        ci_kind=about["ci_kind"],
    )


def _under_contract(dataset: Any, design: Design) -> Any:
    """The dataset with the dimensions of the naming contract: versions before it called some of them otherwise."""
    dims = design.names.dims
    renamed = {
        name: ((*EACH, *dims[name]), variable.to_numpy(), variable.attrs)
        for name, variable in dataset.data_vars.items()
        if name in dims and variable.ndim == 2 + len(dims[name]) and variable.dims != (*EACH, *dims[name])
    }
    return dataset.drop_vars(list(renamed)).assign(renamed)


# -- JSON


def _plain(value: Any) -> Any:
    """NumPy scalars, tuples and mappings as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key


def _is_json(value: Any) -> bool:
    try:
        json.dumps(_plain(value))
    except (TypeError, ValueError):
        return False
    return True
