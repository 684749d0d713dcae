"""Fixtures of other rooms that benchmarks are tested with."""

from tests.priors.conftest import thoraxes

__all__ = ["thoraxes"]
