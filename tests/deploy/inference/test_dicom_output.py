"""A prediction's DICOM objects: from a file on disk to files that an archive can take."""

import io
import json
import stat

import highdicom
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from medprior.deploy import load_model
from medprior.deploy.inference.dicom_output import build_dicom_objects
from medprior.deploy.inference.overlays import render_native_overlay
from medprior.deploy.inference.predict_files import predict_path
from medprior.deploy.inference.predictor import build_file_predictor
from medprior.dicom import read_image
from medprior.dicom.bounded_reader import BoundedReader
from medprior.dicom.derived.seg import read_seg
from medprior.errors import Rejected
from medprior.phantom import PhantomSettings, generate_phantom_cohort


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """Phantom DICOM files of several vendors, one of them turned, and a PNG."""
    root = tmp_path_factory.mktemp("clinic")
    generate_phantom_cohort(root / "made", 3, 5, PhantomSettings(size=256, max_images=1), workers=1)
    folder = root / "in"
    folder.mkdir()
    for number, path in enumerate(sorted((root / "made" / "dicom").rglob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        if number == 1:
            dataset.PatientOrientation = ["R", "F"]
        dataset.save_as(folder / f"DOE_{number}.dcm")
    Image.fromarray(np.arange(65536, dtype=np.uint8).reshape(256, 256)).save(folder / "z.png")
    return folder


@pytest.fixture(scope="module")
def predictor(classifier, segmenter):
    return load_model(classifier, segmenter=segmenter)


def test_objects_of_a_folder(clinic, predictor, tmp_path):
    out = tmp_path / "out"
    with BoundedReader() as reader:
        predict = build_file_predictor(predictor, reader, refusing=False)
        counts = predict_path(clinic, out, predict, predictor.digest, dicom=True)
        assert (counts.ok, counts.rejected) == (4, 0)
        table = pd.read_csv(out / "report.csv")
        assert table.dicom.tolist() == ["sc seg sr"] * 3 + ["none: no_dicom"]
        assert predict_path(clinic, out, predict, predictor.digest, dicom=True).already_answered == 4
    assert stat.S_IMODE((out / "dicom").stat().st_mode) == 0o700
    for path in (out / "dicom").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for file, item in zip(sorted(clinic.glob("*.dcm")), table["item"], strict=False):
        record = json.loads((out / f"{item}.json").read_text())
        radiograph, source = read_image(file), pydicom.dcmread(file)
        masks = read_seg(out / record["dicom"]["files"]["seg"], radiograph)
        for name, mask in masks.items():
            drawn = np.asarray(Image.open(out / record["files"]["masks"][name])) > 0
            assert np.array_equal(mask, drawn)
        report = highdicom.sr.srread(out / record["dicom"]["files"]["sr"])
        groups = {g.tracking_identifier: g for g in report.content.get_image_measurement_groups()}
        ratio = record["cardiothoracic_ratio"]
        measured = groups["heart"].get_measurements()[0].value if "heart" in groups else None
        assert measured == (pytest.approx(ratio["value"]) if ratio else None)
        doubts = [e.value.value for e in groups["picture"].get_qualitative_evaluations()]
        assert doubts == (record["flags"] or ["none_found"])
        overlay = pydicom.dcmread(out / record["dicom"]["files"]["sc"])
        assert (overlay.Rows, overlay.Columns) == (source.Rows, source.Columns)
        assert overlay.PatientID == source.PatientID
    files = [p for p in out.iterdir() if p.is_file()]
    text = b"".join(p.read_bytes() for p in files) + " ".join(p.name for p in files).encode()
    for secret in (b"DOE", b"phantom-5", b"Phantom^"):
        assert secret not in text


def test_objects_are_added_to_answers_without_them(clinic, predictor, tmp_path):
    out = tmp_path / "out"
    with BoundedReader() as reader:
        predict = build_file_predictor(predictor, reader, refusing=False)
        predict_path(clinic, out, predict, predictor.digest)
        assert not (out / "dicom").exists()
        assert pd.read_csv(out / "report.csv").dicom.isna().all()
        counts = predict_path(clinic, out, predict, predictor.digest, dicom=True)
    assert (counts.ok, counts.already_answered) == (4, 0)
    table = pd.read_csv(out / "report.csv")
    assert len(table) == 4
    assert table.dicom.tolist() == ["sc seg sr"] * 3 + ["none: no_dicom"]


def test_the_overlay_lies_on_the_files_pixels(clinic, predictor):
    file = sorted(clinic.glob("*.dcm"))[1]
    reading = predictor.predict(file)
    assert "orientation_mirrored" in reading.flags
    drawn = render_native_overlay(reading).astype(int)
    source = reading.native.reorient_pixels(reading.pixels)
    assert drawn.shape[:2] == reading.native.stored_shape
    grey = (drawn[..., 0] == drawn[..., 1]) & (drawn[..., 1] == drawn[..., 2])
    grey[:120] = False  # the note and its dark rim
    assert grey.mean() > 0.3
    same = abs(drawn[..., 0][grey] / 255 - source[grey]) < 0.51 / 255 + 1e-6
    assert same.mean() > 0.98  # the diameters, R and L are grey too
    away = abs(drawn[..., 0][grey] / 255 - reading.pixels[grey]) < 0.51 / 255
    assert away.mean() < 0.8  # it would not be so, were it not turned back


def test_what_cannot_be_written_has_its_code(clinic, predictor):
    file = sorted(clinic.glob("*.dcm"))[0]
    reading = predictor.predict(file)
    with pytest.raises(Rejected) as caught:
        build_dicom_objects(predictor.predict(clinic / "z.png"), clinic / "z.png")
    assert caught.value.code == "no_dicom"
    dataset = pydicom.dcmread(file)
    del dataset.SeriesInstanceUID
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    with pytest.raises(Rejected) as caught:
        build_dicom_objects(reading, io.BytesIO(buffer.getvalue()))
    assert caught.value.code == "no_uids"
    dataset = pydicom.dcmread(file)
    dataset.Rows = 12
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    with pytest.raises(Rejected) as caught:
        build_dicom_objects(reading, io.BytesIO(buffer.getvalue()))
    assert caught.value.code == "geometry"
