"""Labels, patients or a descriptor changed after an ingest: the cohort follows, and says what changed."""

import json
import math
from pathlib import Path

import pytest

from medprior.cli import main
from medprior.cohort import Cohort
from medprior.errors import MedpriorError
from medprior.ingest import ingest_images
from medprior.ingest.identity import load_private_pseudonymizer
from tests.ingest.corrected_folders import EIGHT_BITS, CorrectedFolder, describe, read_manifest, read_summary
from tests.ingest.radiograph_files import ONE_WORKER, fill_with_dicom, read_files, write_png


@pytest.fixture
def folder(tmp_path):
    return CorrectedFolder(tmp_path / "in")


def ingest(folder, cohort, **more):
    """Ingest with the table and descriptor as they are; patient, label and split by file name."""
    ingest_images(folder.path, cohort, str(folder.descriptor_path), ONE_WORKER, **more)
    return read_manifest(cohort, load_private_pseudonymizer(None, cohort))


def test_corrected_labels_are_taken_over_and_counted(folder, tmp_path, capsys):
    before = ingest(folder, tmp_path / "c")
    pixels = (tmp_path / "c" / "pixels" / "00000.u16").read_bytes()
    assert "corrections" not in read_summary(tmp_path / "c")
    assert "corrected" not in capsys.readouterr().err.replace(str(tmp_path), "")
    folder.rows["x001"][1], folder.rows["x004"][1] = 0, ""
    folder.write()
    after = ingest(folder, tmp_path / "c")
    assert after["x001"] == (before["x001"][0], 0.0, before["x001"][2])
    assert math.isnan(after["x004"][1])
    unchanged = set(before) - {"x001", "x004"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert read_summary(tmp_path / "c")["corrections"] == {"images": 2, "labels": {"Effusion": 2}}
    assert capsys.readouterr().err.splitlines()[-1] == "note: corrected: images 2, label Effusion 2"
    assert (tmp_path / "c" / "pixels" / "00000.u16").read_bytes() == pixels
    written = read_files(tmp_path / "c")
    ingest(folder, tmp_path / "c")
    assert read_files(tmp_path / "c") == written


def test_a_correction_taken_back_gives_the_first_labels_again(folder, tmp_path):
    before = ingest(folder, tmp_path / "c")
    for effusion in (0, 1):
        folder.rows["x001"][1] = effusion
        folder.write()
        after = ingest(folder, tmp_path / "c")
    assert after == before
    assert read_summary(tmp_path / "c")["corrections"] == {"images": 1, "labels": {"Effusion": 1}}


def test_another_column_for_a_label_is_a_correction(folder, tmp_path):
    ingest(folder, tmp_path / "c")
    tables = describe()["tables"]
    folder.write(tables=[tables[0] | {"labels": {"Effusion": ["effusion"], "Late": ["effusion"]}}])
    ingest(folder, tmp_path / "c")
    assert Cohort.open(tmp_path / "c").label_names == ("Effusion", "Late")
    assert read_summary(tmp_path / "c")["corrections"] == {"images": 12, "labels": {"Late": 12}}
    folder.write()
    ingest(folder, tmp_path / "c")
    assert Cohort.open(tmp_path / "c").label_names == ("Effusion",)


def split_pair(before):
    """Two images of different patients in train and test, and one more of the patient in test."""
    train = next(name for name, row in before.items() if row[2] == "train")
    test, mate = [name for name, row in before.items() if row[2] == "test"][:2]
    return train, test, mate


def test_patients_that_are_divided_or_renamed_keep_their_splits(folder, tmp_path):
    before = ingest(folder, tmp_path / "c")
    _, test, mate = split_pair(before)
    folder.rows[test][0], folder.rows[mate][0] = "new", "other"
    folder.write()
    after = ingest(folder, tmp_path / "c")
    assert len({after[test][0], after[mate][0], before[test][0]}) == 3
    assert {name: row[2] for name, row in after.items()} == {name: row[2] for name, row in before.items()}
    assert read_summary(tmp_path / "c")["corrections"] == {"images": 2, "patient_id": 2}
    assert read_summary(tmp_path / "c")["patients"] == 7


@pytest.mark.parametrize("kind", ["patient", "official"])
def test_a_correction_across_splits_is_refused_and_leaves_no_trace_until_told(folder, tmp_path, kind):
    before = ingest(folder, tmp_path / "c")
    written = read_files(tmp_path / "c")
    train, test, _ = split_pair(before)
    patient = folder.rows[train][0]
    if kind == "patient":
        folder.rows[train][0] = folder.rows[test][0]
    else:
        folder.rows[train][2] = "test"
    folder.write()
    with pytest.raises(MedpriorError, match=r"would change their split.*--resplit") as error:
        ingest(folder, tmp_path / "c")
    assert "from train to test" in error.value.found
    assert read_files(tmp_path / "c") == written
    after = ingest(folder, tmp_path / "c", resplit=True)
    # The data set as corrected is split as in a first ingest.
    assert after == ingest(folder, tmp_path / "fresh")
    assert after[train][2] == after[test][2] if kind == "patient" else after[train][2] == "test"
    if kind == "official":
        mates = [name for name, row in folder.rows.items() if row[0] == patient]
        assert {after[name][2] for name in mates} == {"test"}
    settled = read_files(tmp_path / "c")
    ingest(folder, tmp_path / "c")
    assert read_files(tmp_path / "c") == settled


def test_resplit_on_the_command_line(folder, tmp_path, capsys):
    before = ingest(folder, tmp_path / "c")
    train, test, _ = split_pair(before)
    folder.rows[train][0] = folder.rows[test][0]
    folder.write()
    arguments = ["ingest", str(folder.path), str(tmp_path / "c"), "--dataset", str(folder.descriptor_path)]
    arguments += ["--workers", "1", "--store-size", "64", "--no-tracking"]
    assert main(arguments) == 2
    assert "--resplit" in capsys.readouterr().err
    assert main([*arguments, "--resplit"]) == 0
    assert "note: corrected: images 1, patient id 1" in capsys.readouterr().err


def test_a_descriptor_that_comes_late_replaces_the_images_and_keeps_their_splits(folder, tmp_path, capsys):
    first = ingest_images(folder.path, tmp_path / "c", None, ONE_WORKER)
    assert len(first) == 12
    before = dict(zip(first.manifest.pixel_sha256, first.manifest.split, strict=True))
    # Each file was a patient of its own: only single patients can keep every split.
    for name, row in folder.rows.items():
        row[0] = name
    folder.write()
    after = ingest(folder, tmp_path / "c")
    assert len(after) == 12
    assert {row[1] for row in after.values()} == {0.0, 1.0}
    cohort = Cohort.open(tmp_path / "c")
    assert dict(zip(cohort.manifest.pixel_sha256, cohort.manifest.split, strict=True)) == before
    assert read_summary(tmp_path / "c")["corrections"] == {"images": 0, "removed_images": 12}
    assert "note: corrected: images 0, removed images 12" in capsys.readouterr().err
    for image_id in cohort.image_ids:
        assert cohort.pixels(image_id).shape == (64, 53)


def test_a_late_descriptor_whose_patients_span_splits_is_refused(folder, tmp_path):
    ingest_images(folder.path, tmp_path / "c", None, ONE_WORKER)
    manifest = (tmp_path / "c" / "manifest.parquet").read_bytes()
    for row in folder.rows.values():
        row[0] = "one"
    folder.write()
    with pytest.raises(MedpriorError, match="would change their split"):
        ingest(folder, tmp_path / "c")
    assert (tmp_path / "c" / "manifest.parquet").read_bytes() == manifest
    assert len(Cohort.open(tmp_path / "c")) == 12
    after = ingest(folder, tmp_path / "c", resplit=True)
    assert (len(after), len({row[2] for row in after.values()})) == (12, 1)


def test_new_rules_for_the_pixels_decode_the_files_again(folder, tmp_path):
    ingest(folder, tmp_path / "c")
    images = [describe()["images"][0] | {"stretch": True}]
    plain = Cohort.open(tmp_path / "c")
    ids, levels = plain.image_ids, {image_id: plain.pixels(image_id).min() for image_id in plain.image_ids}
    for name in folder.rows:
        write_png(folder.path / f"{name}_mask.png", array=(EIGHT_BITS > 100).astype("u1") * 255)
    images[0]["match"] = r"(^|/)(?P<id>x\d+)\.png$"
    masks = [{"match": r"^(?P<id>[^/]+)_mask\.png$", "structure": "heart"}]
    folder.write(images=images, masks=masks)
    ingest(folder, tmp_path / "c")
    after = Cohort.open(tmp_path / "c")
    assert list(after.image_ids) == list(ids)
    assert after.structures == ("heart",)
    assert all(after.pixels(image_id).min() < levels[image_id] for image_id in ids)
    assert read_summary(tmp_path / "c")["corrections"] == {"images": 12, "images_read_again": 12}
    folder.write(images=images)
    ingest(folder, tmp_path / "c")
    assert Cohort.open(tmp_path / "c").structures == ()
    assert not list((tmp_path / "c" / "masks").rglob("*.png"))


def test_another_key_gives_other_ids_and_no_doubles(folder, tmp_path):
    ingest(folder, tmp_path / "c")
    folder.rows = {f"{name}.png": row for name, row in folder.rows.items()}
    tables = [describe()["tables"][0] | {"key_match": r"^(?P<id>.+)$"}]
    folder.write(images=[{"match": r"(^|/)(?P<id>[^/]+\.png)$"}], tables=tables)
    cohort = ingest_images(folder.path, tmp_path / "c", str(folder.descriptor_path), ONE_WORKER)
    assert len(cohort) == 12
    assert read_summary(tmp_path / "c")["corrections"] == {"images": 0, "removed_images": 12}
    assert cohort.labels().sum() == 6


def test_other_data_sets_and_other_folders_of_a_cohort_stay_as_they_are(folder, tmp_path):
    ingest(folder, tmp_path / "c")
    fill_with_dicom(tmp_path / "dicom", 4)
    ingest_images(tmp_path / "dicom", tmp_path / "c", None, ONE_WORKER)
    lines = (tmp_path / "c" / "journal.jsonl").read_bytes().splitlines()
    folder.rows["x003"][1] = 0
    folder.write()
    ingest_images(folder.path, tmp_path / "c", str(folder.descriptor_path), ONE_WORKER)
    assert len(Cohort.open(tmp_path / "c")) == 16
    again = (tmp_path / "c" / "journal.jsonl").read_bytes().splitlines()
    assert again[: len(lines)] == lines
    assert [set(json.loads(line)) & {"tables", "image_id"} for line in again[len(lines) :]] == [
        {"tables"},
        {"image_id"},
    ]


def test_outcomes_without_header_facts_are_read_again_first(folder, tmp_path):
    # Cohorts of earlier versions: the private journal lacks what headers said.
    before = ingest(folder, tmp_path / "c")
    journal = Path(f"{tmp_path / 'c'}.private") / "journal.jsonl"
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    old = [{name: row[name] for name in row if name not in {"header", "pixels", "decoding"}} for row in rows]
    journal.write_text("".join(json.dumps(row) + "\n" for row in old))
    folder.rows["x001"][1] = 0
    folder.write()
    after = ingest(folder, tmp_path / "c")
    assert after == before | {"x001": (before["x001"][0], 0.0, before["x001"][2])}


def test_two_folders_with_one_table_are_both_corrected(folder, tmp_path):
    other = tmp_path / "more"
    other.mkdir()
    for number in range(6, 12):
        (folder.path / f"x{number:03d}.png").rename(other / f"x{number:03d}.png")

    def ingest_both():
        (other / "labels.csv").write_bytes((folder.path / "labels.csv").read_bytes())
        for path in (folder.path, other):
            ingest_images(path, tmp_path / "c", str(folder.descriptor_path), ONE_WORKER)
        return read_manifest(tmp_path / "c", load_private_pseudonymizer(None, tmp_path / "c"))

    assert sum(row[1] for row in ingest_both().values()) == 6
    for row in folder.rows.values():
        row[1] = 1
    folder.write()
    assert {row[1] for row in ingest_both().values()} == {1.0}


def test_images_outside_a_sample_are_corrected_by_the_next_whole_run(folder, tmp_path):
    ingest(folder, tmp_path / "c")
    for row in folder.rows.values():
        row[1] = 1
    folder.write()
    sample = ONE_WORKER.model_copy(update={"limit": 3})
    cohort = ingest_images(folder.path, tmp_path / "c", str(folder.descriptor_path), sample)
    assert len(cohort) == 12
    assert {row[1] for row in ingest(folder, tmp_path / "c").values()} == {1.0}
