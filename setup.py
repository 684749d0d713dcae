"""Build settings that `pyproject.toml` cannot express: folders of the checkout that a wheel holds inside `medprior`."""

from setuptools import find_namespace_packages, setup

RESOURCE_FOLDERS = {"medprior.bundles": "bundles", "medprior.data_manifests": "data_manifests"}

setup(packages=[*find_namespace_packages(include=["medprior*"]), *RESOURCE_FOLDERS], package_dir=RESOURCE_FOLDERS)
