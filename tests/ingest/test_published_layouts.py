"""Every shipped descriptor on its data set's published folders, names and table headers; pixels are made up."""

import numpy as np
import pytest
from PIL import Image

from medprior.ingest import IngestSettings, ingest_images
from tests.ingest.radiograph_files import EIGHT_BITS, write_png

ONE = IngestSettings(workers=1, store_size=64)


def shift_picture(number):
    """A picture of its own for every number, uint8 [h, w]."""
    return np.roll(EIGHT_BITS, 3 * number, axis=1)


def write_pictures(folder, names):
    """Write one distinct picture per name; JPEG or PNG by suffix."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shift_picture(number)).save(path)


# Mendeley Data 10.17632/rscbjbr9sj (version 2, ChestXRay2017.zip) and its widespread copy, which repeats the folder.
KERMANY = {
    "train/NORMAL/IM-0115-0001.jpeg": ("IM-0115", 0, 0, 0),
    "train/NORMAL/IM-0129-0001-0002.jpeg": ("IM-0129", 0, 0, 0),
    "train/NORMAL/NORMAL2-IM-0381-0001.jpeg": ("NORMAL2-IM-0381", 0, 0, 0),
    "train/PNEUMONIA/person1_bacteria_1.jpeg": ("person1", 1, 1, 0),
    "train/PNEUMONIA/person1_bacteria_2.jpeg": ("person1", 1, 1, 0),
    "train/PNEUMONIA/person1000_virus_1681.jpeg": ("person1000", 1, 0, 1),
    "test/NORMAL/IM-0001-0001.jpeg": ("IM-0001", 0, 0, 0),
    "test/PNEUMONIA/person1_virus_6.jpeg": ("person1", 1, 0, 1),
}


@pytest.mark.parametrize("top", ["", "chest_xray/"])
@pytest.mark.parametrize("has_copy", [False, True])
def test_kermany_archive(tmp_path, top, has_copy):
    write_pictures(tmp_path / "in" / top, KERMANY)
    if has_copy:
        write_pictures(tmp_path / "in" / top / "chest_xray", KERMANY)
        junk = tmp_path / "in" / top / "__MACOSX" / "chest_xray" / "train" / "NORMAL" / "._IM-0115-0001.jpeg"
        junk.parent.mkdir(parents=True)
        junk.write_bytes(b"\x00\x05\x16\x07")
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", "kermany", ONE)
    frame = cohort.manifest
    rows = zip(frame.Pneumonia, frame.bacterial_pneumonia, frame.viral_pneumonia, strict=True)
    assert sorted(rows) == sorted(values[1:] for values in KERMANY.values())
    assert set(frame["view"]) == {"AP"}
    assert frame.patient_id.nunique() == 6
    assert set(frame.groupby("patient_id").size()) == {1, 3}


def test_kermany_subset_with_a_table(tmp_path):
    write_pictures(tmp_path / "images", ["person3_virus_17.jpeg", "person3_bacteria_10.jpeg", "IM-0005-0001.jpeg"])
    (tmp_path / "labels.csv").write_text(
        "image,patient_id,label\nIM-0005-0001.jpeg,IM-0005,normal\nperson3_virus_17.jpeg,person3,viral\n"
        "person3_bacteria_10.jpeg,person3,bacterial\n"
    )
    frame = ingest_images(tmp_path, tmp_path / "c", "kermany", ONE).manifest
    labels = frame[["Pneumonia", "bacterial_pneumonia", "viral_pneumonia"]].to_numpy().tolist()
    assert sorted(labels) == [[0, 0, 0], [1, 0, 1], [1, 1, 0]]
    assert frame.patient_id.nunique() == 2


def test_wingspan_layout(tmp_path):
    """Masks are interpolated, 0 to 255; the images are frontal and forced square (Dong et al., MICCAI 2018)."""
    for number in (1, 2):
        write_png(tmp_path / "images" / f"wing{number:03d}.png", shift_picture(number))
        for structure, start in (("right_lung", 10), ("left_lung", 50), ("heart", 40)):
            mask = np.zeros(EIGHT_BITS.shape, "u1")
            mask[20:60, start : start + 25] = 255
            mask[19, start : start + 25] = 3
            write_png(tmp_path / "masks" / structure / f"wing{number:03d}.png", mask)
    cohort = ingest_images(tmp_path, tmp_path / "c", "wingspan", IngestSettings(workers=1))
    assert set(cohort.structures) == {"left_lung", "right_lung", "heart"}
    assert cohort.manifest.patient_id.nunique() == 2
    mask = cohort.mask(cohort.image_ids[0], "left_lung")
    assert not mask[19].any()
    np.testing.assert_array_equal(np.flatnonzero(mask[20]), np.arange(50, 75))
