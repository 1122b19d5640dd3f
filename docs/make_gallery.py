"""Runs the code of gallery.md and saves the picture of each block under the name that stands below it."""

from __future__ import annotations

import ast
import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

DOCS = Path(__file__).parent
BLOCK = re.compile(r"```python\n(?P<code>.*?)```(?:\s*!\[[^\]]*\]\((?P<image>[^)]+)\))?", re.S)
WIDTH = 900  # pixels at most
COLOURS = 128  # enough for lines and bands, and a third of the bytes


def main() -> None:
    """Draw every picture of the page."""
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in BLOCK.finditer(page):
        figure = run(block["code"], names)
        if block["image"]:
            save(figure, DOCS / block["image"])


def run(code: str, names: dict[str, Any]) -> Any:
    """The value of the last line of a block, as a notebook shows it."""
    *first, last = ast.parse(code).body
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not isinstance(last, ast.Expr):
            exec(code, names)
            return None
        exec(compile(ast.Module(first, []), "gallery.md", "exec"), names)
        return eval(compile(ast.Expression(last.value), "gallery.md", "eval"), names)


def save(figure: Any, path: Path) -> None:
    """A PNG of few colours."""
    path.parent.mkdir(exist_ok=True)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=min(100.0, WIDTH / figure.get_figwidth()))
    image = Image.open(buffer).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    print(f"{path.name:28} {path.stat().st_size / 1024:5.0f} kB")


if __name__ == "__main__":
    main()
