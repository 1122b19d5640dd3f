"""Posteriors with two modes: sceptical priors that the data contradict, judged by quadrature.

``python tests/modes.py --count 200 --seed 1`` draws so many priors and data sets: a predictor of groups, or two, or a
random slope; fixed effects, group sds and sigma with narrow and heavy-tailed priors. Every other one has its scale
chosen so that no mode has all the mass. The truth comes from grids over sigma, the sds and the effects, with explicit
formulas of this file. A mode is missed if it has more than 1 % of the mass, less than a third of that among the draws,
and the verdict is still "converged".
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from shifted import fixed_rng

import bayeslmm as blm

LEAST = 0.01  # of the mass: what counts as a mode
THIRD = 1.0 / 3.0  # of its mass among the draws: less is a miss
VALLEY = 0.7  # of the lower of two peaks: what parts them
INTERCEPT_SD = 10.0
SHAPES = ("one slope", "two slopes", "random slope")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Data, and priors as `scipy.stats` has them beside those of the package."""

    shape: str
    data: pd.DataFrame
    slopes: dict[str, tuple[float, float, float]]  # of each: degrees of freedom, center, scale
    sd: tuple[str, tuple[float, ...]]
    sigma: tuple[str, tuple[float, ...]]

    @property
    def formula(self):
        bar = "(w || g)" if self.shape == "random slope" else "(1 | g)"
        return f"y ~ {' + '.join(self.slopes)} + {bar}"

    @property
    def priors(self):
        return {
            "Intercept": blm.Prior("Normal", mu=0.0, sigma=INTERCEPT_SD),
            **{name: slope_prior(*values) for name, values in self.slopes.items()},
            "sd": positive_prior(*self.sd),
            "sigma": positive_prior(*self.sigma),
        }

    def log_prior(self, name, v):
        """Log density of a slope's prior."""
        nu, center, scale = self.slopes[name]
        return stats.norm.logpdf(v, center, scale) if np.isinf(nu) else stats.t.logpdf(v, nu, center, scale)


def slope_prior(nu, center, scale):
    if np.isinf(nu):
        return blm.Prior("Normal", mu=center, sigma=scale)
    if nu == 1.0:
        return blm.Prior("Cauchy", alpha=center, beta=scale)
    return blm.Prior("StudentT", nu=nu, mu=center, sigma=scale)


def positive_prior(name, values):
    words = {
        "HalfNormal": ("sigma",),
        "HalfCauchy": ("beta",),
        "HalfStudentT": ("nu", "sigma"),
        "Exponential": ("lam",),
        "Gamma": ("alpha", "beta"),
        "InverseGamma": ("alpha", "beta"),
        "LogNormal": ("mu", "sigma"),
    }[name]
    return blm.Prior(name, **dict(zip(words, values, strict=True)))


def positive_log_density(name, values, v):
    match name, values:
        case "HalfNormal", (scale,):
            return stats.halfnorm.logpdf(v, scale=scale)
        case "HalfCauchy", (scale,):
            return stats.halfcauchy.logpdf(v, scale=scale)
        case "HalfStudentT", (nu, scale):
            return np.log(2.0) + stats.t.logpdf(v, nu, scale=scale)
        case "Exponential", (rate,):
            return stats.expon.logpdf(v, scale=1.0 / rate)
        case "Gamma", (shape, rate):
            return stats.gamma.logpdf(v, shape, scale=1.0 / rate)
        case "InverseGamma", (shape, scale):
            return stats.invgamma.logpdf(v, shape, scale=scale)
        case _, (mean, sd):
            return stats.lognorm.logpdf(v, sd, scale=np.exp(mean))


def simulate(rng, index):
    """A case: what is drawn at random is listed in the table of docs/evidence.md."""
    shape = SHAPES[0] if index % 4 < 2 else SHAPES[index % 4 - 1]
    J = int(rng.choice([5, 6, 8, 12, 20, 40]))
    sizes = rng.integers(2, 9, J)
    g = np.repeat(np.arange(J), sizes)
    z = rng.normal(size=J)[g] if rng.uniform() < 0.5 else np.linspace(-1.5, 1.5, J)[g]
    v, w = rng.normal(size=J)[g], rng.normal(size=len(g))
    slope, other = rng.choice([0.3, 1.0, 2.0, 4.0]), rng.choice([0.0, 0.5, 2.0])
    tau, sigma = rng.choice([0.0, 0.1, 0.3, 1.0]), rng.choice([0.3, 1.0])
    y = slope * z + tau * rng.normal(size=J)[g] + sigma * rng.normal(size=len(g))
    slopes = {"z": (rng.choice([1.0, 3.0, 5.0, 30.0, np.inf]), 0.0, slope * 10.0 ** rng.uniform(-3.0, 0.3))}
    if shape == "two slopes":
        y = y + other * v
        slopes["v"] = (rng.choice([1.0, 3.0, 5.0]), 0.0, 10.0 ** rng.uniform(-3.0, 0.3))
    if shape == "random slope":
        y = y + (other + rng.choice([0.1, 0.5]) * rng.normal(size=J)[g]) * w
        slopes["w"] = (np.inf, 0.0, 5.0)
    data = pd.DataFrame({"y": y, "z": z, "v": v, "w": w, "g": [f"g{i:02d}" for i in g]})
    tight, narrow = rng.uniform(size=2) < 0.25
    return Case(
        shape=shape,
        data=data,
        slopes=slopes,
        sd=draw_positive(rng, 10.0 ** (rng.uniform(-2.5, -1.0) if tight else rng.uniform(-0.7, 0.7))),
        sigma=draw_positive(rng, sigma * 10.0 ** (rng.uniform(-1.5, -0.5) if narrow else rng.uniform(-0.3, 0.7))),
    )


def contradicted():
    """A slope of 2 over 12 groups, and a prior that puts it at 0.000 ± 0.003 unless its tail reaches: 71 % do."""
    rng, J, n = fixed_rng(1), 12, 6
    z, g = np.linspace(-1.5, 1.5, J), np.repeat(np.arange(J), n)
    y = 2.0 * z[g] + rng.normal(0.0, 0.25, J)[g] + rng.normal(size=J * n)
    return Case(
        shape=SHAPES[0],
        data=pd.DataFrame({"y": y, "z": z[g], "g": [f"g{i:02d}" for i in g]}),
        slopes={"z": (3.0, 0.0, 0.003)},
        sd=("HalfNormal", (2.0,)),
        sigma=("HalfNormal", (2.0,)),
    )


def draw_positive(rng, size):
    """A family whose values are about as large as ``size``."""
    name = rng.choice(["HalfNormal", "HalfCauchy", "HalfStudentT", "Exponential", "Gamma", "InverseGamma", "LogNormal"])
    values = {
        "HalfNormal": (size,),
        "HalfCauchy": (size,),
        "HalfStudentT": (3.0, size),
        "Exponential": (1.0 / size,),
        "Gamma": (2.0, 2.0 / size),
        "InverseGamma": (2.0, 2.0 * size),
        "LogNormal": (np.log(size), 0.7),
    }[name]
    return str(name), tuple(float(value) for value in values)


def balanced(case):
    """The case with that scale of the first prior which leaves the least to the heaviest mode."""
    nu, center, scale = case.slopes["z"]
    best, most = case, -1.0
    for times in 10.0 ** np.linspace(-1.5, 2.5, 9):
        changed = Case(
            shape=case.shape,
            data=case.data,
            slopes={**case.slopes, "z": (nu, center, scale * times)},
            sd=case.sd,
            sigma=case.sigma,
        )
        minor = max((min(m, 1.0 - m) for _, _, m in truth(changed, coarse=True).splits), default=0.0)
        if minor > most:
            best, most = changed, minor
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Marginal densities by quadrature, and where they part into modes."""

    grids: dict[str, tuple[np.ndarray, np.ndarray]]  # of each quantity: values, and the mass at each
    splits: list[tuple[str, float, float]]  # quantity, value between two modes, mass below it

    def below(self, name, value):
        values, mass = self.grids[name]
        return float(np.interp(value, values, np.cumsum(mass) - 0.5 * mass))


def truth(case, *, coarse=False):
    """Grids over log σ, the log sds and each slope in turn; a second slope through the mixture that is its prior."""
    grids = {}
    sceptical = [name for name, (_, _, scale) in case.slopes.items() if name != "w"]
    for name in sceptical[:1] if coarse else sceptical:
        grids |= quadrature(case, name, coarse=coarse)
    splits = [(name, *split) for name, (v, m) in grids.items() for split in valleys(v, m)]
    return Truth(grids=grids, splits=splits)


def valleys(values, mass):
    """(value, mass below) where a density falls to less than 0.7 of the peaks on either side, with 1 % on each."""
    width = np.gradient(coordinate(values))
    density = mass / width
    below = np.cumsum(mass)
    found = []
    left = np.maximum.accumulate(density)
    right = np.maximum.accumulate(density[::-1])[::-1]
    low = density < VALLEY * np.minimum(left, right)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], low.astype(int), [0]])))
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        at = first + int(np.argmin(density[first:end]))
        if LEAST < below[at] < 1.0 - LEAST:
            found.append((float(values[at]), float(below[at])))
    return found


def coordinate(values):
    """Positive quantities by their logs; slopes have grids on both sides of zero and stay."""
    return np.log(values) if values[0] > 0.0 else values


def quadrature(case, name, *, coarse):
    """Marginals of one slope, of σ and of the sds."""
    q = 2 if case.shape == "random slope" else 1
    sizes = (12, 20) if coarse else ((28, 110) if q == 1 else (16, 36))
    if len(case.slopes) > 1 and q == 1 and not coarse:
        sizes = (18, 52)  # and a dimension more
    sizes = (sizes[0], *(sizes[1],) * q)
    spread = float(np.std(case.data["y"]))
    ends = [(np.log(0.02 * spread), np.log(3.0 * spread)), *[(np.log(1e-5 * spread), np.log(30.0 * spread))] * q]
    values = spaced(case, name, 200 if coarse else 400)
    for trial in range(3):  # twice to see where the mass is
        axes = [np.linspace(*end, size) for end, size in zip(ends, sizes, strict=True)]
        last = trial == 2
        parts = integrate(case, name, axes, values, mixing=30 if last and not coarse else 16)
        if not coarse:  # as many points again where the mass is
            values = np.union1d(spaced(case, name, 400), crowded(*parts[:2], 150 if len(sizes) == 2 else 300))
        if last:
            break
        log_mass = parts[2]
        weight = np.exp(log_mass - log_mass.max())
        ends = []
        for k, axis in enumerate(axes):
            marginal = weight.sum(axis=tuple(i for i in range(weight.ndim) if i != k))
            kept = np.flatnonzero(marginal > 1e-7 * marginal.sum())
            step = axis[1] - axis[0]
            ends.append((axis[kept[0]] - step, axis[kept[-1]] + step))
    values, by_slope, log_mass = parts
    weight = np.exp(log_mass - log_mass.max())
    weight /= weight.sum()
    names = ["sigma", "sd"] if q == 1 else ["sigma", "sd", "sd of w"]
    grids = {name: (values, by_slope / by_slope.sum())}
    for k, (label, axis) in enumerate(zip(names, axes, strict=True)):
        grids[label] = np.exp(axis), weight.sum(axis=tuple(i for i in range(weight.ndim) if i != k))
    return grids


def spaced(case, name, count):
    """Values of a slope: as near to each other as they are to the prior's center, from far below its scale on."""
    _, center, scale = case.slopes[name]
    reach = 10.0 * np.std(case.data["y"]) / np.std(case.data[name])
    least = 0.3 * min(scale, 0.1 * reach)
    return center + least * np.sinh(np.linspace(-1.0, 1.0, count) * np.arcsinh(reach / least))


def crowded(values, mass, count):
    """Values of a slope that crowd where a first grid has found mass."""
    near = np.maximum(mass, np.maximum(np.append(mass[1:], 0.0), np.append(0.0, mass[:-1])))
    rate = np.cumsum((near / near.max()) ** 0.2)
    return np.interp(np.linspace(rate[0], rate[-1], count), rate, values)


def integrate(case, name, axes, s, *, mixing):
    """Values of the slope, mass at each, and the log mass at each point of the grid of log σ and log sds."""
    mesh = np.meshgrid(*axes, indexing="ij")
    shape = mesh[0].shape
    sigma, sds = np.exp(mesh[0].ravel()), np.exp(np.array([m.ravel() for m in mesh[1:]]).T)
    quadratic, log_det = products(case, [name, *(n for n in case.slopes if n != name)], sigma, sds)
    base = -0.5 * log_det + positive_log_density(*case.sigma, sigma) + np.log(sigma)
    for k in range(sds.shape[1]):
        base = base + positive_log_density(*case.sd, sds[:, k]) + np.log(sds[:, k])
    # the intercept, then the other slopes, are integrated out
    quadratic, base = out(quadratic, base, 0, INTERCEPT_SD**-2 * np.ones(1))
    others = [n for n in case.slopes if n != name]
    for other in others:
        nu, _, scale = case.slopes[other]
        if np.isinf(nu):
            quadratic, base = out(quadratic, base, 1, scale**-2 * np.ones(1))
            continue
        reach = 0.1 * np.std(case.data["y"]) / np.std(case.data[other])  # a slope as large has the variance's ω
        least = min(1e-7, 0.1 * (scale / reach) ** 2) if reach > scale else 1e-7
        u = np.linspace(np.log(least), np.log(stats.gamma.ppf(0.9999, nu / 2, scale=2 / nu)), mixing)
        omega = np.exp(u)
        prior = stats.gamma.logpdf(omega, nu / 2, scale=2 / nu) + u
        wide = np.broadcast_to(quadratic[:, None], (len(base), mixing, *quadratic.shape[1:]))
        quadratic, base = out(wide, base[:, None] + prior, 1, omega * scale**-2)
    # what is left: a, b, c of exp(−½(a s² − 2 b s + c))
    a, b, c = quadratic[..., 0, 0], quadratic[..., 0, 1], quadratic[..., 1, 1]
    log_width = np.log(np.gradient(s)) + case.log_prior(name, s)
    flat = [v.reshape(-1) for v in (a, b, c + -2.0 * base)]
    top = np.max(-0.5 * (flat[2] - flat[1] ** 2 / flat[0]))
    by_slope, by_point = np.zeros(len(s)), np.empty(len(flat[0]))
    for first in range(0, len(by_point), 2000):
        a, b, c = (v[first : first + 2000, None] for v in flat)
        mass = np.exp(np.clip(-0.5 * (a * s**2 - 2.0 * b * s + c) - top, -700, 700) + log_width)
        by_slope += mass.sum(axis=0)
        by_point[first : first + 2000] = mass.sum(axis=1)
    by_point = by_point.reshape(len(sigma), -1).sum(axis=1)
    with np.errstate(divide="ignore"):
        return s, by_slope, np.log(by_point).reshape(shape)


def products(case, names, sigma, sds):
    """[1 X y]ᵀV⁻¹[1 X y] and log|V| (with n log 2π) at each σ (G,) and sds (G, q)."""
    data = case.data
    columns = [np.ones(len(data)), *(data[n] - data[n].mean() for n in names), data["y"]]
    A = np.column_stack(columns)
    Z = np.column_stack([np.ones(len(data)), *(data[n] for n in ["w"] if sds.shape[1] > 1)])
    total, log_det = np.zeros((len(sigma), A.shape[1], A.shape[1])), np.zeros(len(sigma))
    for group in data["g"].unique():
        rows = (data["g"] == group).to_numpy()
        a, z = A[rows], Z[rows]
        inner = np.eye(z.shape[1]) * (sigma**2)[:, None, None] + sds[:, :, None] * (z.T @ z) * sds[:, None, :]
        right = sds[:, :, None] * (z.T @ a)
        total += (a.T @ a - right.swapaxes(1, 2) @ np.linalg.solve(inner, right)) / (sigma**2)[:, None, None]
        log_det += np.linalg.slogdet(inner)[1] + 2.0 * (rows.sum() - z.shape[1]) * np.log(sigma)
    return total, log_det + len(data) * np.log(2.0 * np.pi)


def out(quadratic, base, k, precision):
    """Integrate the k-th coefficient out against a normal prior with mean zero."""
    pivot = quadratic[..., k, k] + precision
    rest = [i for i in range(quadratic.shape[-1]) if i != k]
    row = quadratic[..., k, rest]
    left = quadratic[..., rest, :][..., rest] - row[..., :, None] * row[..., None, :] / pivot[..., None, None]
    return left, base + 0.5 * (np.log(precision) - np.log(pivot))


def draws_of(post, case):
    names = list(post.design.x_names)
    beta = post.draws("beta")
    found = {name: beta[..., names.index(name)] for name in case.slopes if name != "w"}
    sd = post.draws("sd_g")
    found |= {"sigma": post.draws("sigma"), "sd": sd[..., 0]}
    return found | ({"sd of w": sd[..., 1]} if sd.shape[-1] > 1 else {})


def judge(case, post, known):
    """What the draws make of the modes; ``known`` is the truth."""
    drawn = {name: np.ravel(values) for name, values in draws_of(post, case).items()}
    converged = post.diagnosis.converged
    minor = least = 1.0
    minor = 0.0
    for name, value, below in known.splits:
        share = float(np.mean(drawn[name] < value))
        for mass, of_draws in ((below, share), (1.0 - below, 1.0 - share)):
            least = min(least, of_draws / mass)
        minor = max(minor, min(below, 1.0 - below))
    # the largest difference of distribution functions, over quantiles of the truth
    off = 0.0
    for name, (values, mass) in known.grids.items():
        below = np.cumsum(mass) - 0.5 * mass
        places = np.interp([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99], below, values)
        off = max(off, *(abs(np.mean(drawn[name] < p) - known.below(name, p)) for p in places))
    return {
        "shape": case.shape,
        "bimodal": bool(known.splits),
        "minor": minor,
        "converged": converged,
        "least": least,
        "off": off,
        "missed": converged and least < THIRD,
    }


def study(count, seed, *, method="exact", every=1, report=lambda text: None):
    """One row a case, and what was missed in words."""
    rows, failures = [], []
    for i, own in enumerate(np.random.SeedSequence(seed).spawn(count)):
        if i % every:
            continue
        case = simulate(np.random.default_rng(own), i)
        if i % 8 < 6:
            case = balanced(case)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            begin = time.perf_counter()
            post = blm.Model(case.formula, case.data, priors=case.priors).fit(
                method=method, random_seed=i, cores=1, progressbar=False
            )
            seconds = time.perf_counter() - begin
        known = truth(case)
        row = {**judge(case, post, known), "index": i, "seconds": seconds, "verdict": post.verdict}
        rows.append(row)
        report(f"{row}")
        if row["missed"]:
            failures.append(f"case {i} of seed {seed}: {row}; {case.slopes}, {case.sd}, {case.sigma}; {known.splits}")
            report(failures[-1])
    return pd.DataFrame(rows), failures


def table(rows):
    """By shape: how many have two modes, how many are missed, and how far distribution functions are off."""
    by = []
    for shape, each in rows.groupby("shape", sort=False):
        sound = each[each["converged"]]
        by.append(
            {
                "shape": shape,
                "posteriors": len(each),
                "two modes": int(each["bimodal"].sum()),
                "converged": len(sound),
                "doubtful": len(each) - len(sound),
                "missed": int(each["missed"].sum()),
                "off by, median": float(sound["off"].median()),
                "off by, largest": float(sound["off"].max()),
            }
        )
    return pd.DataFrame(by)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="priors and data sets (200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--exact", type=int, default=1, help="one in so many by the exact sampler (1); 0: none")
    parser.add_argument("--nuts", type=int, default=7, help="one in so many by method='nuts' as well (7); 0: none")
    parser.add_argument("--verbose", action="store_true", help="a line for each")
    options = parser.parse_args()
    missed = []
    for method, every in (("exact", options.exact), ("nuts", options.nuts)):
        if not every:
            continue
        begin = time.perf_counter()
        rows, failures = study(
            options.count,
            options.seed,
            method=method,
            every=every,
            report=lambda text: print(text, flush=True) if options.verbose else None,
        )
        missed += failures
        print(f"\nmethod={method!r}, seed {options.seed}, {time.perf_counter() - begin:.0f} s")
        print(table(rows).to_string(index=False, float_format=lambda v: f"{v:.3f}"))
        print(f"a fit took {rows['seconds'].median():.2f} s (median)", flush=True)
    print("\n".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
