"""Tables as HTML that needs no style sheet: a notebook has its own, and a page may have none."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence

LONGEST_LINE = 60  # characters of a cell that stay on one line

TABLE = "border-collapse:collapse;font-variant-numeric:tabular-nums;margin-bottom:0.8em"
CELL = "padding:1px 10px;vertical-align:top"


def html_cell(text: str) -> str:
    """A text with its indent, escaped."""
    inner = text.lstrip(" ")
    return "&nbsp;" * (len(text) - len(inner)) + html.escape(inner)


def html_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], left: int | Collection[int], title: str = ""
) -> str:
    """Cells: the first ``left`` columns, or those whose places are given, are flush left, the others flush right."""
    flush_left = range(left) if isinstance(left, int) else left

    def row(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(_cell(cell, tag, c in flush_left) for c, cell in enumerate(cells))}</tr>"

    caption = f"<div style='margin-top:0.8em'><b>{html.escape(title)}</b></div>" if title else ""
    body = "".join(row(cells, "td") for cells in rows)
    return (
        f"{caption}<table style='{TABLE}'>"
        f"<thead style='border-bottom:1px solid'>{row(headers, 'th')}</thead><tbody>{body}</tbody></table>"
    )


def _cell(text: str, tag: str, is_left: bool) -> str:
    is_long = len(text) > LONGEST_LINE
    line = "white-space:normal;min-width:20em" if is_long else "white-space:nowrap"
    side = "left" if is_left or is_long else "right"
    return f"<{tag} style='text-align:{side};{CELL};{line}'>{html_cell(text)}</{tag}>"
