"""The documentation site: ``make docs`` builds it into build/docs, without a network."""

import shutil
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

import bayeslmm

HERE = Path(__file__).parent
ROOT = HERE.parent

project = "bayeslmm"
author = "the bayeslmm authors"
copyright = author
release = version = bayeslmm.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["tutorials/README.md"]
default_role = "code"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are committed as they ran, and make examples runs them
copybutton_exclude = ".linenos, .gp, .go"

autodoc_typehints = "none"  # the docstrings say types, shapes and units
autodoc_member_order = "bysource"
autosummary_generate = True
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True
toc_object_entries = True  # the verbs of a class beside its page
toc_object_entries_show_parents = "hide"

templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_title = "bayeslmm"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"  # browsers show it by themselves, where MathJax would be fetched
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": {"**": ["page-toc"], "coming_from": [], "index": []},  # wide tables, and no headings
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_nav_level": 1,
    "header_links_before_dropdown": 8,
}
html_sidebars = {"coming_from": [], "start": []}  # pages without others beside them


def _bring_in(app):
    """What lives beside docs/: the notebooks of examples/ and the pages of other folders."""
    tutorials = HERE / "tutorials"
    for notebook in (ROOT / "examples").glob("*.ipynb"):
        _copy(notebook, tutorials / notebook.name)


def _copy(source, target):
    """Only what changed, so that a second build is quick."""
    if not target.exists() or source.read_bytes() != target.read_bytes():
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)


def _mathematics(display):
    def visit(self, node):
        latex = node.astext().replace("{aligned}", "{align*}").replace(r"\\[8pt]", r"\\")
        self.body.append(convert(latex, display=display))
        raise nodes.SkipNode

    return visit, None


def setup(app):
    """Hook of Sphinx."""
    app.connect("builder-inited", _bring_in)
    app.add_html_math_renderer("mathml", _mathematics("inline"), _mathematics("block"))
