"""Residuals that are standard normal for every family, if the model is right.

With one draw of all unknowns from their posterior, u_i = F(y_i | η_i, parameters) are independent and uniform under
the model, whatever was learnt from the data (Johnson 2007), and z_i = Φ⁻¹(u_i) standard normal. Where y is discrete F
jumps, and u_i is drawn uniformly from the jump (Dunn & Smyth 1996). For normal responses z is (y − η)/sd.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import special, stats

from ..spec.design import Design
from ..spec.family import Family

Array = NDArray[np.float64]

FARTHEST = 8.0  # of a residual: doubles know no probability nearer to one


def quantile_residuals(
    design: Design, eta: Array, parameters: Mapping[str, Array], *, rng: Generator
) -> Array:
    """Normal scores of the observed responses.

    Parameters
    ----------
    design : Design
        Of n rows.
    eta : (S, n)
        Linear predictor of each draw, offset included.
    parameters : mapping
        Of the family, (S,); cutpoints (S, K − 1).
    rng : numpy.random.Generator
        Places discrete responses within the jumps of F.

    Returns
    -------
    (S, n)

    Examples
    --------
    >>> import numpy as np
    >>> from bayeslmm.spec.design import build_design
    >>> import pandas as pd
    >>> design = build_design("y ~ 1", pd.DataFrame({"y": [1.0, 3.0]}))
    >>> rng = np.random.default_rng(1)
    >>> quantile_residuals(design, np.array([[1.0, 1.0]]), {"sigma": np.array([2.0])}, rng=rng)
    array([[0., 1.]])
    """
    own = {name: np.asarray(value)[..., None] for name, value in parameters.items()}
    y, family = design.y, design.family
    if "sigma" in own and design.weights is not None:
        own["sigma"] = own["sigma"] / np.sqrt(design.weights)
    if family.name in ("gaussian", "lognormal"):
        away = np.log(y) - eta if family.name == "lognormal" else y - family.mean(eta)
        return away / own["sigma"]
    with np.errstate(all="ignore"):
        if family.name == "ordinal":
            below, upto = _categories(family, y, eta, parameters["cutpoint"])
        else:
            below, upto = _distribution(design, family.mean(eta), own)
    u = below + rng.random(eta.shape) * (upto - below)
    return np.clip(special.ndtri(u), -FARTHEST, FARTHEST)


def _distribution(design: Design, mean: Array, own: Mapping[str, Array]) -> tuple[Array, Array]:
    """P(Y < y) and P(Y ≤ y), which are one for continuous responses."""
    y = design.y
    match design.family.name:
        case "student_t":
            upto = stats.t.cdf((y - mean) / own["sigma"], own["nu"])
        case "gamma":
            upto = stats.gamma.cdf(y, own["shape"], scale=mean / own["shape"])
        case "beta":
            upto = stats.beta.cdf(y, mean * own["phi"], (1.0 - mean) * own["phi"])
        case "poisson":
            return stats.poisson.cdf(y - 1.0, mean), stats.poisson.cdf(y, mean)
        case "negbinomial":
            shape = own["shape"]
            p = shape / (shape + mean)
            return stats.nbinom.cdf(y - 1.0, shape, p), stats.nbinom.cdf(y, shape, p)
        case _:  # bernoulli, binomial
            trials = np.ones(design.n) if design.trials is None else design.trials
            return stats.binom.cdf(y - 1.0, trials, mean), stats.binom.cdf(y, trials, mean)
    return upto, upto


def _categories(family: Family, y: Array, eta: Array, cutpoints: Array) -> tuple[Array, Array]:
    edges = np.pad(cutpoints, ((0, 0), (1, 1)), constant_values=((0, 0), (-np.inf, np.inf)))
    k = y.astype(np.int64)
    return family.mean(edges[:, k] - eta), family.mean(edges[:, k + 1] - eta)
