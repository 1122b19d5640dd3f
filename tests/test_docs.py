"""Code on the pages of docs/ and in the README runs as it stands, and prints what they say."""

import re
import warnings
from pathlib import Path

import pytest
from shifted import SHIFT

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"```python\n(.*?)```", re.S)
PAGES = [
    str(page.relative_to(ROOT))
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if BLOCK.search(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("page", PAGES)
def test_code_of_the_page_runs(page, tmp_path, monkeypatch):
    run(page, tmp_path, monkeypatch)


@pytest.mark.skipif(SHIFT != 0, reason="the page prints the draws of its seed")
def test_readme_prints_what_it_says(tmp_path, monkeypatch, capsys):
    run("README.md", tmp_path, monkeypatch)
    printed = capsys.readouterr().out.splitlines()
    said = re.findall(r"```\n(REML beside.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)[0]
    lines = [line for line in said.splitlines() if line not in ("", "...")]
    assert len(lines) > 10 and [line for line in lines if line not in printed] == []


def run(page, folder, monkeypatch):
    monkeypatch.chdir(folder)  # some save a picture or a page
    code = "\n".join(BLOCK.findall((ROOT / page).read_text(encoding="utf-8")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short chains are in doubt, and PyMC warns on its own account
        exec(compile(code, page, "exec"), {"__name__": page})
