"""Fixtures of other rooms that benchmarks are tested with."""

from tests.deploy.conftest import classifier
from tests.priors.conftest import thoraxes

__all__ = ["classifier", "thoraxes"]
