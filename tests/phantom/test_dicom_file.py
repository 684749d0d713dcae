"""Files of every vendor are valid, and read back as the picture that was rendered."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

import numpy as np
import pydicom
import pytest

from medprior.dicom import read_radiograph
from medprior.phantom.collimation import Collimation
from medprior.phantom.dicom_file import (
    PhantomIdentity,
    build_phantom_uid,
    build_voi_lut,
    convert_to_stored,
    set_display_attributes,
    write_phantom_dicom,
)
from medprior.phantom.render import PhantomImage, render_sampled_image, sample_image_parameters
from medprior.phantom.settings import PhantomSettings
from medprior.phantom.vendors import VENDORS
from medprior.phantom.voi import VoiTransform

NAMES = [vendor.name for vendor in VENDORS]


TYPE_1 = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality",
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyDate",
    "Manufacturer", "ViewPosition", "Rows", "Columns", "BitsStored", "HighBit",
    "PixelRepresentation", "PhotometricInterpretation", "SamplesPerPixel", "ImagerPixelSpacing",
    "PatientOrientation", "BodyPartExamined", "ImageType",
)  # fmt: skip


def identity(image="p-1"):
    return PhantomIdentity("p", 1, 1, image, 7, date(2020, 5, 17), date(1960, 3, 1))


def study_of(vendor, seed=5):
    study = sample_image_parameters((seed,), 0, PhantomSettings())
    voi = VoiTransform(vendor.voi, 0.48, 0.7)
    field = Collimation(0.03, 0.02, 0.05, 0.0, "L", 0.9, 0.1, 0.04)
    return replace(study, vendor=vendor, voi=voi, collimation=field)


@pytest.fixture(scope="module", params=VENDORS, ids=NAMES)
def written(request, tmp_path_factory):
    vendor = request.param
    study = study_of(vendor)
    image = render_sampled_image(study, 200, round(200 * vendor.aspect), PhantomSettings())
    path = tmp_path_factory.mktemp("dicom") / "one.dcm"
    write_phantom_dicom(path, image, vendor, study.voi, identity())
    return path, image, vendor, study.voi


def test_reader_recovers_the_rendered_picture(written):
    path, image, vendor, _ = written
    read = read_radiograph(path)
    assert read.pixels.shape == image.pixels.shape
    step = 1.0 / (0.7 * vendor.max_stored_value)
    assert np.abs(read.pixels - image.pixels).max() < 2.5 * step + 1e-4
    if vendor.padding is not None:
        assert np.array_equal(read.valid, image.field)


def test_reader_recovers_the_facts(written):
    path, image, vendor, _ = written
    read = read_radiograph(path)
    assert (read.view, read.sex, read.age) == tuple(image.facts[k] for k in ("view", "sex", "age"))
    assert read.polarity_inverted == vendor.inverted
    assert read.spacing_kind in {"estimated", "detector"}
    if read.spacing_kind == "estimated":
        assert read.spacing_mm[0] == pytest.approx(image.facts["spacing_mm"][0], rel=1e-4)


def test_stored_values_survive_the_codec(written):
    path, image, vendor, _ = written
    dataset = pydicom.dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID == vendor.syntax
    assert np.array_equal(dataset.pixel_array, convert_to_stored(image, vendor))


def test_pydicom_windows_the_same_picture(written):
    path, image, vendor, voi = written
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    dataset = pydicom.dcmread(path)
    values = apply_modality_lut(dataset.pixel_array, dataset)
    shown = apply_voi_lut(values, dataset).astype(np.float64)
    if voi.kind == "TABLE":
        shown /= 65535
    else:
        slope, intercept = vendor.slope or 1.0, vendor.intercept or 0.0
        shown = (shown - intercept) / (slope * vendor.max_stored_value)
    shown = 1 - shown if vendor.inverted else shown
    assert np.abs(shown - image.pixels)[image.field].max() < 3.0 / vendor.max_stored_value + 1e-4


def test_header_has_what_the_standard_wants(written):
    path, image, vendor, _ = written
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    missing = [name for name in TYPE_1 if dataset.get(name) in (None, "")]
    assert not missing
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        assert re.fullmatch(r"2\.25\.(0|[1-9][0-9]{0,38})", str(dataset[name].value))
    assert dataset.PatientAge == f"{int(image.facts['age']):03d}Y"
    if vendor.modality == "DX":
        assert dataset.PresentationIntentType == "FOR PRESENTATION"


def test_same_arguments_give_same_bytes(written, tmp_path):
    path, image, vendor, voi = written
    write_phantom_dicom(tmp_path / "again.dcm", image, vendor, voi, identity())
    assert (tmp_path / "again.dcm").read_bytes() == path.read_bytes()


def test_uids_differ_by_image_and_share_the_study():
    first, second = identity("p-1"), identity("p-2")
    assert build_phantom_uid(first, first.image) != build_phantom_uid(second, second.image)
    assert build_phantom_uid(first, "study") == build_phantom_uid(second, "study")


def image_of(signal, field):
    """A phantom image of this signal and field, without anything else."""
    signal = np.array(signal, np.float32)
    return PhantomImage(signal, signal, {}, {}, {}, {}, np.array(field, bool))


@pytest.mark.parametrize(
    ("inverted", "padding", "stored"),
    [
        (False, None, [[0, 4095, 2048, 0]]),
        (True, None, [[4095, 0, 2047, 4095]]),
        (False, 0, [[1, 4095, 2048, 0]]),
        (True, 0, [[4095, 1, 2047, 0]]),
    ],
)
def test_stored_values_are_inverted_then_padded(inverted, padding, stored):
    vendor = replace(VENDORS[0], bits=12, inverted=inverted, padding=padding)
    image = image_of([[0, 1, 0.5, 0]], [[True, True, True, False]])
    assert convert_to_stored(image, vendor).tolist() == stored


def test_a_linear_window_is_a_half_level_off_and_has_a_wide_one_beside_it():
    dataset = pydicom.Dataset()
    vendor = replace(VENDORS[0], bits=12, inverted=True, slope=0.5, intercept=-100.0)
    set_display_attributes(dataset, vendor, VoiTransform("LINEAR", 0.4, 0.2))
    # 0.5 * 0.6 * 4095 - 100 + 0.5 and 0.5 * 0.2 * 4095 + 1.
    assert list(dataset.WindowCenter) == [1129.0, 1129.0]
    assert list(dataset.WindowWidth) == [410.5, 656.8]
    assert (dataset.RescaleSlope, dataset.RescaleIntercept) == (0.5, -100)


def test_a_sigmoid_window_names_its_function():
    dataset = pydicom.Dataset()
    vendor = replace(VENDORS[0], bits=12, inverted=False, slope=None, intercept=None)
    set_display_attributes(dataset, vendor, VoiTransform("SIGMOID", 0.4, 0.2))
    assert (dataset.WindowCenter, dataset.WindowWidth) == (1638, 819)
    assert dataset.VOILUTFunction == "SIGMOID"
    assert "RescaleSlope" not in dataset


@pytest.mark.parametrize("inverted", [False, True])
def test_a_table_rises_over_the_signal_in_the_files_polarity(inverted):
    vendor = replace(VENDORS[0], bits=12, inverted=inverted)
    voi = VoiTransform("TABLE", 0.25, 0.5)
    table = np.frombuffer(build_voi_lut(vendor, voi)[0x00283006].value, "<u2")
    assert len(table) == 4096
    assert (np.diff(table.astype(int)) >= 0).all()
    # The window ends at half of the signal: everything above is white, or below black when inverted.
    assert (table[2048:] == 65535).all() == (not inverted)
    assert (table[:2048] == 0).all() == inverted
