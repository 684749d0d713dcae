import os

import pytest


@pytest.fixture(autouse=True)
def own_key(tmp_path_factory, monkeypatch):
    """Every test has an identity key of its own, never the user's."""
    monkeypatch.setenv("MEDPRIOR_IDENTITY_KEY", str(tmp_path_factory.mktemp("key") / "k"))
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
