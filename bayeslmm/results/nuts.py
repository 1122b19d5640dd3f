"""Draws of NUTS under the naming contract: on the joint density in compiled loops, or on the PyMC model."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..design.names import BETA, CUTPOINT, RESPONSE
from ..design.priors import Priors
from ..engine import pymc_model, pymc_sampling
from ..engine.first_time import joint_compiled_beside
from ..engine.geometry import Geometry, choose_geometry
from ..engine.hyperpriors import keeps_from_zero
from ..engine.pql import Rough, rough_fit
from ..engine.randomness import sampler_seed
from ..errors import FitError, InputError, NotAvailableError
from ..tools.arrays import Array
from ..tools.frame import row_names
from .contract import as_tree, shapes
from .diagnosis import diagnose_draws
from .draws import Draws
from .log_density import linear_predictor, log_likelihood
from .progress import Bar
from .settings import Settings

if TYPE_CHECKING:  # importing it compiles it, the first time
    from ..engine.joint import Joint

LOOP_OPTIONS = {"target_accept", "max_treedepth", "maxdepth"}
TARGET_ACCEPT = 0.8
WITH_FEW_LEVELS = 0.95  # an sd known from few levels has a long tail, whose neck asks for small steps
AFTER_DIVERGENCES = (0.95, 0.99)
HOPELESS = 0.1  # share of divergences that smaller steps will not mend
STATS = ("diverging", "energy", "depth", "maxdepth_reached", "n_steps", "step_size", "mean_tree_accept")


def geometry_of(design: Design, priors: Priors, settings: Settings) -> tuple[Geometry, Rough | None]:
    """The coordinates of NUTS, and the rough fit that suggested them.

    Raises
    ------
    FitError
        Rows that are fitted perfectly, while the prior of sigma lets it go to zero: the density has no bound there.
    """
    try:
        rough = rough_fit(design) if design.groups else None
    except FitError:
        spread = float(np.std(design.normal_response))
        if not keeps_from_zero(priors.get("sigma"), rows=design.n, spread=spread):
            raise
        rough = None
    return choose_geometry(design, rough, settings.centring), rough


def geometry_table(design: Design, geometry: Geometry) -> pd.DataFrame:
    """The table behind `bayeslmm.Model.geometry`."""
    rows = []
    for group in design.groups:
        placement = geometry.placements[group.name]
        for k, column in enumerate(group.columns):
            attached = [a.coefficient for a in geometry.attached[group.name] if a.column == k]
            around = [design.x_names[c] for c in sorted(attached)]
            around += [placement.parent] if geometry.above_column(group, k) is not None else []
            weight = float(placement.weights[:, k].mean())
            rows.append((group.name, column, placement.reliability[k], weight, " + ".join(around) or "zero"))
    return pd.DataFrame(rows, columns=["group", "term", "reliability", "centring", "around"])


def pymc_of(design: Design, priors: Priors, settings: Settings) -> Any:
    """The PyMC model of a design."""
    return pymc_model.build_model(design, priors, geometry_of(design, priors, settings)[0])


def read_draws(design: Design, priors: Priors, idata: Any) -> Draws:
    """Behind `bayeslmm.Model.read_draws`."""
    if "posterior" not in getattr(idata, "children", {}):
        raise InputError("read_draws: an xarray.DataTree with a group 'posterior' is needed, as pymc.sample gives")
    found = {str(name): tuple(v.shape[2:]) for name, v in idata.posterior.data_vars.items()}
    wanted = shapes(design)
    wrong = [name for name, shape in wanted.items() if found.get(name, shape) != shape]
    if wrong or not found.keys() & wanted.keys():
        told = "; ".join(f"{name}: {wanted[name]} wanted, {found[name]} found" for name in wrong)
        raise InputError(
            f"read_draws: these are not draws of this model ({told or 'none of its variables is there'}); beyond chain "
            f"and draw it has {wanted}"
        )
    idata.posterior.attrs.setdefault("sampler", "draws made elsewhere")
    return Draws(
        design=design, priors=priors, idata=idata, settings=Settings(), diagnosis=diagnose_draws(idata, design.names)
    )


def sample_by_nuts(design: Design, priors: Priors, settings: Settings) -> Any:
    """An ``xarray.DataTree`` by NUTS on the joint density of all unknowns.

    In compiled loops, unless a prior is not written out there or a sampler or other options of ``pymc.sample`` are
    asked for: then on the PyMC model.  Divergences are answered by sampling again with smaller steps (a
    ``target_accept`` of 0.95, then 0.99), if none was given; ``posterior.attrs["target_accept"]`` says which it was.
    """
    with joint_compiled_beside():
        geometry, rough = geometry_of(design, priors, settings)
    reason = ""
    if not settings.nuts_sampler and set(settings.options) <= LOOP_OPTIONS:
        try:
            return _in_loops(design, priors, geometry, rough, settings)
        except NotAvailableError as error:
            reason = str(error)
    first = WITH_FEW_LEVELS if geometry.few_levels else TARGET_ACCEPT
    options = dict(settings.options)
    if not _has_target(options):
        options["target_accept"] = first
    model = pymc_model.build_model(design, priors, geometry)
    tree = pymc_sampling.sample_nuts(
        model,
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        cores=_cores(settings),
        random_seed=sampler_seed(settings.random_seed),
        nuts_sampler=settings.nuts_sampler or "nutpie",
        progressbar=settings.progressbar,
        options=options,
    )
    pymc_sampling.keep_contract(tree, design.names)
    if reason:
        tree.posterior.attrs["reason"] = reason
    return tree


def _has_target(options: dict[str, Any]) -> bool:
    return "target_accept" in options or "target_accept" in options.get("nuts", {})


def _cores(settings: Settings) -> int:
    return min(settings.cores or os.cpu_count() or 1, settings.chains)


def _in_loops(design: Design, priors: Priors, geometry: Geometry, rough: Rough | None, settings: Settings) -> Any:
    from ..engine import joint as loops
    from ..engine.joint_nuts import first_start, sample_joint

    begin = time.perf_counter()
    joint, coordinates = loops.build(design, priors, geometry)
    options = {"maxdepth" if key == "max_treedepth" else key: v for key, v in settings.options.items()}
    given = options.pop("target_accept", None)
    first = given or (WITH_FEW_LEVELS if geometry.few_levels else TARGET_ACCEPT)
    targets = [first, *(t for t in AFTER_DIVERGENCES if given is None and t > first)]
    seed = sampler_seed(settings.random_seed)

    def start(own: int) -> Array:
        return loops.starting_point(design, geometry, rough, joint, np.random.default_rng(own))

    buffer, d = loops.pack(joint), sum(coordinates.sizes)
    x, possible = first_start(buffer, start, d, seed)
    if not possible:
        raise FitError(_why_impossible(design, geometry, joint, x))
    steps = settings.chains * (settings.tune + settings.draws)
    tuning = drawing = 0.0
    for target in targets:
        with Bar("Sampling", steps, show=settings.progressbar) as bar:
            drawn = sample_joint(
                buffer,
                start,
                d,
                draws=settings.draws,
                tune=settings.tune,
                chains=settings.chains,
                cores=_cores(settings),
                random_seed=seed,
                report=bar.reached,
                options={**options, "target_accept": target},
            )
        tuning, drawing = tuning + drawn.tune_seconds, drawing + drawn.draw_seconds
        if not 0.0 < float(drawn.stats["diverging"].mean()) < HOPELESS:
            break
    tree = _tree(design, geometry, joint, drawn.x, drawn.stats)
    tree.posterior.attrs |= {
        "sampler": "NUTS",
        "method": "nuts",
        "tuning_steps": settings.tune,
        "target_accept": target,
        "seconds": round(time.perf_counter() - begin, 3),
        "compile_seconds": 0.0,
        "tune_seconds": round(tuning, 3),
        "draw_seconds": round(drawing, 3),
    }
    return tree


def _why_impossible(design: Design, geometry: Geometry, joint: Joint, x: Array) -> str:
    """Which rows have no density at a start, and what their linear predictors are."""
    from ..engine.joint_nuts import START_TRIES

    tree = _tree(design, geometry, joint, x[None, None], {})
    eta = linear_predictor(design, tree.posterior)[0, 0]
    bad = ~np.isfinite(log_likelihood(design, tree.posterior)[RESPONSE].to_numpy()[0, 0])
    if not bad.any():
        return (
            f"none of {START_TRIES} starts has a positive density, although the response has one in every row: the "
            "priors exclude what the data ask for"
        )
    shown = ", ".join(f"{v:.3g}" for v in eta[bad][:5])
    return (
        f"none of {START_TRIES} starts has a positive density. At the last {bad.sum():,} of {design.n:,} responses are "
        f"impossible ({row_names(design.index, bad)}): link={design.family.link!r} turns linear predictors of {shown} "
        f"into means that family={design.family.name!r} cannot have. Take its first link, or priors nearer to the data."
    )


def _tree(design: Design, geometry: Geometry, joint: Joint, x: Array, stats: Any) -> Any:
    """Draws x (chain, draw, d) under the naming contract."""
    from ..engine import joint as loops

    flat = x.reshape(-1, x.shape[-1])
    S, p, Q, r = len(flat), len(design.x_names), int(joint.column_start[-1]), int(joint.sizes[3])
    sds, factors = np.zeros((S, Q)), np.zeros((S, Q, joint.middle.shape[1]))
    b, parameters = np.empty((S, int(joint.effect_start[-1]))), np.empty((S, r))
    loops.unfold(loops.pack(joint), flat, sds, factors, b, parameters)
    beta = flat[:, :p].copy()
    moved = np.zeros(S)
    if design.has_intercept or design.family.has_categories:
        slopes = [j for j, n in enumerate(design.x_names) if n != "Intercept"]
        moved = beta[:, slopes] @ design.X[:, slopes].mean(axis=0)
    if design.has_intercept:
        beta[:, design.x_names.index("Intercept")] -= moved
    variables: dict[str, Array] = {BETA: beta}
    names = design.names
    for k, name in enumerate(design.family.parameters):
        variables[name] = parameters + moved[:, None] if name == CUTPOINT else parameters[:, k]
    for k, name in enumerate(geometry.order):
        group = next(g for g in design.groups if g.name == name)
        first, after = int(joint.column_start[k]), int(joint.column_start[k + 1])
        variables[names.sd[name]] = sds[:, first:after]
        L = factors[:, first:after, : group.q]
        order = np.argsort(joint.place[first:after])
        cor = (L @ L.swapaxes(1, 2))[:, order][:, :, order]
        if group.correlated:
            variables[names.cor[name]] = cor
        effects = b[:, joint.effect_start[k] : joint.effect_start[k + 1]]
        variables[names.b[name]] = effects.reshape(S, group.n_levels, group.q)
    shaped = {name: values.reshape(*x.shape[:2], *values.shape[1:]) for name, values in variables.items()}
    kept = {name: stats[name].to_numpy() for name in STATS if name in stats}
    return as_tree(design, shaped, kept, of_posterior={}, of_statistics={})
