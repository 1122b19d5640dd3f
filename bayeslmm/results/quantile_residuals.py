"""Residuals that are standard normal for every family, if the model is right.

With one draw of all unknowns from their posterior, u_i = F(y_i | η_i, parameters) are independent and uniform under
the model, whatever was learnt from the data (Johnson 2007), and z_i = Φ⁻¹(u_i) standard normal. Where y is discrete F
jumps, and u_i is drawn uniformly from the jump (Dunn & Smyth 1996). For normal responses z is (y − η)/sd.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from ..design.design import Design
from ..tools.arrays import Array


def quantile_residuals(
    design: Design, eta: Array, parameters: Mapping[str, Array], *, rng: Generator, residual: Array | None = None
) -> Array:
    """Normal scores of the observed responses.

    Parameters
    ----------
    design : Design
        Of n rows.
    eta : (S, n)
        Linear predictor of each draw, offset included.
    parameters : mapping
        Of the family, as `Family.along` has them: they broadcast against ``eta``; cutpoints (S, K − 1).
    rng : numpy.random.Generator
        Places discrete responses within the jumps of F.
    residual : (S, d + r), optional
        Draws of the parameters of residuals besides sigma; without them the design's estimates.

    Returns
    -------
    (S, n)

    Examples
    --------
    >>> import numpy as np
    >>> from bayeslmm.design.build import build_design
    >>> import pandas as pd
    >>> design = build_design("y ~ 1", pd.DataFrame({"y": [1.0, 3.0]}))
    >>> rng = np.random.default_rng(1)
    >>> quantile_residuals(design, np.array([[1.0, 1.0]]), {"sigma": np.array([[2.0]])}, rng=rng)
    array([[0., 1.]])
    """
    family, (y, trials) = design.family, design.ends
    values = {name: np.asarray(value) for name, value in parameters.items()}
    if "sigma" in values and design.weights is not None:
        values["sigma"] = values["sigma"] / np.sqrt(design.weights)
    relative = None if residual is None else design.relative_variances(residual)
    if relative is not None:
        values["sigma"] = values["sigma"] * np.sqrt(relative)
    with np.errstate(all="ignore"):
        scores = family.normal_scores(y, eta, values, trials, rng)
    if design.residual is not None and design.residual.is_correlated:
        structure = design.residual.structure
        if residual is not None:
            arguments = zip(scores, residual, strict=True)
            return np.array([structure.decorrelated(z[:, None], values)[:, 0] for z, values in arguments])
        return np.ascontiguousarray(structure.decorrelated(scores.T).T)
    return scores
