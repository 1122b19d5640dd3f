r"""A model and its priors as equations, in plain text and in LaTeX.

A column has one number throughout: in ``y ~ a + x + (x | g)`` the effect b₂ of a group is what it adds to β₂.
Normal(m, s) and its relatives take a mean and an *sd*; Normal(0, Σ) takes a covariance matrix.  The LaTeX keeps to
what MathJax, KaTeX and amsmath have in common: names stand in ``\text{}``, where MathJax knows no commands, so
characters that TeX would read as its own stand between two of these.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ..covariances import Structure
from ..design.design import Design, GroupTerm
from ..design.names import LOG_RATIO, RHO
from ..design.priors import LKJ, SET, Priors, ResolvedPrior
from ..terms.wide import WideTerm

WIDTH = 100  # columns of a printed line
LATEX_WIDTH = 80  # characters that a reader sees in a typeset line
WIDEST_LEFT = 40  # of a left side that other lines are aligned with
MOST_LISTED = 6  # effects of a block, levels of a response, before dots
_GREEK = {
    "beta": "β",
    "delta": "δ",
    "epsilon": "ε",
    "eta": "η",
    "gamma": "γ",
    "mu": "μ",
    "nu": "ν",
    "phi": "φ",
    "rho": "ρ",
    "sigma": "σ",
    "Sigma": "Σ",
    "tau": "τ",
}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_TEX = {"\\": r"\backslash ", "^": r"{\wedge}", "~": r"{\sim}"} | {c: "\\" + c for c in "_%&#{}$"}
_TO_LATEX = (  # of the templates below; spaces between factors first, while operators are no letters
    (r" ⊗ ", r" \\otimes "),
    (r"\^(\|[^|]*\|)", r"^{\1}"),
    (r"(?<=[\w)]) (?=[\w(%])", r"\\, "),
    (r"√(%s|\w+)", r"\\sqrt{\1}"),
    (r"mean\(%s\)", r"\\overline{%s}"),
    ("⁻¹", "^{-1}"),
    ("²", "^2"),
    ("≤", r"\\le"),
    ("…", r"\\dots"),
    (r"(?<!\\)\b[A-Za-z][a-zA-Z-]+", r"\\text{\g<0>}"),
    *((letter, rf"\\{name}") for name, letter in _GREEK.items()),
)
_SIGNATURES = {  # parameters that may go without their names, as everyone writes them in this order
    "Normal": "mu sigma",
    "LogNormal": "mu sigma",
    "StudentT": "nu mu sigma",
    "Cauchy": "alpha beta",
    "Laplace": "mu b",
    "HalfNormal": "sigma",
    "HalfStudentT": "nu sigma",
    "HalfCauchy": "beta",
    "Exponential": "lam",
    "Gamma": "alpha beta",
    "InverseGamma": "alpha beta",
    "Beta": "alpha beta",
    "Uniform": "lower upper",
}


@dataclass(frozen=True, slots=True, repr=False)
class Equations:
    """A model and its priors, written out; a notebook shows them typeset.

    Attributes
    ----------
    paragraphs : tuple of tuples of (str, str)
        Lines of LaTeX, left and right of where they are aligned.
    plain : str
        The same for a terminal, at most 100 columns wide where names allow it.
    """

    paragraphs: tuple[tuple[tuple[str, str], ...], ...]
    plain: str

    @property
    def latex(self) -> str:
        """An ``aligned`` environment, to stand inside display mathematics."""
        paragraphs = (" \\\\\n".join(f"{a} &{b}" for a, b in lines) for lines in self.paragraphs)
        return f"\\begin{{aligned}}\n{' \\\\[8pt]\n'.join(paragraphs)}\n\\end{{aligned}}"

    def __str__(self) -> str:
        return self.plain

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex}\n$$"

    def _repr_html_(self) -> str:
        """MathML, which browsers show by themselves, and the LaTeX to copy."""
        rows = "".join(
            f"<tr style='background:none'>{_html_side(left, 'right', k)}{_html_side(right, 'left', k)}</tr>"
            for paragraph in self.paragraphs
            for k, (left, right) in enumerate(paragraph)
        )
        return (
            f"<table class='mathematics' style='border-collapse:collapse;font-size:1.05em'>{rows}</table>"
            f"<details><summary>LaTeX</summary><pre>{escape(self.latex)}</pre></details>"
        )


def _html_side(latex: str, side: str, line: int) -> str:
    """One side of a line as a cell; the first line of a paragraph stands off."""
    space = "0.7em" if line == 0 else "0.1em"
    # the converter copies \text{} as it is, and a column may be called <script>
    mathml = _mathml(latex.replace("<", "&lt;").replace(">", "&gt;"))
    return f"<td style='text-align:{side};padding:{space} 2px 0.1em;border:0'>{mathml}</td>"


def _mathml(latex: str) -> str:
    from latex2mathml.converter import convert

    # empty before a relation, and space after ~: at the start of a cell it would stand close to what follows
    return str(convert(rf"{{}} {latex}".replace(r"\sim ", r"\sim \; ", 1))) if latex else ""


@dataclass(frozen=True, slots=True)
class _Math:
    """A piece of mathematics in both notations."""

    plain: str
    latex: str


@dataclass(frozen=True, slots=True)
class _Line:
    """``left ~ term + term``, or with ``=``, and what is to be said beside it."""

    left: _Math
    relation: str
    terms: Sequence[_Math]
    notes: Sequence[_Math] = ()


# -- words of the two notations


def _write(template: str, *parts: _Math) -> _Math:
    """Plain text with a ``%s`` for every part, and its LaTeX."""
    latex = template
    for pattern, replacement in _TO_LATEX:
        latex = re.sub(pattern, replacement, latex)
    return _Math(template % tuple(part.plain for part in parts), latex % tuple(part.latex for part in parts))


def _join(separator: str, parts: Iterable[_Math]) -> _Math:
    parts = list(parts)
    return _Math(separator.join(part.plain for part in parts), separator.join(part.latex for part in parts))


def _listed(parts: Sequence[_Math]) -> _Math:
    """``a, b, c``, with dots where there are many."""
    return _join(", ", parts if len(parts) <= MOST_LISTED else [*parts[:2], _write("…"), parts[-1]])


def _words(text: str) -> _Math:
    return _Math(text, rf"\text{{{text}}}")


def _name(text: object) -> _Math:
    """A name from the data."""
    plain = re.sub(r"\s+", " ", str(text))
    pieces = [piece for piece in re.split(r"([\\^~_%&#{}$])", plain) if piece]
    latex = "".join(_TEX.get(piece, rf"\text{{{piece}}}") for piece in pieces)
    return _Math(plain, latex if len(pieces) == 1 else f"{{{latex}}}")


def _at_row(text: str) -> _Math:
    """A variable in row i; in parentheses where its name has a space outside of brackets."""
    outside, changed = text, 1
    while changed:
        outside, changed = re.subn(r"\([^()]*\)|\[[^\[\]]*\]", "", outside)
    return _write("(%s)_i" if " " in outside else "%s_i", _name(text))


def _symbol(letter: str, number: int | None = None, group: str = "", *, row: bool = False) -> _Math:
    """β₁, b₁[school], b₁[school_i], Σ[school]; a longer name that is no Greek letter stands as it is."""
    plain = _GREEK.get(letter, letter)
    latex = rf"\{letter}" if letter in _GREEK else letter if len(letter) == 1 else _name(letter).latex
    latex = rf"\boldsymbol{{{latex}}}" if letter in ("D", "R", "Sigma") else latex
    below = []
    if number is not None:
        plain, below = plain + str(number).translate(_SUBSCRIPTS), [str(number)]
    if group:
        plain += f"[{(_at_row(group) if row else _name(group)).plain}]"
        below.append(_name(group).latex + "[i]" * row)
    return _Math(plain, f"{latex}_{{{','.join(below)}}}" if below else latex)


def _number(value: float) -> _Math:
    """Three significant digits, or all before the point."""
    text = f"{value:.0f}" if 999.5 <= abs(value) < 1e6 else f"{value:.3g}"
    mantissa, e, exponent = text.partition("e")
    power = int(exponent) if e else 0
    return _Math(f"{mantissa}e{power}", rf"{mantissa} \times 10^{{{power}}}") if e else _Math(text, text)


# -- the model


def equations(design: Design, priors: Priors) -> Equations:
    """Write a model and its priors as equations.

    Parameters
    ----------
    design : Design
    priors : Priors
        Those of this design.

    Returns
    -------
    Equations

    Examples
    --------
    >>> import pandas as pd
    >>> from bayeslmm.design.build import build_design
    >>> from bayeslmm.design.priors import resolve_priors
    >>> data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": ["a", "a", "b", "b"]})
    >>> design = build_design("y ~ (1 | g)", data)
    >>> equations(design, resolve_priors(design))
    y_i ~ Normal(μ_i, σ)   (i = 1, …, 4)
    μ_i = β₀ + b₀[g_i]
    <BLANKLINE>
    b₀[g] ~ Normal(0, τ₀[g])   (for each of the 2 levels of g)
    <BLANKLINE>
       β₀ ~ Normal(2.5, 3.23)
    τ₀[g] ~ Half-Student-t(3, 1.29)
        σ ~ Half-Student-t(3, 1.29)
    """
    columns = [*design.x_names, *(name for group in design.every_group for name in group.columns)]
    number = {name: k for k, name in enumerate(dict.fromkeys(["Intercept", *columns]))}
    random = [line for group in design.every_group for line in _effects(group, number)]
    prior = [line for entry in priors.entries for line in _prior_lines(design, number, entry)]
    prior += [
        _Line(_symbol(name), "=", [_write("%s", _number(value))], [_words("fixed")])
        for name, value in design.family.fixed
    ]
    of_mean = [] if design.family.is_nominal else [_predictor(design, number)]
    first = [_response(design), *of_mean, *_residuals(design), *_parameters(design, number)]
    sections = [s for s in (first, random, prior) if s]
    return Equations(paragraphs=_typeset(sections), plain=_printed(sections))


def _response(design: Design) -> _Line:
    """The distribution of the response."""
    family, y, variable = design.family, _at_row(design.response), _symbol("sigma")
    notes = [_write(f"i = 1, …, {design.n}")]
    if design.bounds is not None:
        notes.append(_words("of censored rows the probability of what is known stands in place of the density"))
    if design.likelihood_weights is not None:
        notes.append(_words(f"each density to the power {design.formula.weights_text}"))
    if family.is_nominal:
        levels_in_words = _join(", ", [_name(level) for level in design.levels])
        softmax = _write("exp(μ_ik) / Σ_j exp(μ_ij)")
        notes += [
            _join("", [_words("k = "), levels_in_words]),
            _join("", [_write("μ_ik = 0"), _words(" of "), _name(design.levels[0])]),
        ]
        return _Line(_write("P(%s = k)", y), "=", [softmax], notes)
    if family.has_categories:
        levels = _listed([_name(level) for level in design.levels[:-1]])
        scales = sorted(family.parameters_by_row)
        inner = f"(cutpoint_k - η_i) / {_by_row(design, scales[0])}" if scales else "cutpoint_k - η_i"
        cumulative = _write(f"{family.link}⁻¹({inner})")
        return _Line(_write("P(%s ≤ k)", y), "=", [cumulative], [*notes, _write("k = %s", levels)])
    if (design.residual is not None and design.residual.n_spread) or "sigma" in design.predictors:
        variable = _write("%s_i", variable)
    if design.se is not None:
        variable = _at_row(design.se or "se")
        notes.append(_join("", [variable, _words(": known standard errors")]))
    elif design.prior_weights is not None:
        variable = _write("%s/√w_i", variable)
        notes.append(_join("", [_write("w_i"), _words(": weights")]))
    if family.is_binary and design.levels:
        notes += [_join("", [_words(f"{k}: "), _name(design.levels[k])]) for k in (1, 0)]
    if family.has_trials:
        y, variable = _counts(design)
    if family.variance_in_words:
        notes.append(_join("", [_words("variance "), _write(_by_row(design, family.variance_in_words))]))
    template = _by_row(design, family.distribution)
    return _Line(y, "~", [_write(template, *[variable] * template.count("%s"))], notes)


def _by_row(design: Design, template: str) -> str:
    """Words in which a parameter that has a linear predictor is that of row i."""
    for name in design.predictors:
        template = re.sub(rf"\b{_GREEK.get(name, name)}\b", f"{_GREEK.get(name, name)}_i", template)
    return template


def _parameters(design: Design, number: dict[str, int]) -> list[_Line]:
    """The linear predictors of parameters of the family."""
    lines = []
    for name, part in design.predictors.items():
        terms = [
            _symbol("gamma", k, name)
            if term == "Intercept"
            else _write("%s %s", _symbol("gamma", k, name), _at_row(term))
            for k, term in enumerate(part.x_names)
        ]
        terms += [_at_row(offset.label) for offset in part.recipe.offsets]
        terms += [term for group in part.groups for term in _terms_of(group, number)]
        left = _write("μ_i[%s]", _name(part.category)) if part.category else _write(f"{part.link}(%s_i)", _symbol(name))
        lines.append(_Line(left, "=", terms))
    return lines


def _residuals(design: Design) -> list[_Line]:
    """The sd and the correlation of residuals that have more than sigma."""
    part = design.residual
    if part is None:
        return []
    lines, sigma = [], _symbol("sigma")
    if part.n_spread:
        terms = [_write("log(%s)", sigma)]
        terms += [
            _write("%s %s", _symbol("delta", k + 1), _at_row(label))
            for k, label in enumerate(part.labels[: part.n_spread])
        ]
        lines.append(_Line(_write("log(%s_i)", sigma), "=", terms))
    correlation = part.structure.correlation
    if correlation is not None:
        note = _join("", [_words("i and j of one "), _name(part.group), _words("; else 0")])
        entry = _write(correlation.entry)
        lines.append(_Line(_write("cor(ε_i, ε_j)"), "=", [entry], [note]))
    return lines


def _counts(design: Design) -> tuple[_Math, _Math]:
    """Successes and trials in row i, of ``p(successes, trials)`` or of proportions with trials as weights."""
    atom, trials = design.formula.response_atom, _at_row("trials")
    quoted = re.findall("`([^`]+)`", atom.text)
    code = re.sub("`[^`]+`", "quoted_name_", atom.text)
    tree = None if atom.is_name else ast.parse(code, mode="eval").body
    if not (isinstance(tree, ast.Call) and ast.unparse(tree.func) in ("p", "prop", "proportion")):
        return _write("%s %s", trials, _at_row(design.response)), trials
    names = iter(quoted)
    arguments = [*tree.args, *(keyword.value for keyword in tree.keywords)]
    texts = [re.sub("quoted_name_", lambda _: next(names), ast.unparse(value)) for value in arguments]
    written = [
        _name(text) if isinstance(value, ast.Constant) else _at_row(text)
        for value, text in zip(arguments, texts, strict=True)
    ]
    by_name = [keyword.arg for keyword in tree.keywords] == ["trials", "successes"]
    return (written[1], written[0]) if by_name else (written[0], written[1])


def _predictor(design: Design, number: dict[str, int]) -> _Line:
    """The link of the mean to fixed part, offset and random effects."""
    terms = [_times(_symbol("beta", number[name]), name) for name in design.x_names]
    if np.any(design.offset):
        terms += [_at_row(offset.label) for offset in design.recipe.offsets]
        terms += [_at_row("offset")] * design.recipe.offset_given_as_array
    terms += [term for group in design.groups for term in _terms_of(group, number)]
    link = design.family.link
    left = {"identity": "%s", "inverse": "1/%s", "sqrt": "√%s"}.get(link, f"{link}(%s)")
    mean = _write(design.family.mean_symbol)
    left_side = _write(left, mean) if design.family.has_mean else _write("η_i")
    return _Line(left_side, "=", terms or [_write("0")])


def _times(coefficient: _Math, column: str) -> _Math:
    return coefficient if column == "Intercept" else _write("%s %s", coefficient, _at_row(column))


def _terms_of(group: GroupTerm, number: dict[str, int]) -> list[_Math]:
    """What a term adds to a linear predictor."""
    if isinstance(group, WideTerm) and group.kind == "smooth":
        return [_at_row(group.name)]
    if isinstance(group, WideTerm) and group.kind == "multi-membership":
        return [
            _times(_write("Σ_k w_ik %s", _symbol("b", number[column], f"{group.name}_ik")), column)
            for column in group.columns
        ]
    return [_times(_symbol("b", number[column], group.name, row=True), column) for column in group.columns]


def _wide_effects(g: WideTerm, number: dict[str, int]) -> list[_Line]:
    """The distribution of the effects of a wide term."""
    tau = _symbol("tau", number[g.columns[0]], g.name)
    if g.kind == "smooth":
        basis = _write("Σ_j B_ij u_j")
        how = [_words(f"{g.n_levels} columns of the penalised basis"), _write("u_j ~ Normal(0, %s)", tau)]
        return [_Line(_at_row(g.name), "=", [basis], how)]
    if g.q > 1:
        return _related_vectors(g, number)
    b = _symbol("b", number[g.columns[0]], g.name)
    if g.kind == "relationship matrix":
        name, inverse = _matrix_of(g)
        note = [_words(f"together for the {g.n_levels} levels of "), _name(g.name)]
        return [_Line(b, "~", [_write(f"Normal(0, %s² %s{inverse})", tau, name)], [_join("", note)])]
    notes = [_join("", [_words(f"for each of the {g.n_levels} levels of "), _name(g.name)])]
    return [_Line(b, "~", [_write("Normal(0, %s)", tau)], notes)]


def _matrix_of(g: WideTerm) -> tuple[_Math, str]:
    """What the matrix of related levels is called, and whether its inverse is meant."""
    matrix = re.search(r"(?:cov|prec)=`?([^`)]+)", g.texts[0])
    return _name(matrix[1].strip() if matrix else "A"), "⁻¹" if "prec=" in g.texts[0] else ""


def _related_vectors(g: WideTerm, number: dict[str, int]) -> list[_Line]:
    """The distribution of several effects a level, of levels that are related or of which a row meets several."""
    ((columns, which, structure),) = _blocks(g)
    if g.kind != "relationship matrix":
        for_each = [_join("", [_words(f"for each of the {g.n_levels} levels of "), _name(g.name)])]
        return _vector(g, columns, which, structure, number, for_each)
    name, inverse = _matrix_of(g)
    together = [_join("", [_words(f"together for the {g.n_levels} levels of "), _name(g.name)])]
    return _vector(g, columns, which, structure, number, together, times=_write(f"%s{inverse} ⊗ ", name))


def _blocks(group: GroupTerm) -> list[tuple[list[str], int | None, Structure]]:
    """The columns of every block, its number where several blocks have correlations, and its structure."""
    parts = list(group.template.parts())
    wide = [block for block, structure in parts if structure.n_correlations(len(block))]
    several = wide if len(wide) > 1 else []
    return [
        ([group.columns[k] for k in block], several.index(block) + 1 if block in several else None, structure)
        for block, structure in parts
    ]


def _effects(group: GroupTerm, number: dict[str, int]) -> list[_Line]:
    """The distribution of the random effects of one grouping factor."""
    if isinstance(group, WideTerm):
        return _wide_effects(group, number)
    for_each = [_join("", [_words(f"for each of the {group.n_levels} levels of "), _name(group.name)])]
    lines = []
    for columns, which, structure in _blocks(group):
        b, tau = ([_symbol(letter, number[column], group.name) for column in columns] for letter in ("b", "tau"))
        if structure.hom:
            tau = [_symbol("tau", None, group.name)] * len(columns)
        if not structure.n_correlations(len(columns)):
            for effect, scale in zip(b, tau, strict=True):
                lines.append(_Line(effect, "~", [_write("Normal(0, %s)", scale)], for_each))
            continue
        lines += _vector(group, columns, which, structure, number, for_each)
    return lines


def _vector(
    group: GroupTerm,
    columns: list[str],
    which: int | None,
    structure: Structure,
    number: dict[str, int],
    notes: list[_Math],
    times: _Math | None = None,
) -> list[_Line]:
    """Correlated effects of a level, and their covariance matrix; ``times`` stands before it."""
    b, tau = ([_symbol(letter, number[column], group.name) for column in columns] for letter in ("b", "tau"))
    if structure.hom:
        tau = [_symbol("tau", None, group.name)] * len(columns)
    Sigma, R, D = (_symbol(letter, which, group.name) for letter in ("Sigma", "R", "D"))
    short = _listed([_symbol("b", number[column]) for column in columns]).plain
    vector = _Math(f"({short})[{_name(group.name).plain}]", rf"({_listed(b).latex})^{{\top}}")
    scales = _write("%s = diag(%s)", D, _listed(tau))
    covariance = Sigma if times is None else _join("", [times, Sigma])
    lines = [_Line(vector, "~", [_write("Normal(%s, %s)", _Math("0", r"\mathbf{0}"), covariance)], notes)]
    if structure.hom:
        lines.append(_Line(Sigma, "=", [_write("%s² %s", tau[0], R)]))
    else:
        lines.append(_Line(Sigma, "=", [_write("%s %s %s", D, R, D)], [scales]))
    if not structure.is_free:
        plain, latex = structure.entry
        rho = _symbol("rho", which, group.name)
        entry = _Math(plain % rho.plain, latex % rho.latex)
        lines.append(_Line(_write("%s[k, l]", R), "=", [entry], [_write("k ≠ l")]))
    return lines


# -- its priors


def _prior_lines(design: Design, number: dict[str, int], entry: ResolvedPrior) -> list[_Line]:
    """One line; for correlations one for every block that has them."""
    right, kind = [_distribution(entry)], entry.kind
    where = f" at {entry.at}" if entry.at else ""
    if kind == "cor":
        blocks = next(_blocks(group) for group in design.every_group if group.name == entry.group)
        lines = []
        for columns, which, structure in blocks:
            if structure.is_free and len(columns) > 1:
                R = _symbol("R", which, entry.group)
                lines.append(_Line(R, "~", right, [_words("correlation matrix" + where)]))
            elif structure.n_correlations(len(columns)):
                low, high = map(_number, structure.interval(len(columns)))
                assert isinstance(entry.prior, LKJ)
                beta = _write("Beta(%s, %s)", *[_number(entry.prior.eta)] * 2)
                rho = _symbol("rho", which, entry.group)
                lines.append(_Line(rho, "~", [beta], [_write("stretched over (%s, %s)", low, high)]))
        return lines
    if kind == LOG_RATIO and design.residual is not None:
        return [_Line(_symbol("delta", design.residual.labels.index(entry.term) + 1), "~", right)]
    if kind == RHO:
        return [_prior_of_correlation(design, entry, right)]
    if kind == "coef":
        part = design.predictors[entry.group]
        k, centred = part.x_names.index(entry.term), entry.term == "Intercept" and len(part.x_names) > 1
        notes = [_words("at the means of the predictors")] * centred
        return [_Line(_symbol("gamma", k, entry.group), "~", right, notes)]
    if kind not in ("Intercept", "cutpoint"):
        letter = {"fixed": "beta", "sd": "tau"}.get(kind, kind)
        note = [_words(f"of the intercepts{where}")] if entry.at else []
        return [_Line(_symbol(letter, number.get(entry.term), entry.group), "~", right, note)]
    # what an intercept, or cutpoints, are where the predictors have their means
    slopes = [name for name in design.x_names if name != "Intercept"]
    first, plus = (_symbol("beta", 0), " + ") if kind == "Intercept" else (_write("cutpoint_k"), " - ")
    left = _join(
        plus, [first, *(_write("%s mean(%s)", _symbol("beta", number[slope]), _name(slope)) for slope in slopes)]
    )
    if len(left.plain) > WIDEST_LEFT:
        total = _Math("Σⱼ βⱼ mean(xⱼ)", r"\textstyle\sum_j \beta_j\, \overline{x}_j")
        left = _join(plus, [first, total])
    notes = [_words("increasing with k")] * (kind == "cutpoint")
    return [_Line(left, "~", right, notes + [_words("at the means of the predictors")] * bool(slopes))]


def _prior_of_correlation(design: Design, entry: ResolvedPrior, right: list[_Math]) -> _Line:
    """The prior of the correlations of residuals: LKJ of a matrix, Beta of a single one on what it may be."""
    part = design.residual
    assert part is not None
    assert isinstance(entry.prior, LKJ)
    if part.structure.correlation is not None and part.structure.correlation.of_levels:
        return _Line(_write("R"), "~", right, [_words("correlation matrix of residuals")])
    beta = _write("Beta(%s, %s)", *[_number(entry.prior.eta)] * 2)
    return _Line(
        _symbol("rho"), "~", [beta], [_words(f"stretched: {entry.reason}" if entry.reason != SET else "stretched")]
    )


def _distribution(entry: ResolvedPrior) -> _Math:
    prior = entry.prior
    if isinstance(prior, LKJ):
        return _write("LKJ(%s)", _number(prior.eta))
    half = prior.name == "Flat" and entry.kind not in ("Intercept", "fixed", "cutpoint")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", "Half" * half + prior.name).replace("Student-T", "Student-t")
    if prior.name.endswith("Flat"):
        return _words(f"{name} (improper)")
    values = {key: _number(value) for key, value in prior.params}
    order = _SIGNATURES.get(prior.name, "").split()
    named = [_write("%s=%s", _name(key), value) for key, value in values.items()]
    inside = [values[key] for key in order] if set(order) == set(values) else named
    return _write("%s(%s)", _words(name), _join(", ", inside))


# -- on the page


def _broken(line: _Line, width: int) -> list[_Math]:
    """The sum on the right in lines of this many characters to read."""
    lines = [line.terms[0]]
    for term in line.terms[1:]:
        if len(lines[-1].plain) + 3 + len(term.plain) <= width:
            lines[-1] = _write("%s + %s", lines[-1], term)
        else:
            lines.append(_write("+ %s", term))
    return lines


def _printed(sections: Sequence[Sequence[_Line]]) -> str:
    """Relations one below the other in every paragraph."""
    paragraphs = []
    for section in sections:
        width = max((len(s.left.plain) for s in section if len(s.left.plain) <= WIDEST_LEFT), default=0)
        rows = []
        for s in section:
            start = f"{s.left.plain:>{width}} {s.relation} "
            right = [piece.plain for piece in _broken(s, WIDTH - len(start))]
            rows += [start + right[0], *(" " * (width + 3) + more for more in right[1:])]
            note = f"   ({_join('; ', s.notes).plain})" if s.notes else ""
            if len(rows[-1]) + len(note) <= WIDTH:
                rows[-1] += note
            else:
                rows.append(" " * width + note)
        paragraphs.append("\n".join(rows))
    return "\n\n".join(paragraphs)


def _typeset(sections: Sequence[Sequence[_Line]]) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Lines in two parts; broken sums go on with an indent."""
    paragraphs = []
    for section in sections:
        rows: list[tuple[str, str]] = []
        for s in section:
            first, *more = [piece.latex for piece in _broken(s, LATEX_WIDTH - len(s.left.plain))]
            relation = "=" if s.relation == "=" else r"\sim"
            rows += [(s.left.latex, f"{relation} {first}"), *(("", rf"\quad {{}} {each}") for each in more)]
            if s.notes:
                left, right = rows[-1]
                rows[-1] = (left, rf"{right} \qquad ({_join(r';\quad ', s.notes).latex})")
        paragraphs.append(tuple(rows))
    return tuple(paragraphs)
