"""Packages import their public names on first use."""

import importlib
import subprocess
import sys

import pytest

from medprior.lazy_imports import import_on_first_use

PACKAGES = ["annotate", "cohort", "deploy", "dicom", "finetune", "ingest", "phantom", "pretrain", "priors"]


def test_names_come_from_their_modules_relative_or_not():
    get_attribute = import_on_first_use("medprior.metrics", {"safe_divide": ".auc", "loads": "json"})
    assert get_attribute("safe_divide") is importlib.import_module("medprior.metrics.auc").safe_divide
    assert get_attribute("loads") is importlib.import_module("json").loads
    with pytest.raises(AttributeError, match=r"module 'medprior\.metrics' has no attribute 'absent'"):
        get_attribute("absent")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there_and_no_other(name):
    package = importlib.import_module(f"medprior.{name}")
    assert all(getattr(package, public) is not None for public in package.__all__)
    assert not hasattr(package, "absent")


def test_importing_the_packages_imports_none_of_their_modules():
    code = f"import sys, {', '.join(f'medprior.{name}' for name in PACKAGES)}; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert not {"torch", "pandas", "pydicom", "monai", "mlflow"} & set(modules.split())
