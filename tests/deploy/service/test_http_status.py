"""Reject codes as HTTP statuses."""

import io

import pydicom
import pytest

from medprior.deploy.inference.example import create_example_dicom
from tests.deploy.serving import CANARY, post_radiograph


@pytest.mark.parametrize(
    ("harm", "status", "code"),
    [
        ({"Modality": "CT"}, 422, "modality"),
        ({"BodyPartExamined": "KNEE"}, 422, "body_part"),
        ({"PhotometricInterpretation": "RGB"}, 422, None),
        ({"Rows": 20000}, 422, "size"),
    ],
)
def test_whole_files_that_are_refused(server, harm, status, code):
    dataset = pydicom.dcmread(io.BytesIO(create_example_dicom()))
    for key, value in harm.items():
        setattr(dataset, key, value)
    dataset.PatientName = CANARY
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    response = post_radiograph(server, buffer.getvalue())
    assert response.status_code == status
    assert code in (None, response.json()["code"])
    assert CANARY not in response.text
