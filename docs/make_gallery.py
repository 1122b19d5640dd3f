"""Runs the code of pages, writes what each block prints below it, and saves pictures under the names that stand there.

A block of code may be followed by a block ``text`` with its output and by an image, the value of its last line. It does
all such pages, or those that are named: ``python docs/make_gallery.py gallery.md classics/radon.md``.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
BETWEEN = r"(?:\s|^:[^\n]*\n)*"  # and lines of directives, as between columns
BLOCK = re.compile(
    rf"```python\n(?P<code>.*?)```(?:{BETWEEN}```text\n(?P<output>.*?)```)?(?:{BETWEEN}!\[[^\]]*\]\((?P<image>[^)]+)\))?",
    re.S | re.M,
)
PAGES = ["index.md", "gallery.md", "why_numbers_differ.md", "classics/*.md"]
WIDTH = 900  # pixels at most
COLOURS = 128  # enough for lines and bands, and a third of the bytes


def main(pages: list[str]) -> None:
    """Every page that is named, or all."""
    for pattern in pages or PAGES:
        for path in sorted(DOCS.glob(pattern)):
            path.write_text(run_page(path.read_text(encoding="utf-8"), path), encoding="utf-8")


def run_page(page: str, path: Path) -> str:
    """The page with the output of every block that shows one; pictures are saved beside it."""
    names: dict[str, Any] = {}
    written, end = [], 0
    for block in BLOCK.finditer(page):
        printed, value = run(block["code"], names)
        if block["output"] is not None:
            written += [page[end : block.start("output")], printed]
            end = block.end("output")
        if block["image"] and value is not None:
            save(value, path.parent / block["image"])
    return "".join([*written, page[end:]])


def run(code: str, names: dict[str, Any]) -> tuple[str, Any]:
    """What a block prints, and the value of its last line, as a notebook shows it."""
    *first, last = ast.parse(code).body
    statements, value = (first, last) if isinstance(last, ast.Expr) else ([*first, last], None)
    with warnings.catch_warnings(), redirect_stdout(StringIO()) as printed:
        warnings.simplefilter("ignore")
        exec(compile(ast.Module(statements, []), "page", "exec"), names)
        if value is not None:
            value = eval(compile(ast.Expression(value.value), "page", "eval"), names)
    return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines()), value


def save(figure: Any, path: Path) -> None:
    """A PNG of few colours."""
    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=min(100.0, WIDTH / figure.get_figwidth()))
    image = Image.open(buffer).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    print(f"{path.name:28} {path.stat().st_size / 1024:5.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
