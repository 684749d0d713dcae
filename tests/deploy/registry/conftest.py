"""One registered model for the tests of the registry."""

import shutil

import pytest

from medprior.deploy import register_model


@pytest.fixture(scope="package")
def registry(empty_store, classifier, segmenter, tmp_path_factory) -> str:
    """A store whose model `cxr` has one version, the champion: classifier and segmenter."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    assert register_model(classifier, "cxr", segmenter=segmenter, tracking_uri=uri) == "1"
    return uri
