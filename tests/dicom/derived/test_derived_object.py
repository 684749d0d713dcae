"""What objects copy from their source, and how they are written."""

import dataclasses
import datetime
import io
import stat

import numpy as np
import pydicom
import pytest

from medprior.dicom import read_image
from medprior.dicom.derived.derived_object import (
    TEXT_TAGS,
    UID_TAGS,
    copy_source_header,
    create_private_code,
    normalise_date,
    normalise_time,
    read_source_header,
    serialise_object,
    strip_control_characters,
    write_owner_only_file,
)
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.seg import build_segmentation
from medprior.errors import Rejected
from tests.dicom.object_sources import MAKER, opened, source
from tests.dicom.sample_files import build_header


def test_odd_headers_are_copied_as_far_as_they_can_be():
    with pydicom.config.disable_value_validation():
        content = source(PatientBirthDate="01.02.1960", PatientSex="?", StudyTime="noon")
    grid = NativeGrid.from_radiograph(read_image(io.BytesIO(content)))
    header = read_source_header(io.BytesIO(content))
    segmentation = build_segmentation({"left_lung": np.zeros(grid.display_shape, bool)}, header, grid, MAKER)
    dataset = opened(serialise_object(segmentation))
    assert (dataset.PatientBirthDate, dataset.PatientSex, dataset.StudyTime) == ("", "", "")
    with pydicom.config.disable_value_validation():
        nameless = source(SeriesInstanceUID="abc")
    with pytest.raises(Rejected, match="no usable UIDs"):
        read_source_header(io.BytesIO(nameless))


def test_private_files_are_their_owners_alone(tmp_path):
    write_owner_only_file(tmp_path / "one.dcm", b"secret")
    assert stat.S_IMODE((tmp_path / "one.dcm").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["one.dcm"]


def test_a_uid_depends_on_source_model_time_and_kind_and_on_nothing_else():
    header = read_source_header(io.BytesIO(source()))
    other_source = read_source_header(io.BytesIO(source(SOPInstanceUID="1.2.3.4.6")))
    later = dataclasses.replace(MAKER, created_at=MAKER.created_at + datetime.timedelta(seconds=1))
    uids = [
        MAKER.build_uid(header, "seg"),
        MAKER.build_uid(header, "sr"),
        MAKER.build_uid(other_source, "seg"),
        later.build_uid(header, "seg"),
        dataclasses.replace(MAKER, digest="cd" * 32).build_uid(header, "seg"),
        dataclasses.replace(MAKER, version="0.2.0").build_uid(header, "seg"),
    ]
    assert len(set(uids)) == 6
    assert all(uid.startswith("2.25.") and uid.is_valid for uid in uids)
    assert dataclasses.replace(MAKER).build_uid(header, "seg") == uids[0]


@pytest.mark.parametrize(
    ("text", "date"), [("20260304", "20260304"), ("2026.03.04", "20260304"), ("20261301", ""), ("2026", ""), ("", "")]
)
def test_dates_have_eight_digits_or_are_empty(text, date):
    assert normalise_date(text) == date


@pytest.mark.parametrize(
    ("text", "time"), [("101112.5", "101112.5"), ("1011", "1011"), ("2560", ""), ("NOON", ""), ("", "")]
)
def test_times_stay_or_are_empty(text, time):
    assert normalise_time(text) == time


def test_control_characters_become_blanks():
    assert strip_control_characters("\x1bA\tB\n") == "A B"


def test_texts_of_several_values_are_left_out_and_optional_ones_only_copied():
    header = build_header(
        SOPClassUID="1.2.1", SOPInstanceUID="1.2.2", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4",
        PatientID=b"one\\two", PatientSex="X", Rows=7, Columns=5, PatientOrientation=["L", "F"],
        BurnedInAnnotation=b"maybe ", StudyDescription="Chest",
    )  # fmt: skip
    copied = copy_source_header(header)
    assert (copied.PatientID, copied.PatientSex, copied.StudyDescription) == ("", "", "Chest")
    assert (copied.PatientName, copied.AccessionNumber, copied.Modality) == ("", "", "OT")
    assert (copied.Rows, copied.Columns, list(copied.PatientOrientation)) == (7, 5, ["L", "F"])
    assert not {"IssuerOfPatientID", "PatientAge", "BurnedInAnnotation"} & set(copied.dir())


def test_a_private_code_has_a_meaning_of_at_most_64_characters():
    assert tuple(create_private_code("a_b"))[:3] == ("a_b", "99MEDPRIOR", "a b")
    assert create_private_code("a", "m" * 65).meaning == "m" * 64


def test_a_file_that_cannot_be_placed_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        write_owner_only_file(tmp_path / "taken", b"secret")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    write_owner_only_file(tmp_path / "one", b"old")
    write_owner_only_file(tmp_path / "one", b"new")
    assert (tmp_path / "one").read_bytes() == b"new"


TEXTS = {
    "PatientName": "Doe^Jane", "PatientID": "7", "IssuerOfPatientID": "here", "PatientAge": "041Y",
    "AccessionNumber": "A1", "StudyID": "S1", "StudyDescription": "Chest", "ReferringPhysicianName": "Roe^Jo",
    "PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand",
}  # fmt: skip


def test_every_text_of_patient_and_study_is_copied_from_its_own_element():
    uids = {name: f"1.2.{number}" for number, name in enumerate(UID_TAGS)}
    assert uids.keys() | TEXTS.keys() == UID_TAGS.keys() | TEXT_TAGS.keys()
    others = {
        "PatientBirthDate": "19600102", "StudyDate": "20260304", "StudyTime": "101112", "PatientSex": "F",
        "Modality": "DX", "BurnedInAnnotation": "NO", "Rows": 7, "Columns": 5,
    }  # fmt: skip
    copied = copy_source_header(build_header(**others, **TEXTS, **uids))
    assert {name: copied[name].value for name in others} == others
    assert {name: str(copied[name].value) for name in TEXTS} == TEXTS
    assert {name: str(copied[name].value) for name in uids} == uids
