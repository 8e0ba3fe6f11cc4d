"""Sphinx's configuration: the pages of this folder as a site, built by `make docs` into build/docs."""

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
