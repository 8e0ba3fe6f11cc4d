"""Sphinx's configuration: `make docs` builds the pages of this folder as a site."""

project = "ordain"
author = "the ordain authors"
extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
root_doc = "index"
html_theme = "furo"
html_title = "ordain"
html_static_path = []
myst_heading_anchors = 3
suppress_warnings = []
nitpicky = True
# A console transcript: the prompt is not copied.
copybutton_prompt_text = "$ "
