"""A page with one opened picture, and the real command with its address."""

import numpy as np
import pytest

from medprior.annotate.page.drawing_session import DrawingSession
from tests.annotate.drawings import SHAPE
from tests.annotate.page.browser import command, read_address
from tests.annotate.page.clients import client_of, png, read_radiograph_bytes


@pytest.fixture
def client(tmp_path):
    return client_of(DrawingSession(tmp_path / "out", None, read_radiograph_bytes))


@pytest.fixture
def key(client):
    picture = np.random.default_rng(0).integers(60, 255, SHAPE).astype(np.uint8)
    return client.post("/api/open", content=png(picture)).json()["key"]


@pytest.fixture
def served(tmp_path, phantom_cohort):
    """The command's process and its address."""
    process = command(tmp_path, "--cohort", str(phantom_cohort))
    address = read_address(process)
    assert address, process.stderr.read()
    yield process, address
    process.kill()
    process.communicate(timeout=300)
