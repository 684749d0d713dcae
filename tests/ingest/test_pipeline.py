import io
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medprior.cli import main
from medprior.cohort import Cohort
from medprior.dicom import Radiograph, RawIdentifiers
from medprior.dicom.decoding.samples import create_sample_picture
from medprior.errors import ConfigError, InputMissing, MedpriorError
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest.decoding import DecodedImage
from medprior.ingest.descriptor import load_descriptor
from medprior.ingest.identity import Pseudonymizer
from medprior.ingest.pipeline import IngestRun
from medprior.ingest.plan import ImageSource
from tests.ingest.radiograph_files import (
    CANARY,
    ONE_WORKER,
    encode_radiograph,
    fill_with_dicom,
    read_files,
    read_sources,
)
from tests.shipped_radiograph import SHIPPED_RADIOGRAPH, load_stored_values

REAL = Path(__file__).parents[3] / "shared" / "data"


def test_dicom_folder_becomes_a_cohort(tmp_path, capfd):
    cohort = ingest_images(fill_with_dicom(tmp_path / "in"), tmp_path / "c", settings=ONE_WORKER)
    assert len(cohort) == 8
    lines = capfd.readouterr().err.splitlines()
    counts = cohort.manifest.split.value_counts()
    assert lines[-4].startswith(f"splits: train {counts['train']} of ")
    assert lines[-3:-1] == ["labels: none", "masks: none"]
    assert lines[-1] == f"next: medprior annotate ANNOTATION --cohort {tmp_path / 'c'} --page"
    assert len(set(cohort.patient_ids)) == 4
    assert set(cohort.manifest["view"]) == {"PA"}
    names = (
        "manifest.parquet",
        "quarantine.csv",
        "summary.json",
        "contact_sheet.png",
        "config.json",
    )
    assert all((tmp_path / "c" / name).is_file() for name in names)
    source = read_sources(tmp_path / "c")[f"{CANARY}_003/x.dcm"]
    expected = np.roll(create_sample_picture(), 3, axis=1) / 4095
    assert cohort.manifest.set_index("image_id").loc[source.image_id, "rows"] == 96
    big = ingest_images(tmp_path / "in", tmp_path / "big", settings=IngestSettings(workers=1))
    np.testing.assert_allclose(big.pixels(source.image_id), expected, atol=1e-4)


def test_refused_files_never_end_the_run(tmp_path):
    folder = fill_with_dicom(tmp_path / "in", 4)
    (folder / "note.txt").write_text("not a picture")
    (folder / "empty.dcm").touch()
    (folder / "cut.dcm").write_bytes(encode_radiograph(9)[:2000])
    (folder / "hand.dcm").write_bytes(encode_radiograph(10, BodyPartExamined="HAND"))
    (folder / "link.dcm").symlink_to(folder / "hand.dcm")
    (folder / "away").symlink_to("/")
    os.mkfifo(folder / "pipe.dcm")
    (folder / "folder.dcm").mkdir()
    cohort = ingest_images(folder, tmp_path / "c", settings=ONE_WORKER)
    assert len(cohort) == 4
    quarantine = pd.read_csv(tmp_path / "c" / "quarantine.csv")
    assert list(quarantine.columns) == ["item", "code", "message"]
    codes = {name.split("/")[1]: row.code for name, row in read_sources(tmp_path / "c").items()}
    assert codes["note.txt"] == "not_dicom"
    assert codes["empty.dcm"] == "empty"
    assert codes["cut.dcm"] == "truncated"
    assert codes["hand.dcm"] == "body_part"
    assert codes["link.dcm"] == codes["pipe.dcm"] == codes["away"] == "not_a_file"
    assert sorted(quarantine.code) == sorted(code for code in codes.values() if code == code)


def test_copies_conflicts_and_equal_pixels(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(encode_radiograph(0, patient="one", sop="1.2.9"))
    (folder / "b.dcm").write_bytes(encode_radiograph(0, patient="one", sop="1.2.9"))
    (folder / "c.dcm").write_bytes(encode_radiograph(4, patient="one", sop="1.2.9"))
    (folder / "d.dcm").write_bytes(encode_radiograph(0, patient="two", sop="1.2.10"))
    for number in range(5, 25):
        (folder / f"x{number}.dcm").write_bytes(encode_radiograph(number))
    cohort = ingest_images(folder, tmp_path / "c", settings=ONE_WORKER)
    rows = {name.split("/")[1]: row for name, row in read_sources(tmp_path / "c").items()}
    assert rows["a.dcm"].image_id == rows["b.dcm"].image_id
    assert rows["c.dcm"].code == "conflict"
    split = cohort.manifest.set_index("image_id").split
    same = [rows["a.dcm"].image_id, rows["d.dcm"].image_id]
    assert same[0] != same[1]
    assert split[same[0]] == split[same[1]]


def test_no_patient_data_leaves_the_private_folder(tmp_path, capfd):
    folder = fill_with_dicom(tmp_path / "in", 6, InstitutionName=CANARY, StudyDescription=CANARY)
    (folder / f"{CANARY}.txt").write_text(CANARY)
    arguments = ["ingest", str(folder), str(tmp_path / "c"), "--workers", "1", "--no-tracking"]
    assert main(arguments) == 0
    printed = capfd.readouterr()
    assert CANARY not in printed.out + printed.err
    for name, data in read_files(tmp_path / "c").items():
        assert CANARY not in name
        assert CANARY.encode() not in data, name
    frame = pd.read_parquet(tmp_path / "c" / "manifest.parquet")
    assert CANARY not in frame.to_csv()
    private = tmp_path / "c.private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private.iterdir())


def test_running_again_and_adding_files_keeps_ids_and_splits(tmp_path):
    folder = fill_with_dicom(tmp_path / "in", 12)
    first = ingest_images(folder, tmp_path / "c", settings=ONE_WORKER)
    before = read_files(tmp_path / "c")
    ingest_images(folder, tmp_path / "c", settings=ONE_WORKER)
    assert read_files(tmp_path / "c") == before
    for number in range(20, 26):
        (folder / f"new{number}.dcm").write_bytes(encode_radiograph(number))
    more = ingest_images(folder, tmp_path / "c", settings=ONE_WORKER)
    assert len(more) == 18
    old = first.manifest.set_index("image_id").split
    pd.testing.assert_series_equal(more.manifest.set_index("image_id").split[old.index], old)


def test_png_and_jpeg_without_a_descriptor(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    picture = create_sample_picture(bits=8).astype("u1")
    for name in ("a.png", "copy.png", "b.jpg"):
        Image.fromarray(picture).save(folder / name)
    cohort = ingest_images(folder, tmp_path / "c", settings=ONE_WORKER)
    assert len(cohort) == 2
    assert cohort.patient_ids[0] != cohort.patient_ids[1]


def test_one_patient_is_said_and_refused_where_a_split_is_needed(tmp_path, capfd):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.dcm").write_bytes(encode_radiograph(number, patient="only"))
    cohort = ingest_images(folder, tmp_path / "c", settings=ONE_WORKER)
    assert "1 patient(s) are too few" in capfd.readouterr().err
    empty = [name for name in ("train", "val", "test") if name not in set(cohort.manifest.split)]
    assert len(empty) == 2
    with pytest.raises(InputMissing, match="is empty"):
        cohort.split(empty[0])


def test_two_runs_on_one_cohort(tmp_path):
    from medprior.cohort import CohortWriter

    folder = fill_with_dicom(tmp_path / "in", 1)
    with CohortWriter(tmp_path / "c", 64), pytest.raises(MedpriorError, match="another run"):
        ingest_images(folder, tmp_path / "c", settings=ONE_WORKER)


@pytest.mark.parametrize(
    ("name", "dataset", "structures", "labels"),
    [("nih", "nih", 0, 14), ("shenzhen", "shenzhen", 1, 1), ("dicom", None, 0, 0)],
)
def test_real_folders(tmp_path, name, dataset, structures, labels):
    if not (REAL / name).is_dir():
        pytest.skip(f"shared/data/{name} is not here")
    settings = IngestSettings(workers=1, limit=40, store_size=64)
    cohort = ingest_images(REAL / name, tmp_path / "c", dataset, settings)
    assert len(cohort) == (2 if name == "dicom" else 40)
    assert len(cohort.structures) == structures
    assert len(cohort.label_names) == labels
    assert not np.isnan(cohort.labels()).any()
    if name == "nih":
        assert set(cohort.manifest["view"]) == {"PA", "AP"}
        assert cohort.manifest.age.between(0, 90).all()
    if name == "shenzhen":
        known = cohort.mask_squares("lungs", 32)
        assert known[1].all()
        assert 0.05 < known[0].mean() < 0.6


def test_the_real_radiograph_that_ships_becomes_a_cohort(tmp_path):
    """Its stored pixels are the area average of the picture, its facts those of the header."""
    (tmp_path / "in").mkdir()
    shutil.copy(SHIPPED_RADIOGRAPH, tmp_path / "in")
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", settings=IngestSettings(workers=1, store_size=64))
    (row,) = cohort.manifest.itertuples()
    assert (row.view, row.flags) == ("UNKNOWN", "secondary_capture|derived|secondary")
    assert "wingspan" not in "".join(str(value) for value in row)
    expected = load_stored_values().reshape(64, 8, 64, 8).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(cohort.pixels(row.image_id), expected, atol=0.01)


def test_a_cohort_opens_by_reading_only(tmp_path):
    cohort = ingest_images(fill_with_dicom(tmp_path / "in", 3), tmp_path / "c", settings=ONE_WORKER)
    before = read_files(tmp_path / "c")
    Cohort.open(tmp_path / "c").pixels(cohort.image_ids[0])
    assert read_files(tmp_path / "c") == before
    assert io.BytesIO(before["manifest.parquet"]).read(4) == b"PAR1"


def test_images_lost_with_the_power_are_read_again(tmp_path):
    # The private journal says done, the cohort's own journal lost its end: what a power cut leaves.
    folder = fill_with_dicom(tmp_path / "in", 8)
    ingest_images(folder, tmp_path / "c", settings=ONE_WORKER)
    whole = read_files(tmp_path / "c")
    journal = tmp_path / "c" / "journal.jsonl"
    kept = journal.read_bytes().splitlines(keepends=True)[:-3]
    journal.write_bytes(b"".join(kept))
    ingest_images(folder, tmp_path / "c", settings=ONE_WORKER)
    assert read_files(tmp_path / "c") == whole


PSEUDONYMS = Pseudonymizer(b"key")


def run_of(dataset=None) -> IngestRun:
    """A run that only names images and patients."""
    return IngestRun(None, None, load_descriptor(dataset), PSEUDONYMS, {})


def image_of(patient="", study="", sop="", digest="digest") -> DecodedImage:
    """A decoded image of which only the identity matters."""
    empty = np.zeros((0, 0), np.float32)
    metadata = Radiograph(empty, empty.astype(bool), pixel_sha256=digest)
    return DecodedImage(empty.astype(np.uint16), None, {}, (1, 1), metadata, RawIdentifiers(patient, study, sop))


def test_an_image_is_named_by_the_data_set_else_by_its_instance_else_by_its_pixels():
    source = ImageSource("/a", "a", "CHNCXR_0001_0", None, ())
    image = image_of(sop="1.2.3")
    assert run_of("shenzhen").assign_image_id(source, image) == PSEUDONYMS.pseudonym("image", "shenzhen\0CHNCXR_0001_0")
    assert run_of().assign_image_id(source, image) == PSEUDONYMS.pseudonym("instance", "1.2.3")
    assert run_of().assign_image_id(source, image_of(sop="none")) == PSEUDONYMS.pseudonym("picture", "digest")


@pytest.mark.parametrize(
    ("image", "fields", "patient", "study"),
    [
        (image_of("P", "1.2"), {"patient_id": "7", "study_id": "s"}, ("patient", "files\x007"), ("study", "s")),
        (image_of("P", "1.2"), {}, ("patient", "P"), ("study", "1.2")),
        (image_of("P", "none"), {}, ("patient", "P"), ("study", "i1")),
        (image_of("", "1.2"), {}, None, ("study", "1.2")),
        (image_of(), {"study_id": "s"}, None, ("study", "s")),
    ],
)
def test_patients_come_from_tables_then_headers_and_without_an_id_every_study_is_one(image, fields, patient, study):
    joiner = run_of().joiner
    patient_id, study_id = joiner.assign_patient_and_study("i1", joiner.read_header_facts(image), fields)
    assert study_id == PSEUDONYMS.pseudonym(*study)
    expected = PSEUDONYMS.pseudonym(*patient) if patient else PSEUDONYMS.pseudonym("patient of study", study_id)
    assert patient_id == expected


def test_a_tree_of_links_is_read_where_the_policy_allows_it(tmp_path):
    """Two links to one content are two files of one picture, and a second run finds both done."""
    content = tmp_path / "in" / ".git" / "annex" / "objects" / "x"
    fill_with_dicom(content, 2)
    for number, path in enumerate(sorted(content.rglob("*.dcm"))):
        for name in "ab":
            (tmp_path / "in" / f"{name}{number}.dcm").symlink_to(path)
    with pytest.raises(MedpriorError, match="not_a_file 4"):
        ingest_images(tmp_path / "in", tmp_path / "none", settings=ONE_WORKER)
    settings = ONE_WORKER.model_copy(update={"follow_links": "inside"})
    for _ in range(2):
        cohort = ingest_images(tmp_path / "in", tmp_path / "c", settings=settings)
        assert len(cohort) == 2
        summary = json.loads((cohort.path / "summary.json").read_text())
        assert summary["files"] == {"read": 4, "accepted": 4}


def test_a_key_inside_the_input_is_refused_before_anything_is_read(tmp_path):
    fill_with_dicom(tmp_path / "in", 1)
    with pytest.raises(ConfigError, match="must not lie beside the data"):
        ingest_images(tmp_path / "in", tmp_path / "c", settings=ONE_WORKER, key=tmp_path / "in" / "identity.key")
    assert not (tmp_path / "c").exists()
