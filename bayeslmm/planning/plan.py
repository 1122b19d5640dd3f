"""Power, precision and errors of studies by simulation, for several sizes of a design."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..engine.bootstrap import Truth
from ..engine.processes import cores_of, shared
from ..engine.randomness import seed_sequence
from ..errors import InputError
from ..results import wald
from ..results.draws import Draws
from ..results.progress import Bar
from ..results.settings import Settings
from ..results.statements import RELATIONS, linear, parse
from ..results.summaries import check_interval, flat
from ..results.targets import check_count
from ..tools.arrays import Array
from ..tools.words import is_one_of
from .assumed import Assumed, assumed
from .record import Plan
from .sizes import ASSUMED, PARAMETER, Axis, axes, resized, sizes_of
from .studies import COLUMNS, ERROR, ESTIMATE, HIGH, LOW, TRUTH, Analysis, ByEstimates, ByPosterior, analysed

KINDS = ("reml", "ml", "posterior")
BATCH = 50  # studies that a process takes at a time
FEWEST_STUDIES = 10  # that are worth another process
MOST_STUDIES = 100_000  # of a size
FEWEST_DRAWS = 100  # of a posterior, for its intervals


def plan(
    source: Any,
    *,
    vary: Mapping[str, Any],
    quantity: str | Sequence[str] | None = None,
    studies: int = 1000,
    how: str = "reml",
    ddf: str | None = wald.DDF,
    ci_prob: float = 0.95,
    priors: Mapping[Any, Any] | None = None,
    draws: int = 500,
    random_seed: int | None = None,
    cores: int | None = None,
    progressbar: bool = True,
) -> Plan:
    """Simulate studies of several sizes, analyse each, and say what a study of that size would tell.

    Parameters
    ----------
    source : Assumed, PointFit or PosteriorFit
        What is true. ``model.assume(beta=..., sd=..., sigma=...)`` says so; a fit takes its estimates for true; of a
        posterior every study is simulated from another draw, so that power is averaged over what is not known
        (assurance: O'Hagan, Stevens & Campbell 2005).
    vary : mapping
        Sizes by name. A grouping factor, or ``"groups"`` for the outermost: how many levels. ``"rows"``: how many rows
        in each of the finest groups. The name of a number: how many values of it, in equal steps. Or values of what is
        assumed: ``"beta"``, by fixed effect, ``{"beta": {"Days": [5, 10]}}``; ``"sd"``, by grouping factor with one;
        the name of a parameter of the family, such as ``"sigma"``. Several entries: all combinations.
    quantity : str or sequence of str, optional
        Coefficients, sums of them such as ``"drug[a] - drug[b]"``, or hypotheses such as ``"Days = 5"``. By default
        every coefficient but the intercept.
    studies : int
        Simulated studies of each size.
    how : {"reml", "ml", "posterior"}
        How each is analysed.
    ddf : {"satterthwaite", "kenward-roger", None}
        Degrees of freedom of the intervals of point fits.
    ci_prob : float
        Probability of the intervals: 1 − α.
    priors : mapping, optional
        Of posteriors, as of `Model`.
    draws : int
        Of each posterior, in two chains. A normal response needs none: given the hyperparameters its β is normal, and
        the interval is that of the mixture, found by as many evaluations of the density.
    random_seed : int, optional
    cores : int, optional
        Processes; all by default.
    progressbar : bool

    Returns
    -------
    Plan
        Prints its table; ``table``, ``studies``, ``smallest(power)``; :func:`bayeslmm.plot_plan` draws it.

    Raises
    ------
    InputError
        A Model without values, names that are not there, sizes that are impossible, or another count or probability.
    NotAvailableError
        Smooths, relationship matrices and multi-membership, whose levels cannot be multiplied.

    Notes
    -----
    Each simulated study has new groups. Type S and type M errors are those of Gelman & Carlin (2014), Beyond power
    calculations, Perspectives on Psychological Science 9. The interval of the power is Wilson's.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> pilot = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> truth = blm.assume(pilot, beta={"Days": 5})
    >>> found = blm.plan(truth, vary={"Subject": [8, 24]}, studies=40, random_seed=1, cores=1, progressbar=False)
    >>> found.table["power"].is_monotonic_increasing
    True
    """
    truth = _truth(source)
    design = truth.design
    design.refuse_residual("a plan of a study")
    design.refuse_predictors("a plan of a study")
    design.refuse_likelihood_weights("a plan of a study")
    design.refuse_censored("a plan of a study")
    _check(studies, how, ci_prob, draws)
    quantities, contrasts, values = _quantities(design, quantity)
    asked = axes(design, vary)
    sizes = sizes_of(asked)
    designs = [_light(resized(design, asked, size)) for size in sizes]
    analysis = _analysis(how, ddf, ci_prob, priors, draws)
    cores = min(cores_of(cores), max(1, studies * len(sizes) // FEWEST_STUDIES))
    started = time.perf_counter()
    seeds = seed_sequence(random_seed).spawn(len(sizes) + 1)
    truths = _truths(source, truth, studies, seeds[-1])
    tasks = [
        (one, true[first : first + BATCH], chosen[first : first + BATCH], contrasts, analysis)
        for one, true, chosen in zip(
            designs,
            (_assumed_at(truths, asked, size) for size in sizes),
            (seed.spawn(studies) for seed in seeds[:-1]),
            strict=True,
        )
        for first in range(0, studies, BATCH)
    ]
    results = []
    with Bar("Simulating studies", len(tasks), show=progressbar) as bar:
        for result in shared(analysed, tasks, cores, verb="plan"):
            results.append(result)
            bar.advance(1)
    numbers = np.concatenate(results).reshape(len(sizes), studies, len(quantities) + 1, len(COLUMNS))
    labels = [{**size, "rows_in_all": one.n} for size, one in zip(sizes, designs, strict=True)]
    rows = [
        {**label, "quantity": name, **_summary(numbers[s, :, k], numbers[s, :, -1, 0], values[k])}
        for s, label in enumerate(labels)
        for k, name in enumerate(quantities)
    ]
    return Plan(
        table=pd.DataFrame(rows),
        studies=_every_study(numbers, labels, quantities, values),
        axes=tuple(asked),
        design=design,
        how=how,
        ci_prob=ci_prob,
        count=studies,
        seconds=time.perf_counter() - started,
        is_uncertain=isinstance(source, Draws),
    )


def _truth(source: Any) -> Assumed:
    if isinstance(source, Assumed):
        return source
    if isinstance(getattr(source, "design", None), Design) and not hasattr(source, "values"):
        raise InputError(
            "plan(Model): a model says nothing about the size of effects. Assume them, "
            "model.assume(beta=..., sd=..., sigma=...), or give a fit of pilot data"
        )
    return assumed(source)


def _check(studies: int, how: str, ci_prob: float, draws: int) -> None:
    check_count("studies", studies)
    if studies > MOST_STUDIES:
        raise InputError(f"plan(studies={studies:,}): {MOST_STUDIES:,} at most, which leave an error of 0.0016")
    check_count("draws", draws)
    check_interval(ci_prob)
    if not is_one_of(how, KINDS):
        raise InputError(f"plan(how={how!r}): it is {', '.join(map(repr, KINDS))}")
    if how == "posterior" and draws < FEWEST_DRAWS:
        raise InputError(f"plan(draws={draws}): an interval of a posterior takes {FEWEST_DRAWS} draws at least")


def _quantities(design: Design, quantity: Any) -> tuple[list[str], Array, Array]:
    """Names, contrasts (k, p) and hypothesised values (k,)."""
    names = design.x_names
    if not names:
        raise InputError(f"plan: {design.formula.text!r} has no fixed effects that a study could find")
    if quantity is None:
        quantity = [name for name in names if name != "Intercept"] or list(names)
    texts = list(quantity) if isinstance(quantity, list | tuple) else [quantity]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(f"plan(quantity={quantity!r}): names of coefficients, or statements about them")
    compared = [text not in names and bool(RELATIONS.search(text)) for text in texts]
    statements = [
        parse(text if whole else f"{text} = 0", names, "plan") for text, whole in zip(texts, compared, strict=True)
    ]
    if any(len(statement) != 1 for statement in statements):
        raise InputError(f"plan(quantity={quantity!r}): one statement each, without commas and chains")
    L, r = linear([statement[0] for statement in statements], names, "plan")
    return texts, L, r + 0.0  # not -0.0


def _analysis(how: str, ddf: str | None, ci_prob: float, priors: Mapping[Any, Any] | None, draws: int) -> Analysis:
    if how != "posterior":
        if priors is not None:
            raise InputError(f"plan(priors=...): priors belong to how='posterior', not to how={how!r}")
        wald.method_of(ddf)
        return ByEstimates(restricted=how == "reml", ddf=ddf, ci_prob=ci_prob)
    settings = Settings(draws=-(-draws // 2), tune=500, chains=2, cores=1, progressbar=False)
    return ByPosterior(priors=priors or {}, settings=settings, ci_prob=ci_prob)


def _light(design: Design) -> Design:
    """What another process needs of a design: what the user's names stand for may be nothing that it can have."""
    return replace(design, scope=replace(design.scope, names={}))


def _truths(source: Any, truth: Assumed, studies: int, seed: np.random.SeedSequence) -> list[Truth]:
    if not isinstance(source, Draws):
        return [truth] * studies
    values = source.values
    beta, covariances = flat(values.beta), [flat(covariance) for covariance in values.covariances]
    family = {name: flat(value) for name, value in values.family.items()}
    chosen = np.random.default_rng(seed).choice(len(beta), size=studies, replace=studies > len(beta))
    return [
        Assumed(
            design=truth.design,
            beta=beta[s],
            covariances=tuple(covariance[s] for covariance in covariances),
            parameters={name: value[s] for name, value in family.items()},
        )
        for s in chosen
    ]


def _assumed_at(truths: list[Truth], asked: Sequence[Axis], size: Mapping[str, float]) -> list[Truth]:
    """The truths with the values of a size that are assumed."""
    given: dict[str, Any] = {}
    for axis in asked:
        if axis.of == PARAMETER:
            given[axis.variable] = size[axis.name]
        elif axis.of in ASSUMED:
            given.setdefault(axis.of, {})[axis.variable] = size[axis.name]
    if not given:
        return truths
    once = {id(truth): assumed(truth, **given) for truth in truths}  # a truth of all studies stays one object
    return [once[id(truth)] for truth in truths]


def _summary(study: Array, singular: Array, value: float) -> dict[str, float]:
    """The columns of one size and quantity, from (S, 5)."""
    count, done = len(study), np.isfinite(study[:, ESTIMATE])
    low, high, estimate, truth = (study[done, column] for column in (LOW, HIGH, ESTIMATE, TRUTH))
    significant = (low > value) | (high < value)
    power = significant.sum() / count
    effect, estimated = truth[significant] - value, estimate[significant] - value
    has_effect = effect != 0.0  # of no effect there is no sign, and no multiple
    signs = np.sign(estimate - value) == np.sign(truth - value)
    wilson_low, wilson_high = _wilson(power, count)
    return {
        "null": float(value),
        "truth": float(study[:, TRUTH].mean()),
        "power": float(power),
        "power_error": float(np.sqrt(power * (1.0 - power) / count)),
        "power_low": wilson_low,
        "power_high": wilson_high,
        "width": _mean(high - low),
        "coverage": _mean((low <= truth) & (truth <= high)),
        "right_sign": _mean(signs[truth != value]),
        "exaggeration": _mean(np.abs(estimated[has_effect]) / np.abs(effect[has_effect])),
        "mean": _mean(estimate),
        "sd": float(estimate.std(ddof=1)) if len(estimate) > 1 else np.nan,
        "singular": _mean(singular[done]),
        "failed": float(1.0 - done.mean()),
    }


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _wilson(share: float, count: int, z: float = 1.959963984540054) -> tuple[float, float]:
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def _every_study(
    numbers: Array, labels: Sequence[Mapping[str, float]], quantities: Sequence[str], values: Array
) -> pd.DataFrame:
    tables = []
    for s, label in enumerate(labels):
        for k, name in enumerate(quantities):
            study = numbers[s, :, k]
            table = pd.DataFrame({**label, "study": np.arange(1, len(study) + 1), "quantity": name})
            for column in (ESTIMATE, ERROR, LOW, HIGH, TRUTH):
                table[COLUMNS[column]] = study[:, column]
            table["null"] = values[k]
            table["significant"] = (study[:, LOW] > values[k]) | (study[:, HIGH] < values[k])
            tables.append(table)
    return pd.concat(tables, ignore_index=True)
