import io
import json
import os
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medprior.cli import main
from medprior.cohort import Cohort
from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.errors import InputMissing, MedpriorError
from medprior.ingest import IngestSettings, ingest_images

REAL = Path(__file__).parents[3] / "shared" / "data"
ONE = IngestSettings(workers=1, store_size=64)
CANARY = "CANARY7"
SYNTAXES = (None, "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90")


def radiograph(number, patient=None, sop=None, **elements):
    """Bytes of a distinct DX file."""
    stored = np.roll(create_sample_picture(), number, axis=1)
    dataset = create_sample_dataset(
        stored,
        PatientID=patient or f"{CANARY}-{number // 2}",
        SOPInstanceUID=sop or f"1.2.3.{number}",
        StudyInstanceUID=f"1.2.4.{number // 2}",
        PatientName=f"{CANARY}^NAME",
        **elements,
    )
    syntax = SYNTAXES[number % len(SYNTAXES)]
    return serialise_dataset(compress_dataset(dataset, syntax) if syntax else dataset)


def fill(folder, count=8, **elements):
    for number in range(count):
        path = folder / f"{CANARY}_{number:03d}" / "x.dcm"
        path.parent.mkdir(parents=True)
        path.write_bytes(radiograph(number, **elements))
    return folder


def sources_of(cohort):
    frame = pd.read_csv(cohort.with_name(cohort.name + ".private") / "sources.csv")
    return {Path(row.source).parent.name + "/" + Path(row.source).name: row for row in frame.itertuples()}


def tree(folder):
    """Every file's bytes; of `config.json` all but the commit of the checkout, which may move."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "cache" not in path.parts
    }
    if "config.json" in files:
        config = json.loads(files["config.json"]) | {"git_commit": ""}
        files["config.json"] = json.dumps(config).encode()
    return files


def test_dicom_folder_becomes_a_cohort(tmp_path):
    cohort = ingest_images(fill(tmp_path / "in"), tmp_path / "c", settings=ONE)
    assert len(cohort) == 8
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
    source = sources_of(tmp_path / "c")[f"{CANARY}_003/x.dcm"]
    expected = np.roll(create_sample_picture(), 3, axis=1) / 4095
    assert cohort.manifest.set_index("image_id").loc[source.image_id, "rows"] == 96
    big = ingest_images(tmp_path / "in", tmp_path / "big", settings=IngestSettings(workers=1))
    np.testing.assert_allclose(big.pixels(source.image_id), expected, atol=1e-4)


def test_refused_files_never_end_the_run(tmp_path):
    folder = fill(tmp_path / "in", 4)
    (folder / "note.txt").write_text("not a picture")
    (folder / "empty.dcm").touch()
    (folder / "cut.dcm").write_bytes(radiograph(9)[:2000])
    (folder / "hand.dcm").write_bytes(radiograph(10, BodyPartExamined="HAND"))
    (folder / "link.dcm").symlink_to(folder / "hand.dcm")
    (folder / "away").symlink_to("/")
    os.mkfifo(folder / "pipe.dcm")
    (folder / "folder.dcm").mkdir()
    cohort = ingest_images(folder, tmp_path / "c", settings=ONE)
    assert len(cohort) == 4
    quarantine = pd.read_csv(tmp_path / "c" / "quarantine.csv")
    assert list(quarantine.columns) == ["item", "code", "message"]
    codes = {name.split("/")[1]: row.code for name, row in sources_of(tmp_path / "c").items()}
    assert codes["note.txt"] == "not_dicom"
    assert codes["empty.dcm"] == "empty"
    assert codes["cut.dcm"] == "truncated"
    assert codes["hand.dcm"] == "body_part"
    assert codes["link.dcm"] == codes["pipe.dcm"] == codes["away"] == "not_a_file"
    assert sorted(quarantine.code) == sorted(code for code in codes.values() if code == code)


def test_copies_conflicts_and_equal_pixels(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(radiograph(0, patient="one", sop="1.2.9"))
    (folder / "b.dcm").write_bytes(radiograph(0, patient="one", sop="1.2.9"))
    (folder / "c.dcm").write_bytes(radiograph(4, patient="one", sop="1.2.9"))
    (folder / "d.dcm").write_bytes(radiograph(0, patient="two", sop="1.2.10"))
    for number in range(5, 25):
        (folder / f"x{number}.dcm").write_bytes(radiograph(number))
    cohort = ingest_images(folder, tmp_path / "c", settings=ONE)
    rows = {name.split("/")[1]: row for name, row in sources_of(tmp_path / "c").items()}
    assert rows["a.dcm"].image_id == rows["b.dcm"].image_id
    assert rows["c.dcm"].code == "conflict"
    split = cohort.manifest.set_index("image_id").split
    same = [rows["a.dcm"].image_id, rows["d.dcm"].image_id]
    assert same[0] != same[1]
    assert split[same[0]] == split[same[1]]


def test_no_patient_data_leaves_the_private_folder(tmp_path, capfd):
    folder = fill(tmp_path / "in", 6, InstitutionName=CANARY, StudyDescription=CANARY)
    (folder / f"{CANARY}.txt").write_text(CANARY)
    arguments = ["ingest", str(folder), str(tmp_path / "c"), "--workers", "1", "--no-tracking"]
    assert main(arguments) == 0
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err
    for name, data in tree(tmp_path / "c").items():
        assert CANARY not in name
        assert CANARY.encode() not in data, name
    frame = pd.read_parquet(tmp_path / "c" / "manifest.parquet")
    assert CANARY not in frame.to_csv()
    private = tmp_path / "c.private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private.iterdir())


def test_ids_depend_on_the_key_and_on_nothing_else(tmp_path):
    folder = fill(tmp_path / "in", 4)
    keys = tmp_path / "keys"
    made = [
        ingest_images(folder, tmp_path / name, settings=ONE, key=keys / key)
        for name, key in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    ids = [set(cohort.image_ids) | set(cohort.patient_ids) for cohort in made]
    assert ids[0] == ids[1]
    assert not ids[0] & ids[2]
    assert stat.S_IMODE((keys / "1").stat().st_mode) == 0o600
    with pytest.raises(MedpriorError, match="another identity key"):
        ingest_images(folder, tmp_path / "a", settings=ONE, key=keys / "2")


def test_keys_beside_the_data_open_or_short_are_refused(tmp_path):
    folder = fill(tmp_path / "in", 1)
    for path in (tmp_path / "c" / "key", tmp_path / "c.private" / "key"):
        with pytest.raises(MedpriorError, match="beside the data"):
            ingest_images(folder, tmp_path / "c", settings=ONE, key=path)
    (tmp_path / "short").write_text("abc")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(MedpriorError, match="too short"):
        ingest_images(folder, tmp_path / "c", settings=ONE, key=tmp_path / "short")
    (tmp_path / "short").chmod(0o644)
    with pytest.raises(MedpriorError, match="open to other users"):
        ingest_images(folder, tmp_path / "c", settings=ONE, key=tmp_path / "short")


def test_running_again_and_adding_files_keeps_ids_and_splits(tmp_path):
    folder = fill(tmp_path / "in", 12)
    first = ingest_images(folder, tmp_path / "c", settings=ONE)
    before = tree(tmp_path / "c")
    ingest_images(folder, tmp_path / "c", settings=ONE)
    assert tree(tmp_path / "c") == before
    for number in range(20, 26):
        (folder / f"new{number}.dcm").write_bytes(radiograph(number))
    more = ingest_images(folder, tmp_path / "c", settings=ONE)
    assert len(more) == 18
    old = first.manifest.set_index("image_id").split
    pd.testing.assert_series_equal(more.manifest.set_index("image_id").split[old.index], old)


def test_workers_do_not_change_the_result(tmp_path):
    folder = fill(tmp_path / "in", 10)
    for count in (1, 3):
        settings = IngestSettings(workers=count, store_size=64)
        ingest_images(folder, tmp_path / str(count), settings=settings)
    assert tree(tmp_path / "1") == tree(tmp_path / "3")


def test_limit_draws_the_same_files_again(tmp_path):
    folder = fill(tmp_path / "in", 10)
    settings = ONE.model_copy(update={"limit": 4})
    made = [ingest_images(folder, tmp_path / name, settings=settings).image_ids for name in "ab"]
    assert made[0] == made[1]
    assert len(made[0]) == 4


def test_png_and_jpeg_without_a_descriptor(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    picture = create_sample_picture(bits=8).astype("u1")
    for name in ("a.png", "copy.png", "b.jpg"):
        Image.fromarray(picture).save(folder / name)
    cohort = ingest_images(folder, tmp_path / "c", settings=ONE)
    assert len(cohort) == 2
    assert cohort.patient_ids[0] != cohort.patient_ids[1]


BAD = {
    "absent": (lambda p: None, "no such file or folder"),
    "empty": (lambda p: p.mkdir(), "the input folder is empty"),
    "text": (lambda p: (p.mkdir(), (p / "a.txt").write_text("hello")), "no usable radiograph"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_2(tmp_path, name, capfd):
    make, words = BAD[name]
    make(tmp_path / "in")
    arguments = [str(tmp_path / "in"), str(tmp_path / "c"), "--workers", "1", "--no-tracking"]
    assert main(["ingest", *arguments]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("medprior")]
    assert len(lines) == 1
    assert words in lines[0]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--dataset", "nosuch"], "no such data set descriptor"),
        (["--set", "colour=1"], "unknown key 'colour'"),
        (["--set", "policy.max_side=-1"], "policy.max_side"),
        (["--dataset", "nih"], "none of the"),
    ],
)
def test_bad_options(tmp_path, extra, words, capfd):
    fill(tmp_path / "in", 1)
    arguments = [str(tmp_path / "in"), str(tmp_path / "c"), "--no-tracking", *extra]
    assert main(["ingest", *arguments]) == 2
    error = capfd.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_one_patient_is_said_and_refused_where_a_split_is_needed(tmp_path, capfd):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.dcm").write_bytes(radiograph(number, patient="only"))
    cohort = ingest_images(folder, tmp_path / "c", settings=ONE)
    assert "1 patient(s) are too few" in capfd.readouterr().err
    empty = [name for name in ("train", "val", "test") if name not in set(cohort.manifest.split)]
    assert len(empty) == 2
    with pytest.raises(InputMissing, match="is empty"):
        cohort.split(empty[0])


def test_two_runs_on_one_cohort(tmp_path):
    from medprior.cohort import CohortWriter

    folder = fill(tmp_path / "in", 1)
    with CohortWriter(tmp_path / "c", 64), pytest.raises(MedpriorError, match="another run"):
        ingest_images(folder, tmp_path / "c", settings=ONE)


def test_masks_turn_with_their_picture(tmp_path):
    folder = tmp_path / "in"
    (folder / "dicom").mkdir(parents=True)
    (folder / "masks" / "a").mkdir(parents=True)
    picture = create_sample_picture()
    data = serialise_dataset(create_sample_dataset(picture, PatientOrientation=["R", "F"]))
    (folder / "dicom" / "a.dcm").write_bytes(data)
    mask = picture > 3000
    Image.fromarray(mask).save(folder / "masks" / "a" / "heart.png")
    Image.fromarray(mask[:40]).save(folder / "masks" / "a" / "left_lung.png")
    (folder / "labels.csv").write_text("image,patient_id,effusion,mass\ndicom/a.dcm,p,1,\n")
    cohort = ingest_images(folder, tmp_path / "c", "phantom", IngestSettings(workers=1))
    (image_id,) = cohort.image_ids
    np.testing.assert_array_equal(cohort.mask(image_id, "heart"), np.fliplr(mask))
    assert cohort.mask(image_id, "left_lung") is None
    assert "mask_unusable" in cohort.manifest["flags"].iloc[0]
    np.testing.assert_array_equal(cohort.labels(), [[1, np.nan]])


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


def test_contact_sheet_shows_the_pictures(tmp_path):
    ingest_images(fill(tmp_path / "in", 3), tmp_path / "c", settings=ONE)
    with Image.open(tmp_path / "c" / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 3 * 200
        assert np.asarray(sheet.convert("L")).std() > 20


def test_a_cohort_opens_by_reading_only(tmp_path):
    cohort = ingest_images(fill(tmp_path / "in", 3), tmp_path / "c", settings=ONE)
    before = tree(tmp_path / "c")
    Cohort.open(tmp_path / "c").pixels(cohort.image_ids[0])
    assert tree(tmp_path / "c") == before
    assert io.BytesIO(before["manifest.parquet"]).read(4) == b"PAR1"


def test_images_lost_with_the_power_are_read_again(tmp_path):
    # The private journal says done, the cohort's own journal lost its end: what a power cut leaves.
    folder = fill(tmp_path / "in", 8)
    ingest_images(folder, tmp_path / "c", settings=ONE)
    whole = tree(tmp_path / "c")
    journal = tmp_path / "c" / "journal.jsonl"
    kept = journal.read_bytes().splitlines(keepends=True)[:-3]
    journal.write_bytes(b"".join(kept))
    ingest_images(folder, tmp_path / "c", settings=ONE)
    assert tree(tmp_path / "c") == whole
