"""Sphinx configuration; the reference tables are written from the code before each build."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from reference import write_reference  # noqa: E402

import riskpolicy  # noqa: E402

project = "riskpolicy"
author = "The riskpolicy authors"
copyright = "The riskpolicy authors, Apache-2.0"  # noqa: A001
version = release = riskpolicy.__version__

extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"riskpolicy {version}"
html_copy_source = False
exclude_patterns = ["_build", "_generated"]

write_reference(HERE / "_generated")
