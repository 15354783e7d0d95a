"""Settings for Sphinx, with which ``make docs`` builds the site."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import rnnjax
from docs import api_pages, equations, experiment_pages

project = "rnnjax"
author = copyright = "the rnnjax authors"
version = release = rnnjax.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "rnnjax"
html_show_search_summary = False  # a summary fetches every page found, which browsers refuse for pages on a disk
html_static_path = ["figures", "static"]
html_css_files = ["equations.css"]

autodoc_typehints = "none"  # the signature has them, as short as they are written
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True

myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300


PAGES = {
    "../README.md": "index.md",
    "../benchmarks/README.md": "benchmarks.md",
    "../benchmarks/TRIED.md": "tried.md",
    "README.md": "benchmarks.md",  # so the two pages of benchmarks call each other
    "TRIED.md": "tried.md",
}
"""Files of the repository that are pages of the site: how other files link to them, and their pages."""


def setup(app: Any) -> None:
    """Has the pages of the API and the experiments written before Sphinx reads them, and links adapted to the site."""
    app.connect("builder-inited", lambda app: api_pages.write(Path(app.srcdir) / "api"))
    app.connect("builder-inited", lambda app: experiment_pages.write(Path(app.srcdir) / "experiments"))
    app.connect("source-read", lambda app, page, source: source.__setitem__(0, _within_the_site(source[0])))
    app.connect("include-read", lambda app, path, page, source: source.__setitem__(0, _within_the_site(source[0])))
    app.connect("autodoc-process-docstring", api_pages.show_equations, priority=400)  # before napoleon's 500


def _within_the_site(text: str) -> str:
    """Turns links to files of the repository into links to their pages, or into plain text where there is no page."""
    for file, page in PAGES.items():
        text = re.sub(rf"\]\({re.escape(file)}(#[\w-]*)?\)", rf"]({page}\1)", text)
    text = re.sub(r"^```text\n(.*?)^```$", _equations, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\]\((?:\.\./)*docs/([\w/]+\.md)", r"](\1", text)
    text = re.sub(r"\]\(\.\./experiments/(\w+)/config\.py\)", r"](experiments/\1.md)", text)
    return re.sub(r"\[([^\]]+)\]\((?:common|networks)/[^)]*\)", r"`\1`", text)


def _equations(block: re.Match[str]) -> str:
    return equations.rendered(block[1]) or block[0]
