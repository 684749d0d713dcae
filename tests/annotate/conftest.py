"""A cohort without masks."""

import numpy as np
import pytest

from medprior.cohort import Cohort, CohortWriter
from tests.annotate.drawings import SHAPE


@pytest.fixture
def unmasked_cohort(tmp_path):
    rng = np.random.default_rng(3)
    with CohortWriter(tmp_path / "cohort", store_size=96) as writer:
        for index in range(5):
            turned = ("orientation_mirrored",) if index == 0 else ()
            writer.add(
                image_id=f"i{index}", pixels=0.5 + 0.5 * rng.random(SHAPE, dtype=np.float32),
                patient_id=f"p{index // 2}", flags=turned,
            )  # fmt: skip
        writer.finish(split={f"i{index}": "train" for index in range(5)})
    return Cohort.open(tmp_path / "cohort")
