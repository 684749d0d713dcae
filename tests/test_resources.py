"""What comes with medprior is found in a checkout and in an installed package."""

import shutil
from pathlib import Path

import pytest

import medprior
from medprior.errors import InputMissing
from medprior.resources import ANATOMY_MODEL, find_anatomy_model, find_resource_folder

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An empty package folder that is taken for the installed one."""
    package = tmp_path / "site" / "medprior"
    package.mkdir(parents=True)
    shutil.copy(CHECKOUT / "medprior/__init__.py", package)
    monkeypatch.setattr(medprior, "__file__", str(package / "__init__.py"))
    monkeypatch.delenv("MEDPRIOR_MODEL", raising=False)
    return package


@pytest.mark.parametrize("name", ["bundles", "data_manifests"])
def test_folders_of_the_checkout_are_found(name):
    assert find_resource_folder(name) == CHECKOUT / name


def test_folders_inside_the_installed_package_go_first(installed):
    (installed.parent / "bundles").mkdir()
    assert find_resource_folder("bundles") == installed.parent / "bundles"
    (installed / "bundles").mkdir()
    assert find_resource_folder("bundles") == installed / "bundles"


def test_what_an_installation_lacks_is_named(installed):
    with pytest.raises(InputMissing, match="data_manifests: missing from this installation; reinstall medprior"):
        find_resource_folder("data_manifests")
    (installed / "bundles").mkdir()
    with pytest.raises(InputMissing, match=f"{ANATOMY_MODEL}: the anatomy model is missing from this installation"):
        find_anatomy_model()
    (installed / "bundles" / ANATOMY_MODEL).mkdir(parents=True)
    assert find_anatomy_model() == installed / "bundles" / ANATOMY_MODEL


def test_a_variable_names_another_model(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDPRIOR_MODEL", str(tmp_path))
    assert find_anatomy_model() == tmp_path
    monkeypatch.setenv("MEDPRIOR_MODEL", str(tmp_path / "absent"))
    with pytest.raises(InputMissing) as caught:
        find_anatomy_model()
    assert str(caught.value).startswith("MEDPRIOR_MODEL: no such model folder, found ")
    assert str(caught.value).endswith("absent; correct or unset MEDPRIOR_MODEL")
