"""Columns of text side by side while a line has room for them, the others below."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence

WIDTH = 80  # of a line where no terminal says another
GAP = 2  # characters between columns
LONGEST_LINE = 40  # characters of a cell of text


def line_width() -> int:
    """Characters of a line: the terminal's, or those of one that is not known."""
    return terminal_width() or WIDTH


def terminal_width() -> int | None:
    """Characters of a line of the terminal that is printed to. None for a file, a pipe or a page, which do not wrap."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else None


def wrapped_lines(paragraph: str, width: int) -> str:
    """A paragraph whose lines are no longer than this, but for words that are; what goes on is indented."""
    return "\n".join(
        textwrap.fill(line, width=width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in paragraph.split("\n")
    )


def wrapped_columns(columns: Sequence[Sequence[str]], longest: int = LONGEST_LINE) -> list[list[list[str]]]:
    """Cells, column by column, as lines of at most so many characters."""
    return [[textwrap.wrap(cell, longest) or [""] for cell in column] for column in columns]


def widths_of(wrapped: Sequence[Sequence[Sequence[str]]]) -> list[int]:
    """The longest line of every column."""
    return [max(len(line) for cell in column for line in cell) for column in wrapped]


def side_by_side(
    columns: Sequence[Sequence[str]], left: int, starts: Collection[int] = (), width: int | None = None
) -> str:
    """Headers and cells, column by column, of which the first ``left`` are flush left and say which row it is.

    A width of None is one without an end. Where it is too narrow, long cells are broken, words in the last column take
    the room that is left, and columns that have none stand below, those of ``starts`` with what follows them.
    """
    lines = [[[cell] for cell in column] for column in columns]
    if width is not None and sum(widths_of(lines)) + GAP * (len(columns) - 1) > width:
        lines = wrapped_columns(columns, min(LONGEST_LINE, (width - GAP) // 2))
        room = width - sum(widths_of(lines)[:-1]) - GAP * (len(columns) - 1)
        if left == len(columns) and room >= LONGEST_LINE // 2:
            lines[-1:] = wrapped_columns(columns[-1:], room)
    widths = widths_of(lines)
    labels = range(1) if left == len(columns) else range(left)
    blocks = blocks_of(widths, sys.maxsize if width is None else width, labels, starts=starts)
    return "\n\n".join(aligned(lines, widths, block, range(left)) for block in blocks)


def blocks_of(
    widths: Sequence[int], width: int, labels: Sequence[int], gap: int = GAP, starts: Collection[int] = ()
) -> list[list[int]]:
    """Columns that fit in a line, block by block; in later ones after the labels of rows, or the first of many.

    Where all do not fit in one line, those of ``starts`` begin a block of their own.
    """
    repeated = list(labels) if sum(widths[k] + gap for k in labels) <= width / 2 else list(labels[:1])
    fits = sum(widths) + gap * (len(widths) - 1) <= width
    blocks: list[list[int]] = [[]]
    for c in range(len(widths)):
        block = blocks[-1]
        is_full = sum(widths[k] + gap for k in block) + widths[c] > width or (not fits and c in starts)
        if len(block) > len(repeated) and is_full:
            blocks.append([*repeated, c])
        else:
            block.append(c)
    return blocks


def aligned(
    wrapped: Sequence[Sequence[Sequence[str]]], widths: Sequence[int], block: Sequence[int], left: Collection[int]
) -> str:
    """The columns of a block below their headers: those of ``left`` flush left, the others flush right."""
    lines = []
    for r in range(len(wrapped[0])):
        for k in range(max(len(wrapped[column][r]) for column in block)):
            texts = [(wrapped[column][r][k] if k < len(wrapped[column][r]) else "", column) for column in block]
            cells = [text.ljust(widths[c]) if c in left else text.rjust(widths[c]) for text, c in texts]
            lines.append((" " * GAP).join(cells).rstrip())
    return "\n".join(lines)
