"""The model in plain text and LaTeX: every family, every shape of random part, names that TeX would trip over."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from plain import FAMILIES

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.design.priors import LKJ, Prior, flat, resolve_priors
from bayeslmm.families import family_of
from bayeslmm.results.equations import WIDTH, Equations, equations

N = 60
COMMAND = re.compile(r"\\[A-Za-z]+|\\.", re.DOTALL)
KNOWN = (
    r"\begin \end \text \sim \quad \qquad \dots \top \mathbf \boldsymbol \sqrt \overline \sum \textstyle \le \times "
    r"\wedge \backslash \beta \eta \mu \nu \phi \sigma \Sigma \tau \\ \, \_ \% \& \# \{ \} \$"
).split()


def frame():
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "y": rng.normal(10.0, 2.0, N),
            "count": rng.poisson(3.0, N),
            "positive": rng.gamma(3.0, 1.0, N),
            "share": rng.uniform(0.1, 0.9, N),
            "passed": rng.choice(["fail", "pass"], N),
            "zero_one": rng.integers(0, 2, N),
            "rating": pd.Categorical(
                rng.choice(["low", "mid", "high"], N), categories=["low", "mid", "high"], ordered=True
            ),
            "size": 12,
            "x": rng.normal(size=N),
            "z": rng.normal(size=N),
            "w": rng.uniform(1.0, 2.0, N),
            "shift": rng.normal(size=N),
            "f": rng.choice(["a", "b", "c"], N),
            "school": np.repeat(list("stuvwx"), N // 6),
            "class": np.tile(["1", "2"], N // 2),
            "rater": np.tile(list("klmno"), N // 5),
        }
    )


def check_latex(latex):
    """Braces and environments close in order, nothing but known commands, one alignment mark a row."""
    bare = COMMAND.sub("", latex)
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        assert depth >= 0, latex
    assert depth == 0, latex
    assert re.findall(r"\\(begin|end)\{(\w+)\}", latex) == [("begin", "aligned"), ("end", "aligned")]
    assert set(COMMAND.findall(latex)) <= set(KNOWN), set(COMMAND.findall(latex)) - set(KNOWN)
    for row in re.split(r"\\\\(?:\[8pt\])?\n", latex):
        assert COMMAND.sub("", row).count("&") == 1, row
    assert "\n\n" not in latex and not re.search(r"[%#$~]", bare)
    for text in re.findall(r"\\text\{([^{}]*)\}", latex):  # MathJax reads no commands in there
        assert not re.search(r"[\\_%&#$^~]", text), text


def written(formula, data=None, *, family="gaussian", link=None, priors=None, **options):
    data = frame() if data is None else data
    design = build_design(formula, data, family=family_of(family, link), **options)
    result = equations(design, resolve_priors(design, priors))
    check_latex(result.latex)
    assert all(len(line) <= WIDTH for line in result.plain.splitlines()), result.plain
    return result


def paragraphs(result):
    return [[line.strip() for line in part.splitlines()] for part in result.plain.split("\n\n")]


@pytest.mark.parametrize(
    "bad",
    [
        r"\begin{aligned}a &= {b\end{aligned}",
        r"\begin{aligned}a = b\end{aligned}",
        r"\begin{aligned}a &= \nosuch\end{aligned}",
        r"\begin{aligned}a &= \text{b\_c}\end{aligned}",
        r"\begin{aligned}a &= b",
        r"\begin{aligned}a &= 1 % b\end{aligned}",
    ],
)
def test_the_check_of_latex_can_fail(bad):
    with pytest.raises(AssertionError):
        check_latex(bad)


PAIRS = {
    # family: (left of ~, its distribution, link line's left, last lines of the priors, the distribution in LaTeX)
    "gaussian": ("y", "y_i ~ Normal(μ_i, σ)", "μ_i", ["σ ~ Half"], r"\text{Normal}(\mu_i, \sigma)"),
    "student_t": (
        "y",
        "y_i ~ Student-t(ν, μ_i, σ)",
        "μ_i",
        ["σ ~ Half", "ν ~ Gamma(2, 0.1)"],
        r"\text{Student-t}(\nu, \mu_i, \sigma)",
    ),
    "lognormal": (
        "positive",
        "positive_i ~ Log-Normal(μ_i, σ)",
        "μ_i",
        ["σ ~ Half"],
        r"\text{Log-Normal}(\mu_i, \sigma)",
    ),
    "bernoulli": ("zero_one", "zero_one_i ~ Bernoulli(p_i)", "logit(p_i)", [], r"\text{Bernoulli}(p_i)"),
    "binomial": (
        "p(count, size)",
        "count_i ~ Binomial(size_i, p_i)",
        "logit(p_i)",
        [],
        r"\text{Binomial}(\text{size}_i, p_i)",
    ),
    "poisson": ("count", "count_i ~ Poisson(μ_i)", "log(μ_i)", [], r"\text{Poisson}(\mu_i)"),
    "negbinomial": (
        "count",
        "count_i ~ Negative-Binomial(μ_i, shape)",
        "log(μ_i)",
        ["shape ~ Log-Normal(2, 1.5)"],
        r"\text{Negative-Binomial}(\mu_i, \text{shape})",
    ),
    "gamma": (
        "positive",
        "positive_i ~ Gamma(shape, shape/μ_i)",
        "log(μ_i)",
        ["shape ~ Log-Normal(1.5, 2)"],
        r"\text{Gamma}(\text{shape}, \text{shape}/\mu_i)",
    ),
    "beta": (
        "share",
        "share_i ~ Beta(μ_i φ, (1 - μ_i) φ)",
        "logit(μ_i)",
        ["φ ~ Log-Normal(3, 1.5)"],
        r"\text{Beta}(\mu_i\, \phi, (1 - \mu_i)\, \phi)",
    ),
    "ordinal": (
        "rating",
        "P(rating_i ≤ k) = logit⁻¹(cutpoint_k - η_i)",
        "η_i",
        ["cutpoint_k - β₁ mean(x) ~ Normal(0, 2.5)"],
        r"P(\text{rating}_i \le k) &= \text{logit}^{-1}(\text{cutpoint}_k - \eta_i)",
    ),
}


def test_every_family_is_tested():
    assert set(PAIRS) == set(FAMILIES)


@pytest.mark.parametrize("family", PAIRS)
def test_family(family):
    response, distribution, left, last, latex = PAIRS[family]
    result = written(f"{response} ~ x + (1 | school)", family=family)
    model, random, priors = paragraphs(result)
    assert model[0].startswith(distribution + "   (i = 1, …, 60")
    intercept = "" if family == "ordinal" else "β₀ + "
    assert model[1] == f"{left} = {intercept}β₁ x_i + b₀[school_i]"
    assert random == ["b₀[school] ~ Normal(0, τ₀[school])   (for each of the 6 levels of school)"]
    shown = [line for line in priors if not re.match(r"β|τ", line)]
    assert len(shown) == len(last) and all(a.startswith(b) for a, b in zip(shown, last, strict=True))
    assert latex in result.latex


@pytest.mark.parametrize(
    ("family", "link", "left", "latex"),
    [
        ("gaussian", "log", "log(μ_i) =", r"\text{log}(\mu_i) &="),
        ("gamma", "inverse", "1/μ_i =", r"1/\mu_i &="),
        ("gamma", "identity", "μ_i =", "\n" + r"\mu_i &="),
        ("poisson", "sqrt", "√μ_i =", r"\sqrt{\mu_i} &="),
        *(
            ("bernoulli", link, f"{link}(p_i) =", rf"\text{{{link}}}(p_i) &=")
            for link in ("probit", "cloglog", "cauchit")
        ),
        ("ordinal", "probit", "P(rating_i ≤ k) = probit⁻¹(", r"\text{probit}^{-1}("),
    ],
)
def test_links(family, link, left, latex):
    response = {"gaussian": "positive", "gamma": "positive"}.get(family, PAIRS[family][0])
    result = written(f"{response} ~ x + (1 | school)", family=family, link=link)
    assert any(line.startswith(left) for line in paragraphs(result)[0])
    assert latex in result.latex


def test_categories_are_named():
    result = written("passed ~ x + (1 | school)", family="bernoulli")
    assert "(i = 1, …, 60; 1: pass; 0: fail)" in result.plain
    ordinal = written("rating ~ x + (1 | school)", family="ordinal")
    assert "(i = 1, …, 60; k = low, mid)" in ordinal.plain
    assert "increasing with k" in ordinal.plain


@pytest.mark.parametrize(
    ("response", "trials"),
    [
        ("p(count, 20)", "20"),
        ("p(count, `size`)", "size_i"),
        ("prop(count, size + 1)", "(size + 1)_i"),
        ("p(trials=size, successes=count)", "size_i"),
    ],
)
def test_trials(response, trials):
    result = written(f"{response} ~ x + (1 | school)", family="binomial")
    assert result.plain.lstrip().startswith(f"count_i ~ Binomial({trials}, p_i)")


def test_proportions_with_trials_as_weights():
    data = frame().assign(rate=lambda d: d["count"] / d["size"])
    result = written("rate ~ x + (1 | school)", data, family="binomial", weights="size")
    assert "trials_i rate_i ~ Binomial(trials_i, p_i)" in result.plain


def test_correlated_effects():
    result = written("y ~ x + (x | school)")
    model, random, priors = paragraphs(result)
    assert model[1] == "μ_i = β₀ + β₁ x_i + b₀[school_i] + b₁[school_i] x_i"
    assert random[0].startswith("(b₀, b₁)[school] ~ Normal(0, Σ[school])")
    assert random[1].startswith("Σ[school] = D[school] R[school] D[school]")
    assert "D[school] = diag(τ₀[school], τ₁[school])" in random[1]
    assert "R[school] ~ LKJ(2)   (correlation matrix)" in priors
    assert r"b_{1,\text{school}[i]}\, \text{x}_i" in result.latex
    assert r"\boldsymbol{R}_{\text{school}} &\sim \text{LKJ}(2)" in result.latex


def test_independent_effects():
    result = written("y ~ x + (x || school)")
    _, random, _ = paragraphs(result)
    assert [line.split("   ")[0] for line in random] == [
        "b₀[school] ~ Normal(0, τ₀[school])",
        "b₁[school] ~ Normal(0, τ₁[school])",
    ]
    assert "LKJ" not in result.plain + result.latex and "Σ" not in result.plain


def test_two_correlated_blocks_are_told_apart():
    result = written("y ~ x + (x | school) + (0 + z + w | school)", priors={"cor": LKJ(1.5)})
    _, random, priors = paragraphs(result)
    assert random[2].startswith("(b₂, b₃)[school] ~ Normal(0, Σ₂[school])")
    assert [line.split("   ")[0] for line in priors if "LKJ" in line] == [
        "R₁[school] ~ LKJ(1.5)",
        "R₂[school] ~ LKJ(1.5)",
    ]


def test_a_column_keeps_its_number():
    result = written("y ~ z + x + (0 + x | school) + (0 + w | rater)")
    assert "β₁ z_i + β₂ x_i + b₂[school_i] x_i + b₃[rater_i] w_i" in result.plain


def test_nested_and_crossed_groups():
    nested = written("y ~ x + (1 | school/class)")
    assert "+ b₀[school_i] + b₀[school:class_i]" in nested.plain
    assert "b₀[school:class] ~ Normal(0, τ₀[school:class])   (for each of the 12 levels" in nested.plain
    assert r"b_{0,\text{school:class}[i]}" in nested.latex
    crossed = written("y ~ x + (1 | school) + (1 | rater)")
    assert "b₀[school_i] + b₀[rater_i]" in crossed.plain
    assert "τ₀[rater] ~ Half-Student-t(3," in crossed.plain


def test_weights_divide_the_variance():
    for family, start in (("gaussian", "Normal(μ_i, "), ("student_t", "Student-t(ν, μ_i, ")):
        result = written("y ~ x + (1 | school)", family=family, weights="w")
        assert f"y_i ~ {start}σ/√w_i)" in result.plain
        assert r"\sigma/\sqrt{w_i})" in result.latex
    assert "w_i" not in written("y ~ x + (1 | school)").plain


def test_offset():
    result = written("count ~ x + offset(np.log(size)) + (1 | school)", family="poisson", offset="shift")
    assert "β₀ + β₁ x_i + np.log(size)_i + shift_i + b₀[school_i]" in result.plain
    given = written("y ~ x + (1 | school)", offset=frame()["shift"].to_numpy())
    assert "β₁ x_i + offset_i + b₀" in given.plain
    zero = written("y ~ x + (1 | school)", offset=np.zeros(N))
    assert "offset" not in zero.plain


def test_intercept():
    without = written("y ~ 0 + x + (1 | school)")
    assert "μ_i = β₁ x_i + b₀[school_i]" in without.plain
    assert "mean" not in without.plain and "β₀" not in without.plain
    assert "β₀ + β₁ mean(x) ~ Normal(" in written("y ~ x + (1 | school)").plain
    alone = written("y ~ 1 + (1 | school)")
    assert re.search(r"^ *β₀ ~ Normal\(", alone.plain, re.MULTILINE) and "mean" not in alone.plain
    assert "μ_i = b₀[school_i]" in written("y ~ 0 + (1 | school)").plain
    assert "η_i = 0" in written("rating ~ 1", family="ordinal").plain


def test_no_groups():
    assert len(paragraphs(written("y ~ x"))) == 2


def test_many_coefficients_are_all_there_in_broken_lines():
    result = written("y ~ f * x * z + (f | school)")
    model = result.plain.split("\n\n")[0].splitlines()
    assert len(model) > 2 and all(line.startswith("      + ") for line in model[2:])
    for k in range(12):
        below = str(k).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
        assert re.search(rf"β{below}(?![₀-₉])", "\n".join(model))
        assert rf"\beta_{{{k}}}" in result.latex
    assert "β₀ + Σⱼ βⱼ mean(xⱼ) ~ Normal(" in result.plain
    assert "&\\quad {} + \\beta" in result.latex
    assert all(len(re.sub(r"\\[A-Za-z]+|[{}\\&]", "", row)) < 130 for row in result.latex.splitlines())


def test_exponents_and_notes_are_whole():
    sleep = blm.load_dataset("sleepstudy")
    model = blm.Model("Reaction ~ Days + (1 | Subject)", sleep, residual="ar1(Days | Subject)")
    assert r"\rho^{|t_i - t_j|}" in model.equations().latex
    assert r";\quad" in blm.Model("y ~ 1", {"y": [0, 1, 4, 0, 2, 0]}, family="zero_inflated_poisson").equations().latex


def test_names_that_tex_would_trip_over():
    data = frame().rename(columns={"y": "outcome_1 (%)", "x": "a & b", "school": "my_school #2", "z": "größe"})
    data["path\\to{~^$}"] = data["w"]
    formula = "`outcome_1 (%)` ~ `a & b` + größe + `path\\to{~^$}` + (größe | `my_school #2`)"
    result = written(formula, data)
    assert "(a & b)_i" in result.plain and "größe_i" in result.plain
    assert "outcome_1 (%)" in result.plain and "b₀[(my_school #2)_i]" in result.plain
    assert r"{\text{outcome}\_\text{1 (}\%\text{)}}" in result.latex
    assert r"({\text{a }\&\text{ b}})_i" in result.latex
    assert r"{\text{path}\backslash \text{to}\{{\sim}{\wedge}\$\}}" in result.latex
    assert r"b_{0,{\text{my}\_\text{school }\#\text{2}}[i]}" in result.latex


def test_priors_of_the_user():
    chosen = {
        "Intercept": flat(),
        "x": Prior("StudentT", sigma=2.5, nu=3, mu=0),
        "z": Prior("Normal", sigma=0.00012),
        ("sd", "school"): flat(),
        "sigma": Prior("Gamma", mu=3, sigma=12345.6),
    }
    result = written("y ~ x + z + (1 | school)", priors=chosen)
    priors = [line.split("   ")[0] for line in paragraphs(result)[-1]]
    assert priors == [
        "β₀ + β₁ mean(x) + β₂ mean(z) ~ Flat (improper)",
        "β₁ ~ Student-t(3, 0, 2.5)",
        "β₂ ~ Normal(sigma=0.00012)",
        "τ₀[school] ~ Half-Flat (improper)",
        "σ ~ Gamma(mu=3, sigma=12346)",
    ]


@pytest.mark.parametrize(
    ("value", "plain", "latex"),
    [
        (6.8765, "6.88", "6.88"),
        (-0.5, "-0.5", "-0.5"),
        (999.7, "1000", "1000"),
        (12345.6, "12346", "12346"),
        (2.34e7, "2.34e7", r"2.34 \times 10^{7}"),
        (1.2e-6, "1.2e-6", r"1.2 \times 10^{-6}"),
    ],
)
def test_numbers(value, plain, latex):
    result = written("y ~ 0 + x + (1 | school)", priors={"x": Prior("Normal", mu=value, sigma=1)})
    assert f"β₁ ~ Normal({plain}, 1)" in result.plain
    assert f"({latex}, 1)" in result.latex


def test_what_a_terminal_and_a_notebook_show():
    result = written("y ~ x + (1 | school)")
    assert str(result) == repr(result) == result.plain
    assert result._repr_latex_() == f"$$\n{result.latex}\n$$"
    with pytest.raises(AttributeError):
        result.plain = ""
    assert isinstance(result, Equations) and not hasattr(result, "__dict__")
