"""A segmentation corrected elsewhere and stored in a real archive becomes an annotation."""

import datetime
import json

import numpy as np
import pydicom
import pytest
from highdicom.seg import segread
from pydicom.uid import generate_uid

from medprior.annotate import Annotation
from medprior.annotate.archived_segmentations import annotate_from_archive, load_cohort_key
from medprior.cli import main
from medprior.cohort import Cohort
from medprior.deploy.inference.example import create_example_dicom
from medprior.dicom import read_radiograph
from medprior.dicom.derived.derived_object import CreatorInfo, read_source_header, serialise_object
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.seg import build_segmentation
from medprior.errors import ConfigError, InputMissing
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest.identity import Pseudonymizer
from tests.deploy.servers import free_port
from tests.ingest.archive.archived_radiographs import upload_files
from tests.orthanc import Modality, OrthancServer

SIDE = 128
CREATED = datetime.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)


def draw_masks():
    """Three masks without symmetry, bool [rows, cols] each."""
    masks = {name: np.zeros((SIDE, SIDE), dtype=bool) for name in ("left_lung", "right_lung", "heart")}
    masks["right_lung"][20:90, 15:50] = True
    masks["left_lung"][25:80, 75:110] = True
    masks["heart"][60:100, 55:95] = True
    return masks


def write_prediction(radiograph, path):
    """The masks as medprior itself writes them."""
    image = read_radiograph(radiograph)
    creator = CreatorInfo("0.1", "ab" * 32, CREATED)
    native = NativeGrid.from_radiograph(image)
    path.write_bytes(
        serialise_object(build_segmentation(draw_masks(), read_source_header(radiograph), native, creator))
    )
    return path


def correct(prediction, path, minutes=1, software="Viewer"):
    """The same object after an editor: a corner is added to the heart, and the object has a UID of its own."""
    dataset = pydicom.dcmread(prediction)
    frames = segread(prediction).pixel_array.copy()
    frames[2, 90:110, 60 : 60 + 5 * minutes] = 1
    dataset.PixelData = pydicom.pixels.pack_bits(frames.ravel())
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = software, "Editor", "2"
    dataset.ContentTime = f"03{4 + minutes:02d}05"
    dataset.save_as(path)
    return frames[2].astype(bool)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """An archive with two radiographs, a prediction of the first, and corrections of it; the cohort and its key."""
    root = tmp_path_factory.mktemp("hospital")
    folder = root / "in"
    folder.mkdir()
    for seed in range(2):
        (folder / f"{seed}.dcm").write_bytes(create_example_dicom(seed=seed, side=SIDE))
    key = root / "identity.key"
    settings = IngestSettings(workers=1, store_size=SIDE, fractions=(1.0, 0.0, 0.0))
    cohort = ingest_images(folder, root / "cohort", settings=settings, key=key)
    prediction = write_prediction(folder / "0.dcm", root / "prediction.dcm")
    port = free_port()
    with OrthancServer(root / "orthanc", modalities=[Modality("MEDPRIOR", port)]) as server:
        upload_files(server, [*sorted(folder.iterdir()), prediction])
        urls = {
            "dicomweb": f"dicomweb+{server.dicomweb_url}",
            "get": f"dimse://{server.aet}@127.0.0.1:{server.port}",
            "move": f"dimse://{server.aet}@127.0.0.1:{server.port}?retrieve=move&port={port}",
        }
        yield root, server, cohort, key, urls


def find_image_id(cohort, radiograph, key):
    digest = Pseudonymizer(key.read_bytes().strip()).key_digest(read_radiograph(radiograph).pixel_sha256)
    return cohort.manifest.image_id[cohort.manifest.pixel_sha256 == digest].item()


def test_the_newest_correction_becomes_the_annotation(hospital, tmp_path):
    root, server, cohort, key, urls = hospital
    heart = {}
    for minutes in (3, 1):
        path = tmp_path / f"{minutes}.dcm"
        heart[minutes] = correct(root / "prediction.dcm", path, minutes)
        upload_files(server, [path])
    expected = find_image_id(cohort, root / "in" / "0.dcm", key)
    for protocol, url in urls.items():
        out = tmp_path / protocol
        arguments = [
            "--cohort",
            str(cohort.path),
            "--from-archive",
            url,
            "--key",
            str(key),
            "--notes",
            "second reading",
        ]
        assert main(["annotate", str(out), *arguments, "--no-tracking"]) == 0
        annotation = Annotation.load(out)
        assert annotation.image_id == expected
        np.testing.assert_array_equal(annotation.masks["heart"], heart[3])
        np.testing.assert_array_equal(annotation.masks["right_lung"], draw_masks()["right_lung"])
        assert annotation.notes.startswith("second reading; DICOM SEG ")
        assert "written by Viewer Editor 2, sha256 " in annotation.notes
    record = (tmp_path / "dicomweb" / "annotation.json").read_text()
    dataset = pydicom.dcmread(tmp_path / "3.dcm")
    for text in (dataset.PatientID, str(dataset.PatientName), dataset.SOPInstanceUID, dataset.StudyInstanceUID):
        assert text not in record


def test_a_segmentation_of_an_unknown_image_is_left_alone(hospital, tmp_path):
    root, server, cohort, key, urls = hospital
    stranger = tmp_path / "stranger.dcm"
    stranger.write_bytes(create_example_dicom(seed=9, side=SIDE))
    upload_files(server, [stranger, write_prediction(stranger, tmp_path / "p.dcm")])
    annotation = annotate_from_archive(cohort, urls["get"], key=key)
    assert annotation.image_id == find_image_id(cohort, root / "in" / "0.dcm", key)
    other = find_image_id(cohort, root / "in" / "1.dcm", key)
    with pytest.raises(InputMissing, match=r"no segmentation of this image.*segmentations of 1 image"):
        annotate_from_archive(cohort, urls["dicomweb"], other, key=key)
    with pytest.raises(InputMissing, match=r"no segmentation of a training image.*segmentations of 0 image"):
        annotate_from_archive(cohort, f"{urls['dicomweb']}?PatientID=nobody", key=key)


def test_an_image_of_another_split_is_taken_by_its_name(hospital, tmp_path):
    root, _, _, key, urls = hospital
    settings = IngestSettings(workers=1, store_size=SIDE, fractions=(0.0, 0.0, 1.0))
    cohort = ingest_images(root / "in", tmp_path / "c", settings=settings, key=key)
    with pytest.raises(InputMissing, match=r"no segmentation of a training image.*segmentations of 1 image"):
        annotate_from_archive(cohort, urls["dicomweb"], key=key)
    image_id = find_image_id(cohort, root / "in" / "0.dcm", key)
    assert annotate_from_archive(cohort, urls["dicomweb"], image_id, key=key).image_id == image_id


def test_another_key_or_none_is_refused(hospital, tmp_path):
    _, _, cohort, _, urls = hospital
    (tmp_path / "other.key").write_text("x" * 64)
    (tmp_path / "other.key").chmod(0o600)
    with pytest.raises(ConfigError, match="another identity key"):
        annotate_from_archive(cohort, urls["dicomweb"], key=tmp_path / "other.key")
    with pytest.raises(InputMissing, match="no such identity key"):
        load_cohort_key(cohort, tmp_path / "missing.key")
    assert not (tmp_path / "missing.key").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image", "x.dcm"], "masks come from one place"),
        (["--cohort", "COHORT", "--mask", "heart=x.png"], "masks come from one place"),
        (["--cohort", "COHORT", "--page"], "draw, or give files"),
    ],
)
def test_masks_come_from_one_place(hospital, tmp_path, capfd, arguments, words):
    cohort: Cohort = hospital[2]
    arguments = [str(cohort.path) if text == "COHORT" else text for text in arguments]
    url = "dicomweb+http://127.0.0.1:1/x"
    assert main(["annotate", str(tmp_path / "a"), *arguments, "--from-archive", url, "--no-tracking"]) == 2
    assert words in capfd.readouterr().err


def test_the_annotation_file_keeps_its_form(hospital, tmp_path):
    _, _, cohort, key, urls = hospital
    annotate_from_archive(cohort, urls["dicomweb"], key=key).save(tmp_path / "a")
    record = json.loads((tmp_path / "a" / "annotation.json").read_text())
    assert record["notes"].startswith("DICOM SEG ")
