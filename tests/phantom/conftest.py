"""A cohort of twelve patients on disk."""

from __future__ import annotations

import pytest

from medprior.phantom import generate_phantom_cohort
from tests.phantom.cohorts import SMALL


@pytest.fixture(scope="package")
def small_cohort(tmp_path_factory):
    """12 patients of seed 3 at 80 rows; do not write into it."""
    out = tmp_path_factory.mktemp("phantom") / "out"
    generate_phantom_cohort(out, 12, 3, SMALL, workers=1)
    return out
