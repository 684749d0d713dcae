"""Reject codes as HTTP statuses."""

import io

import pydicom
import pytest

from medprior.deploy.inference.example import create_example_dicom
from medprior.deploy.service.http_status import build_rejection_problem, map_reject_status
from medprior.errors import Rejected
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


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("too_large", 413),
        ("syntax_unsupported", 415),
        ("bits_unsupported", 415),
        ("truncated", 400),
        ("not_dicom", 400),
        ("modality", 422),
        ("far_from_training", 422),
        ("a_new_code", 422),
    ],
)
def test_broken_files_unsupported_encodings_and_refused_files(code, status):
    assert map_reject_status(code) == status


def test_a_refusal_keeps_its_code_and_says_it_once():
    problem = build_rejection_problem(Rejected("truncated", "the file ends early"))
    assert (problem.status_code, problem.code, problem.detail) == (400, "truncated", "the file ends early")
