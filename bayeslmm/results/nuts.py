"""Draws of NUTS under the naming contract: on the joint density in compiled loops, or on the PyMC model."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..design.names import RESPONSE
from ..design.priors import Priors
from ..engine import pymc_model, pymc_sampling
from ..engine.first_time import joint_compiled_beside
from ..engine.geometry import Geometry, choose_geometry, learned_centring
from ..engine.hyperpriors import keeps_from_zero, unwritten, with_other_ends
from ..engine.pql import Rough, rough_fit
from ..engine.randomness import sampler_seed
from ..errors import FitError, InputError
from ..tools.arrays import Array
from ..tools.frame import row_names
from .contract import as_tree, named, shapes
from .diagnosis import diagnose_draws
from .draws import Draws
from .log_density import linear_predictor, log_likelihood
from .progress import Bar
from .reading import for_reading
from .settings import Settings

if TYPE_CHECKING:  # importing it compiles it, the first time
    from ..engine.joint import Joint
    from ..engine.joint_nuts import JointDraws

LOOP_OPTIONS = {"target_accept", "max_treedepth", "maxdepth", "adaptation"}
MOST_OF_LOW_RANK = 300  # unknowns: the eigenvectors of a window of draws take longer than these draws beyond
TARGET_ACCEPT = 0.8
WITH_FEW_LEVELS = 0.95  # an sd known from few levels has a long tail, whose neck asks for small steps
STATS = ("diverging", "energy", "depth", "maxdepth_reached", "n_steps", "step_size", "mean_tree_accept")


def geometry_of(design: Design, priors: Priors, settings: Settings) -> tuple[Geometry, Rough | None]:
    """The coordinates of NUTS, and the rough fit that suggested them.

    Raises
    ------
    FitError
        Rows that are fitted perfectly, while the prior of sigma lets it go to zero: the density has no bound there.
    """
    design = priors.at_means(design)
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
    for group in design.every_group:
        placement = geometry.placements[group.name]
        for k, column in enumerate(group.columns):
            attached = [a.coefficient for a in geometry.attached[group.name] if a.column == k]
            around = [design.x_names[c] for c in sorted(attached)]
            around += [placement.parent] if geometry.above_column(group, k) is not None else []
            weight = float(placement.weights[:, k].mean())
            rows.append((group.name, column, placement.reliability[k], weight, " + ".join(around) or "zero"))
    return for_reading(pd.DataFrame(rows, columns=["group", "term", "reliability", "centring", "around"]))


def pymc_of(design: Design, priors: Priors, settings: Settings) -> Any:
    """The PyMC model of a design."""
    return pymc_model.build_model(design, priors, geometry_of(design, priors, settings)[0])


def read_draws(design: Design, priors: Priors, idata: Any) -> Draws:
    """Behind `bayeslmm.Model.read_draws`."""
    if "posterior" not in getattr(idata, "children", {}):
        raise InputError("read_draws: an xarray.DataTree with a group 'posterior' is needed, as pymc.sample gives")
    present = {str(name): tuple(value.shape[2:]) for name, value in idata.posterior.data_vars.items()}
    expected = shapes(design)
    wrong = [name for name, shape in expected.items() if present.get(name, shape) != shape]
    if wrong or not present.keys() & expected.keys():
        differences = "; ".join(f"{name}: {expected[name]} wanted, {present[name]} found" for name in wrong)
        raise InputError(
            f"read_draws: these are not draws of this model ({differences or 'none of its variables is there'}); "
            f"beyond chain and draw it has {expected}"
        )
    idata.posterior.attrs.setdefault("sampler", "draws made elsewhere")
    return Draws(
        design=design, priors=priors, idata=idata, settings=Settings(), diagnosis=diagnose_draws(idata, design.names)
    )


def asked_for_pymc(settings: Settings) -> str:
    """What was asked for that only ``pymc.sample`` has, in words; empty where nothing was."""
    if settings.nuts_sampler:
        return f"nuts_sampler={settings.nuts_sampler!r} was asked for"
    others = sorted(set(settings.options) - LOOP_OPTIONS)
    return f"options of pymc.sample were asked for: {', '.join(others)}" if others else ""


def why_not_in_loops(design: Design, priors: Priors) -> str:
    """Why NUTS has to go by the PyMC model, in words; empty where the compiled loops do."""
    if design.likelihood_weights is not None:
        return f"{design.formula.weights_text} is not written out in the compiled loops"
    if not design.family.is_compiled and not design.of_categories:
        return f"{design.family.option} is not written out in the compiled loops"
    if design.empty_categories[-1:] == design.levels[-1:] and design.family.has_cutpoints:
        return f"no row is in {design.levels[-1]!r}, from whose share the compiled loops would begin"
    return unwritten(design, priors) or with_other_ends(design, priors)


def sample_graph(design: Design, priors: Priors, settings: Settings) -> Any:
    """An ``xarray.DataTree`` by NUTS on the PyMC model, for priors, samplers and options that the loops do not know."""
    # without effects in the mean there is no rough fit, and nothing is compiled
    with joint_compiled_beside() if design.groups else nullcontext():
        geometry, _ = geometry_of(design, priors, settings)
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
        cores=min(settings.threads, settings.chains),
        random_seed=sampler_seed(settings.random_seed),
        nuts_sampler=settings.nuts_sampler or "nutpie",
        progressbar=settings.progressbar,
        options=options,
    )
    pymc_sampling.keep_contract(tree, design.names)
    return tree


def _has_target(options: dict[str, Any]) -> bool:
    return "target_accept" in options or "target_accept" in options.get("nuts", {})


def sample_in_loops(design: Design, priors: Priors, settings: Settings) -> Any:
    """An ``xarray.DataTree`` by NUTS on the joint density of all unknowns, in compiled loops.

    Divergences are answered by sampling again with smaller steps, if no ``target_accept`` was given;
    ``posterior.attrs["target_accept"]`` says which it was.

    Raises
    ------
    FitError
        No start has a positive density.
    """
    with joint_compiled_beside():
        geometry, rough = geometry_of(design, priors, settings)
    from ..engine import joint as loops
    from ..engine.joint_nuts import first_start, sample_joint, with_smaller_steps

    begin = time.perf_counter()
    sampled = priors.at_means(design)
    joint, coordinates = loops.build(sampled, priors, geometry)
    options = {"maxdepth" if key == "max_treedepth" else key: value for key, value in settings.options.items()}
    asked_target = options.pop("target_accept", None)
    first = asked_target or (WITH_FEW_LEVELS if geometry.few_levels else TARGET_ACCEPT)
    seed = sampler_seed(settings.random_seed)

    def start(stream: int) -> Array:
        return loops.starting_point(sampled, geometry, rough, joint, np.random.default_rng(stream))

    buffer, d = loops.pack(joint), sum(coordinates.sizes)
    x, possible = first_start(buffer, start, d, seed)
    if not possible:
        raise FitError(_why_impossible(design, sampled, geometry, joint, x))

    def sample(target: float) -> JointDraws:
        with Bar("Sampling", settings.chains * (settings.tune + settings.draws), show=settings.progressbar) as bar:
            return sample_joint(
                buffer,
                start,
                d,
                draws=settings.draws,
                tune=settings.tune,
                chains=settings.chains,
                cores=min(settings.threads, settings.chains),
                random_seed=seed,
                report=bar.reached,
                options={**options, "target_accept": target},
            )

    chain_draws, target = with_smaller_steps(sample, first, mend=asked_target is None)
    tree = _tree(sampled, geometry, joint, chain_draws.x, chain_draws.stats)
    tree.posterior.attrs |= {
        "sampler": "NUTS",
        "method": "nuts",
        "tuning_steps": settings.tune,
        "target_accept": target,
        "seconds": round(time.perf_counter() - begin, 3),
        "compile_seconds": 0.0,
        "tune_seconds": round(chain_draws.tune_seconds, 3),
        "draw_seconds": round(chain_draws.draw_seconds, 3),
    }
    return tree


def better_coordinates(design: Design, priors: Priors, tree: Any, settings: Settings) -> tuple[Settings, str]:
    """Settings under which chains that were slow may be faster, learned from their draws, and these in words.

    A metric with correlations where unknowns are few (a mean moves against the effects of few levels), and effects
    centred as their reliability among the draws says. What the user asked for stays.
    """
    options, words = dict(settings.options), []
    if "adaptation" not in options and sum(group.n_levels * group.q for group in design.groups) <= MOST_OF_LOW_RANK:
        options["adaptation"] = "low_rank"
        words.append("a metric with correlations")
    centring = dict(settings.centring)
    if not centring:
        geometry, _ = geometry_of(design, priors, settings)
        groups = [group for group in priors.at_means(design).groups if not (group.is_wide or group.is_at_means)]
        effects = {group.name: _flat(tree.posterior[design.names.b[group.name]]) for group in groups}
        sds = {group.name: _flat(tree.posterior[design.names.sd[group.name]]) for group in groups}
        centring = dict(learned_centring(groups, geometry, effects, sds))
        words += [f"{group}'s {column} centred by {weight:.2g}" for (group, column), weight in centring.items()]
    return settings.changed({"options": options, "centring": centring}), f" with {', '.join(words)}" if words else ""


def _flat(variable: Any) -> Array:
    """Draws of all chains one after the other."""
    values = variable.to_numpy()
    return values.reshape(-1, *values.shape[2:])


def _why_impossible(design: Design, sampled: Design, geometry: Geometry, joint: Joint, x: Array) -> str:
    """Which rows have no density at a start, and what their linear predictors are."""
    from ..engine.joint_nuts import START_TRIES

    tree = _tree(sampled, geometry, joint, x[None, None], {})
    eta = linear_predictor(design, tree.posterior)[0, 0]
    is_invalid = ~np.isfinite(log_likelihood(design, tree.posterior)[RESPONSE].to_numpy()[0, 0])
    if not is_invalid.any():
        return (
            f"none of {START_TRIES} starts has a positive density, although the response has one in every row: the "
            "priors exclude what the data ask for"
        )
    listed = ", ".join(f"{v:.3g}" for v in eta[is_invalid][:5])
    return (
        f"none of {START_TRIES} starts has a positive density. At the last {is_invalid.sum():,} of {design.n:,} "
        f"responses are impossible ({row_names(design.index, is_invalid)}): link={design.family.link!r} turns linear "
        f"predictors of {listed} into means that {design.family.option} cannot have. Take its first link, or priors "
        "nearer to the data."
    )


def _tree(design: Design, geometry: Geometry, joint: Joint, x: Array, stats: Any) -> Any:
    """Draws x (chain, draw, d) under the naming contract."""
    from ..engine.joint_draws import parameters_of

    drawn = parameters_of(design, geometry, joint, x)
    variables = named(
        design,
        beta=drawn.beta,
        parameters=drawn.parameters,
        sds=drawn.sds,
        correlations=drawn.correlations,
        effects=drawn.effects,
    )
    statistics = {name: stats[name].to_numpy() for name in STATS if name in stats}
    return as_tree(design, variables, statistics, of_posterior={}, of_statistics={})
