"""What is known around the modes of a point fit of categories: how they move, and draws of the effects given the data.

`bayeslmm.engine.working` stands for other fits by a normal model of one linear predictor; here there are several.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..design.design import Design
from ..tools.arrays import Array
from . import pls
from .laplace import Inner
from .laplace_categories import CategoryApproximation
from .laplace_fit import coordinates
from .reml import PointSolution


def _at(design: Design, solution: PointSolution) -> tuple[CategoryApproximation, list[Array], Inner]:
    """The approximation at the parameters of a solution, Λ̃ and the modes there."""
    about = CategoryApproximation(design)
    psi = coordinates(about, solution)
    psi = psi if not solution.reml else np.concatenate([about.first_beta, psi[-about.n_theta or len(psi) :]])
    return about, about.lams(about.split(psi)[1]), about.at(psi)[2]


def mode_slopes(design: Design, solution: PointSolution) -> Sequence[Array]:
    """How the modes (J, q) of every category's bars move with the fixed effects of all (J, q, p)."""
    about, lams, inner = _at(design, solution)
    slopes = pls.mode_slopes(about.curved(inner, lams))  # of u, by scaled coefficients
    back = np.linalg.inv(about.T_x)
    to_user = [T @ lam for T, lam in zip(about.T_z, lams, strict=True)]
    return about.of_bars([np.einsum("ab,jbp->jap", L, s) @ back for L, s in zip(to_user, slopes, strict=True)])


def conditional_draws(design: Design, solution: PointSolution, noise: Array) -> Sequence[Array]:
    """Effects (S, J, q) of every category's bars given data and estimates, from standard normal numbers (S, m)."""
    about, lams, inner = _at(design, solution)
    reduced = about.curved(inner, lams)
    modes = about.alone.by_factor(inner.u)
    around = pls.spherical_noise(reduced, noise)
    to_user = [T @ lam for T, lam in zip(about.T_z, lams, strict=True)]
    return [
        np.moveaxis(effect, -1, 0)
        for effect in about.of_bars(
            [np.einsum("ab,jbs->jas", L, u[:, :, None] + z) for L, u, z in zip(to_user, modes, around, strict=True)]
        )
    ]
