"""Code on the pages of docs/ and in the README runs as it stands, and prints what they say."""

import importlib.util
import re
import warnings
from pathlib import Path

import pytest
from shifted import SHIFT

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"```python\n(.*?)```", re.S)
TEXTS = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
OUTPUT = "```text\n"  # of the code above it, written by docs/make_gallery.py
PAGES = [page for page, text in TEXTS.items() if BLOCK.search(text) and OUTPUT not in text and page != "README.md"]
PAGES_WITH_OUTPUT = [page for page, text in TEXTS.items() if OUTPUT in text]

spec = importlib.util.spec_from_file_location("make_gallery", ROOT / "docs" / "make_gallery.py")
make_gallery = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_gallery)


@pytest.mark.parametrize("page", PAGES)
def test_code_of_the_page_runs(page, tmp_path, monkeypatch):
    run(page, tmp_path, monkeypatch)


@pytest.mark.parametrize("page", PAGES_WITH_OUTPUT)
def test_the_page_says_what_its_code_prints(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(make_gallery, "save", lambda figure, path: figure.canvas.draw())
    written = make_gallery.run_page(TEXTS[page], ROOT / page)
    if SHIFT == 0:  # draws are those of the seed
        assert written.splitlines() == TEXTS[page].splitlines()


def test_the_numbers_of_the_first_page_are_those_of_the_benchmarks():
    first, benchmarks = TEXTS["docs/index.md"], (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")

    def cell(row, column):
        (line,) = [line for line in benchmarks.splitlines() if line.startswith(row)]
        return line.split(" | ")[column]

    ours, theirs = (
        [cell(f"| sleepstudy | {program} |", 3) for program in programs]
        for programs in (["bayeslmm: again"], ["Bambi, nutpie sampler: again", "rstanarm"])
    )
    assert f"{{grid-item-card}} {float(ours[0]):.2f} s\n" in first
    assert f"Bambi with nutpie {theirs[0]} s, rstanarm {theirs[1]} s" in first
    slowest, fastest = re.search(r"lmer\(\) takes ([\d.]+) .*? to ([\d.]+) ", benchmarks).groups()
    assert f"{{grid-item-card}} {float(slowest):.1f} to {float(fastest):.1f} times\n" in first
    assert f"{{grid-item-card}} {float(cell('| 10,000,000 | 100,000 |', 4)):.1f} s\n" in first
    exact = [  # of the first table, which has 1,000 data sets each
        float(line.split("|")[-2])
        for line in TEXTS["docs/calibration.md"].partition("| model ")[2].partition("\n\n")[0].splitlines()
        if line.startswith("| `(") and "NUTS" not in line
    ]
    assert f"{{grid-item-card}} {min(exact)} to {max(exact)} %\n" in first


def test_readme_prints_what_it_says(tmp_path, monkeypatch, capsys):
    run("README.md", tmp_path, monkeypatch)
    printed = capsys.readouterr().out.splitlines()
    said = re.findall(r"```\n(REML beside.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)[0]
    lines = [line for line in said.splitlines() if line not in ("", "...")]
    assert len(lines) > 10
    if SHIFT == 0:
        assert [line for line in lines if line not in printed] == []


def run(page, folder, monkeypatch):
    monkeypatch.chdir(folder)  # some save a picture or a page
    code = "\n".join(BLOCK.findall((ROOT / page).read_text(encoding="utf-8")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short chains are in doubt, and PyMC warns on its own account
        exec(compile(code, page, "exec"), {"__name__": page})
