"""Real servers, with and without a token, for all tests of the room."""

import pytest

from tests.pages.servers import TOKEN, running


@pytest.fixture(scope="package")
def plain():
    """Address of a server without a token that takes bodies of 64 KiB within a second."""
    with running(max_bytes=65536, body_seconds=1, header_seconds=1) as (url, _):
        yield url


@pytest.fixture(scope="package")
def locked():
    """Address of a server with a token."""
    with running(token=TOKEN, names=["reading.example"]) as (url, _):
        yield url.partition("?")[0]
