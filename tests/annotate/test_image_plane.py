"""Millimetres in the patient or the picture to pixels."""

import numpy as np
import pytest

from medprior.annotate.mask_inputs import MaskInputs
from medprior.annotate.sources import annotate_cohort_image
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import MedpriorError
from tests.annotate.structure_sets import STORED, both, structure_set


def test_an_image_of_a_cohort_has_no_position(tmp_path):
    with CohortWriter(tmp_path / "c") as writer:
        writer.add(image_id="a", pixels=np.full(STORED, 0.5, np.float32), patient_id="p")
        writer.finish(split={"a": "train"})
    (tmp_path / "rt.dcm").write_bytes(structure_set(both((0.4, 0.4))))
    with pytest.raises(MedpriorError, match="a cohort does not keep"):
        annotate_cohort_image(Cohort.open(tmp_path / "c"), "a", MaskInputs(annotations=tmp_path / "rt.dcm"))
