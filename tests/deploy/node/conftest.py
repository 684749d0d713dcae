"""Radiographs and models for the tests of the node."""

import pytest

from medprior.deploy import load_model
from tests.deploy.node.running import write_radiographs


@pytest.fixture(scope="session")
def radiographs(tmp_path_factory):
    """Four phantom files with canaries in their texts."""
    return write_radiographs(tmp_path_factory.mktemp("radiographs"), 4)


@pytest.fixture(scope="session")
def predictor():
    """The anatomy model that comes with medprior."""
    return load_model()
