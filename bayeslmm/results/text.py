"""Paragraphs and tables as text of at most 80 columns where names allow it, as HTML, Markdown and LaTeX."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..tools.columns import WIDTH, line_width, side_by_side, terminal_width, wrapped_lines
from ..tools.frame import short
from ..tools.html import html_table

LONGEST_CELL = 200


@dataclass(frozen=True, slots=True)
class Table:
    """Aligned cells: the first ``left`` columns flush left, the others flush right.

    In a terminal too narrow for a line of them columns stand below each other, and ``starts`` are those that go on in
    the next block, so that what belongs together stays so.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    title: str = ""
    starts: tuple[int, ...] = ()

    def __str__(self) -> str:
        cells = [[row[c] for row in (self.headers, *self.rows)] for c in range(len(self.headers))]
        text = side_by_side(cells, self.left, self.starts, terminal_width())
        return f"{self.title}\n{text}" if self.title else text

    def tabulated(self, style: str) -> str:
        """The same by the library tabulate, in one of its styles."""
        from tabulate import tabulate

        sides = ["left" if c < self.left else "right" for c in range(len(self.headers))]
        bar = r"\|" if style == "pipe" else "|"  # a bar in a cell would end it
        headers, *rows = ([cell.lstrip(" ").replace("|", bar) for cell in row] for row in (self.headers, *self.rows))
        aligned = {"colalign": sides} if rows else {}  # tabulate 0.9 has no columns without rows
        return tabulate(rows, headers, tablefmt=style, disable_numparse=True, **aligned)

    def html(self) -> str:
        """The same as an HTML table."""
        return html_table(self.headers, self.rows, self.left, self.title)


@dataclass(frozen=True, slots=True)
class Text:
    """Paragraphs and tables that print as aligned text, and as HTML in a notebook."""

    blocks: tuple[str | Table, ...]

    @classmethod
    def of(cls, *blocks: str | Table | None) -> Text:
        """The given blocks; None stands for one that does not apply."""
        return cls(tuple(block for block in blocks if block))

    def __str__(self) -> str:
        width = min(line_width(), WIDTH)
        return "\n\n".join(
            wrapped_lines(block, width) if isinstance(block, str) else str(block) for block in self.blocks
        )

    def __repr__(self) -> str:
        return str(self)

    def to_markdown(self) -> str:
        """The same as Markdown with pipe tables."""
        parts = []
        for block in self.blocks:
            if isinstance(block, str):
                parts.append(block.replace("\n", "  \n"))
                continue
            parts += [f"**{block.title}**"] if block.title else []
            parts.append(block.tabulated("pipe"))
        return "\n\n".join(parts)

    def to_latex(self) -> str:
        """The same as LaTeX, for the package booktabs."""
        parts = []
        for block in self.blocks:
            if isinstance(block, str):
                parts.append(" \\\\\n".join(_latex(line) for line in block.split("\n")))
                continue
            parts += [_latex(block.title)] if block.title else []
            parts.append(block.tabulated("latex_booktabs").translate(_LATEX_LETTERS))
        # two letters or digits in a row are one formula: $\\tau$$_0$$_0$ is $\\tau_{00}$
        text = re.sub(r"\$_(\d)\$\$_(\d)\$", r"$_{\1\2}$", "\n\n".join(parts))
        return text.replace("$$", "")

    def _repr_html_(self) -> str:
        parts = (
            f"<p>{html.escape(block).replace(chr(10), '<br>')}</p>" if isinstance(block, str) else block.html()
            for block in self.blocks
        )
        return f"<div style='line-height:1.35'>{''.join(parts)}</div>"


_LATEX_LETTERS = str.maketrans(
    {
        "σ": r"$\sigma$",
        "τ": r"$\tau$",
        "ρ": r"$\rho$",
        "±": r"$\pm$",
        "≤": r"$\le$",
        "≥": r"$\ge$",
        "²": r"$^2$",
        "|": r"\textbar{}",
    }
    | {digit: f"$_{n}$" for n, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")}
)


def _latex(line: str) -> str:
    """A line of a remark or a title; tabulate does the same for the cells of a table."""
    from tabulate import LATEX_ESCAPE_RULES

    rules = str.maketrans({**LATEX_ESCAPE_RULES, "\\": r"\textbackslash{}"})
    return line.translate(rules).translate(_LATEX_LETTERS)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: int = 1,
    title: str = "",
    starts: tuple[int, ...] = (),
) -> Table:
    """A `Table` of any sequences; line breaks and endless names of levels would tear it."""
    cells = [tuple(short(cell, LONGEST_CELL) for cell in row) for row in (headers, *rows)]
    return Table(cells[0], tuple(cells[1:]), left, title, starts)


def decimals(uncertainty: float, *, significant: int = 3, most: int = 6) -> int:
    """Decimals that show an uncertainty to this many significant digits."""
    if not np.isfinite(uncertainty) or uncertainty <= 0.0:
        return 3
    return int(np.clip(significant - 1 - np.floor(np.log10(uncertainty)), 0, most))


def number(value: float, uncertainty: float | None = None, *, digits: int = 4) -> str:
    """A number with digits that its uncertainty justifies, or with so many significant digits."""
    if not np.isfinite(value):
        return "-"
    small = abs(value) if uncertainty is None else uncertainty
    if 0.0 < small < 1e-4:  # more decimals than anyone reads
        return f"{value:.2e}"
    if uncertainty is not None:
        return f"{value:.{decimals(uncertainty)}f}"
    return f"{value:.{decimals(abs(value), significant=digits)}f}"


def percent(p: float) -> str:
    """A probability as a percentage."""
    return f"{100.0 * p:.4g}%"


def probability(p: float) -> str:
    """A p-value: four decimals, or two digits where that would be too few."""
    if not np.isfinite(p):
        return ""
    if p < 2.2e-16:
        return "<2e-16"
    return f"{p:.4f}" if p >= 0.001 else f"{p:.2g}"
