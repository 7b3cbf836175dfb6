"""The page of the package: README without what only a checkout has, for a package index can follow none of it."""

import re
from pathlib import Path

from setuptools import setup

text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
text = re.sub(r"^!\[.*\]\(.*\)\n\n\(.*\)\n\n", "", text, flags=re.MULTILINE)  # pictures, and what stands below them
text = re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)  # links into the tree
text = re.sub(r"^.*-e \"\.\[test\]\".*\n", "", text, flags=re.MULTILINE)
setup(long_description=text.replace("Two commands, with", "One command, with").replace("-e . &&", "manifold-search &&"))
