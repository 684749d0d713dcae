import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from medprior.annotate import Annotation, annotate_from_cohort, annotate_from_files
from medprior.annotate.checks import check_masks
from medprior.annotate.typicality import find_typical_annotated
from medprior.cli import main
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import InputMissing, MedpriorError


def disc(x, y=0.5, radius=0.15, shape=(120, 90)):
    rows, cols = shape
    yy, xx = (np.arange(rows)[:, None] + 0.5) / rows, (np.arange(cols)[None] + 0.5) / cols
    return (yy - y) ** 2 + (xx - x) ** 2 < radius**2


def lungs():
    return {"left_lung": disc(0.75), "right_lung": disc(0.25)}


def picture(shape=(120, 90), seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def test_what_is_saved_is_loaded(tmp_path):
    made = Annotation(
        picture(), lungs() | {"heart": disc(0.55, 0.65, 0.12)}, image_id="a", pixel_sha256="f" * 64,
        spacing_mm=(0.2, 0.2), author="someone", notes="ünïcode",
    )  # fmt: skip
    made.save(tmp_path / "a")
    back = Annotation.load(tmp_path / "a")
    np.testing.assert_allclose(back.image, made.image, atol=1 / 65535)
    assert back.structures == ("heart", "left_lung", "right_lung")
    for name in back.structures:
        np.testing.assert_array_equal(back.masks[name], made.masks[name])
    assert (back.image_id, back.spacing_mm, back.author, back.notes, back.warnings) == (
        "a", (0.2, 0.2), "someone", "ünïcode", ())  # fmt: skip
    record = json.loads((tmp_path / "a" / "annotation.json").read_text())
    assert record["geometry"] == {"rows": 120, "cols": 90, "spacing_mm": [0.2, 0.2]}
    with Image.open(tmp_path / "a" / "image.png") as image:
        assert image.mode.startswith("I")
    with Image.open(tmp_path / "a" / "preview.png") as image:
        assert np.asarray(image.convert("RGB")).std() > 10


def test_a_mask_changed_by_hand_is_refused(tmp_path):
    Annotation(picture(), lungs()).save(tmp_path)
    Image.fromarray(disc(0.5)).save(tmp_path / "left_lung.png")
    with pytest.raises(InputMissing, match=r"left_lung\.png"):
        Annotation.load(tmp_path)


def test_coverage_is_the_share_of_each_pixel_in_the_order_of_the_names():
    made = Annotation(picture(), lungs())
    coverage = made.coverage(20)
    assert coverage.shape == (2, 20, 20)
    np.testing.assert_allclose(
        coverage.mean(axis=(1, 2)), [made.masks[name].mean() for name in made.structures], atol=1e-6
    )
    assert coverage[0, :, 10:].sum() > 0.99 * coverage[0].sum()


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ({}, "no mask"),
        ({"heart": disc(0.5, shape=(90, 120))}, "120 rows x 90 columns, found 90 rows x 120"),
        ({"heart": np.zeros((120, 90), bool)}, "empty"),
        ({"heart": np.ones((120, 90), bool)}, "everywhere"),
        ({"left_lung": disc(0.25), "right_lung": disc(0.75)}, "swapped"),
        ({"Left Lung": disc(0.5)}, "not a structure's name"),
        ({"../x": disc(0.5)}, "not a structure's name"),
        ({"image": disc(0.5)}, "not a structure's name"),
    ],
)
def test_masks_that_cannot_be_right_are_refused(masks, words):
    with pytest.raises(MedpriorError, match=words):
        check_masks((120, 90), masks)


def test_any_structure_is_welcome_and_oddities_are_named():
    assert check_masks((120, 90), lungs()) == ()
    (warning,) = check_masks((120, 90), {"pacemaker": disc(0.7, 0.2, 0.05)})
    assert "pacemaker" in warning
    found = check_masks((120, 90), lungs() | {"heart": disc(0.5, 0.1, 0.1)})
    assert found == ("heart: lies above the lung's centre",)


@pytest.mark.parametrize("ending", ["png", "tiff", "gif"])
def test_mask_formats(tmp_path, ending):
    Image.fromarray((picture() * 255).astype(np.uint8)).save(tmp_path / "image.png")
    for name, mask in lungs().items():
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / f"{name}.{ending}")
    found = annotate_from_files(tmp_path / "image.png", {name: tmp_path / f"{name}.{ending}" for name in lungs()})
    for name, mask in lungs().items():
        np.testing.assert_array_equal(found.masks[name], mask)
    assert found.image_id is None
    assert len(found.pixel_sha256) == 64


def write_dicom(path: Path, pixels, orientation):
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data.Modality, data.BodyPartExamined, data.ViewPosition = "DX", "CHEST", "PA"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.PatientOrientation = orientation
    data.PixelData = (pixels * 4095).astype("<u2").tobytes()
    data.save_as(path, enforce_file_format=True)


def test_masks_of_a_mirrored_dicom_are_turned_with_it(tmp_path):
    pixels = picture((160, 120))
    shape = pixels.shape
    # Drawn on the stored, mirrored pixels: there the patient's left lung is on the left.
    stored = {"left_lung": disc(0.25, shape=shape), "right_lung": disc(0.75, shape=shape)}
    write_dicom(tmp_path / "plain.dcm", pixels, ["L", "F"])
    write_dicom(tmp_path / "mirrored.dcm", pixels, ["R", "F"])
    for name, mask in stored.items():
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    masks = {name: tmp_path / f"{name}.png" for name in stored}
    found = annotate_from_files(tmp_path / "mirrored.dcm", masks)
    np.testing.assert_array_equal(found.masks["left_lung"], stored["left_lung"][:, ::-1])
    with pytest.raises(MedpriorError, match="swapped"):
        annotate_from_files(tmp_path / "plain.dcm", masks)


def cohort_at(path: Path) -> Cohort:
    with CohortWriter(path) as writer:
        for index in range(20):
            # Index 7 is the cleanest picture, 8 the cleanest one that has masks.
            noise = picture(seed=index) * (0.05 if index == 7 else 0.1 if index == 8 else 1.0)
            pixels = np.clip(0.7 * disc(0.5, radius=0.3) + 0.3 * noise, 0, 1).astype(np.float32)
            masks = lungs() | {"effusion": disc(0.8)} if index >= 8 else {}
            writer.add(
                image_id=f"i{index}", pixels=pixels, patient_id=f"p{index}", masks=masks,
                labels={"effusion": 1.0}, spacing_mm=0.4,
            )  # fmt: skip
        writer.finish(split={f"i{index}": "train" for index in range(15)})
    return Cohort.open(path)


def test_typical_image_of_a_cohort_is_annotated_with_its_anatomy(tmp_path):
    cohort = cohort_at(tmp_path / "cohort")
    assert find_typical_annotated(cohort) == "i8"
    made = annotate_from_cohort(cohort, "i8")
    assert made.structures == ("left_lung", "right_lung")
    assert made.image_id == "i8"
    assert made.spacing_mm == (0.4, 0.4)
    with pytest.raises(InputMissing, match="no mask"):
        annotate_from_cohort(cohort, "i7")


def test_command(tmp_path, capsys):
    cohort = cohort_at(tmp_path / "cohort")
    out = tmp_path / "annotation"
    line = ["annotate", str(out), "--cohort", str(cohort.path), "--no-tracking"]
    assert main(line) == 0
    assert Annotation.load(out).image_id == "i8"
    Image.fromarray((picture() * 255).astype(np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(disc(0.5, shape=(90, 90))).save(tmp_path / "small.png")
    assert "left_lung: 31% of it lies outside the body" in capsys.readouterr().err
    mask = ["--mask", f"heart={tmp_path / 'small.png'}"]
    image = ["--image", str(tmp_path / "image.png")]
    assert main(["annotate", str(out), *image, *mask, "--no-tracking"]) == 2
    error = capsys.readouterr().err
    assert "expected 120 rows x 90 columns, found 90 rows x 90 columns" in error
    assert error.count("\n") == 1
    for bad in ([], [*line[2:4], *image], [*image, "--mask", "heart"], [*image, *mask, *mask]):
        assert main(["annotate", str(out), *bad, "--no-tracking"]) == 2
    assert main(["annotate", str(out), "--image", str(tmp_path / "no.png"), *mask, "--no-tracking"]) == 2
