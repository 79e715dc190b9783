"""What pyproject.toml cannot say: the folder tools/ is the package hclip_tools, and configs go into the wheel."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["hclip_mmseg*"]), "hclip_tools"], package_dir={"hclip_tools": "tools"})
