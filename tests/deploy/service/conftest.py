"""One server for the tests of the service."""

import pytest

from tests.deploy.serving import run_service


@pytest.fixture(scope="package")
def log(tmp_path_factory):
    """Where the server writes its log."""
    return tmp_path_factory.mktemp("serve") / "log"


@pytest.fixture(scope="package")
def server(classifier, segmenter, log):
    """Address of a running service with both models that takes bodies up to 4 MiB."""
    with run_service(classifier, segmenter, log, "--max-mb", "4") as (url, _):
        yield url
