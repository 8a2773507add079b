"""The site: README, docs/, the result pages, and a reference made from docstrings.

sphinx-build -W -c docs/site -b html . build/site
"""

from data_prep import __version__

project = "cwrnn"
author = "the authors of cwrnn"
release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"cwrnn {release}"
root_doc = "docs/site/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/**",
    "results/*.md",
    "results/**/*.md",
]
exclude_patterns = ["results/pages", "docs/**/*.py"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nb_execution_mode = "force"  # and what a cell raises ends the build
nb_execution_raise_on_error = True
nb_execution_timeout = 600
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_numpy_docstring = False
