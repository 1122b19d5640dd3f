"""Code on the pages of docs/ runs as it stands."""

import re
import warnings
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


PAGES = [
    str(page.relative_to(DOCS))
    for page in sorted(DOCS.rglob("*.md"))
    if "```python" in page.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("page", PAGES)
def test_code_of_the_page_runs(page):
    code = "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short chains are in doubt, and PyMC warns on its own account
        exec(compile(code, page, "exec"), {"__name__": page})
