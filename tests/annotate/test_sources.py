"""Annotations from files of other tools and from cohorts."""

import io
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from PIL import Image

from medprior.annotate import annotate_from_cohort, annotate_from_files
from medprior.annotate.mask_inputs import MaskInputs
from medprior.annotate.sources import check_masks_or_preview, compute_stored_spacing, find_same_pixels, is_finding
from medprior.annotate.typicality import find_typical_annotated
from medprior.dicom import read_image
from medprior.dicom.derived.seg import read_seg
from medprior.dicom.lung_sides import assign_lung_sides
from medprior.errors import InputMissing, MedpriorError
from medprior.ingest import ingest_images
from medprior.ingest.settings import IngestSettings
from tests.annotate.dicom_files import ON_LEFT, ON_RIGHT, STORED, radiograph_at, seg_at, segmentation, write_dicom
from tests.annotate.drawings import cohort_at, disc, masks, picture
from tests.dicom.object_sources import source


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
    annotation = annotate_from_files(tmp_path / "mirrored.dcm", masks)
    np.testing.assert_array_equal(annotation.masks["left_lung"], stored["left_lung"][:, ::-1])
    with pytest.raises(MedpriorError, match="swapped"):
        annotate_from_files(tmp_path / "plain.dcm", masks)


def test_typical_image_of_a_cohort_is_annotated_with_its_anatomy(tmp_path):
    cohort = cohort_at(tmp_path / "cohort")
    assert find_typical_annotated(cohort) == "i8"
    annotation = annotate_from_cohort(cohort, "i8")
    assert annotation.structures == ("left_lung", "right_lung")
    assert annotation.image_id == "i8"
    assert annotation.spacing_mm == (0.4, 0.4)
    with pytest.raises(InputMissing, match="no mask"):
        annotate_from_cohort(cohort, "i7")


@pytest.mark.parametrize(("orientation", "turn"), [(("L", "F"), np.asarray), (("R", "F"), np.fliplr)])
def test_dicom_seg_by_highdicom(tmp_path, orientation, turn):
    seg_at(tmp_path / "seg.dcm", radiograph_at(tmp_path / "chest.dcm", orientation))
    # On a mirrored picture the patient's sides are exchanged.
    names = {"left_lung": "left_lung", "right_lung": "right_lung"}
    if turn is np.fliplr:
        names = {"left_lung": "right_lung", "right_lung": "left_lung"}
    annotation = annotate_from_files(tmp_path / "chest.dcm", MaskInputs(annotations=tmp_path / "seg.dcm", names=names))
    for label, mask in zip(names, masks().values(), strict=True):
        np.testing.assert_array_equal(annotation.masks[names[label]], turn(mask))


def test_dicom_seg_of_another_image_is_refused(tmp_path):
    seg_at(tmp_path / "seg.dcm", radiograph_at(tmp_path / "other.dcm"))
    radiograph_at(tmp_path / "chest.dcm")
    inputs = MaskInputs(annotations=tmp_path / "seg.dcm")
    with pytest.raises(MedpriorError, match="other_image"):
        annotate_from_files(tmp_path / "chest.dcm", inputs)
    with pytest.raises(MedpriorError, match="not_a_segmentation"):
        annotate_from_files(tmp_path / "chest.dcm", MaskInputs(annotations=tmp_path / "other.dcm"))


def annotate_segments(tmp_path, content, names=None):
    (tmp_path / "chest.dcm").write_bytes(source())
    (tmp_path / "lungs.dcm").write_bytes(content)
    inputs = MaskInputs(annotations=tmp_path / "lungs.dcm", names=names or {})
    return annotate_from_files(tmp_path / "chest.dcm", inputs)


@pytest.mark.parametrize("order", [1, -1])
def test_two_lungs_without_a_side_are_both_kept(tmp_path, order):
    content = segmentation([ON_RIGHT, ON_LEFT][::order])
    annotation = annotate_segments(tmp_path, content)
    assert annotation.structures == ("left_lung", "right_lung")
    np.testing.assert_array_equal(annotation.masks["left_lung"], ON_RIGHT)
    np.testing.assert_array_equal(annotation.masks["right_lung"], ON_LEFT)
    assert any("without a side" in words for words in annotation.warnings)
    read = read_seg(io.BytesIO(content), read_image(io.BytesIO(source())))
    np.testing.assert_array_equal(read["left_lung"], ON_RIGHT)


def test_a_mirrored_picture_is_judged_as_it_is_shown(tmp_path):
    mirrored = {"PatientOrientation": ["R", "F"]}
    content = pydicom.dcmread(io.BytesIO(segmentation([ON_RIGHT, ON_LEFT])))
    buffer = io.BytesIO()
    content.save_as(buffer)
    read = read_seg(buffer, read_image(io.BytesIO(source(**mirrored))))
    np.testing.assert_array_equal(read["right_lung"], ON_RIGHT[:, ::-1])


def test_what_lies_over_each_other_is_one_structure(tmp_path):
    upper, lower = ON_RIGHT.copy(), ON_RIGHT.copy()
    upper[50:], lower[:50] = False, False
    annotation = annotate_segments(tmp_path, segmentation([upper, lower]))
    assert annotation.structures == ("lungs",)
    np.testing.assert_array_equal(annotation.masks["lungs"], ON_RIGHT)
    assert any("lungs: 2 drawings of this name were joined" in words for words in annotation.warnings)


def test_three_or_a_named_side_or_one_over_both_are_joined():
    whole = ON_RIGHT | ON_LEFT
    part = np.zeros(STORED, bool)
    part[40:50, 60:70] = True
    for parts, lungs in (
        ([("lungs", ON_RIGHT), ("lungs", ON_LEFT), ("lungs", part)], whole),
        ([("lungs", whole), ("lungs", ON_LEFT)], whole),
        ([("lungs", ON_LEFT), ("left_lung", ON_RIGHT), ("lungs", part)], ON_LEFT | part),
    ):
        merged, warnings = assign_lung_sides(parts)
        np.testing.assert_array_equal(merged["lungs"], lungs)
        assert len(warnings) == 1
    merged, warnings = assign_lung_sides([("Lung", ON_RIGHT), ("heart", part)])
    assert (list(merged), warnings) == (["Lung", "heart"], ())
    merged, warnings = assign_lung_sides([("heart", part), ("heart", ON_LEFT)])
    np.testing.assert_array_equal(merged["heart"], part | ON_LEFT)
    assert "joined" in warnings[0]


def test_spacing_of_stored_pixels_follows_their_number():
    assert compute_stored_spacing(0.2, 1000, 500) == (0.4, 0.4)
    assert compute_stored_spacing(0.2, 500, 1000) == (0.1, 0.1)
    assert compute_stored_spacing(float("nan"), 1000, 500) is None


def test_a_labelled_structure_is_a_finding(tmp_path):
    cohort = cohort_at(tmp_path / "cohort")
    assert is_finding(cohort, "effusion")
    assert not is_finding(cohort, "left_lung")


def test_refused_masks_of_the_pictures_size_are_previewed(tmp_path):
    image, refused = picture(), tmp_path / "refused.png"
    swapped = {"left_lung": disc(0.25), "right_lung": disc(0.75)}
    with pytest.raises(MedpriorError, match=r"swapped.*see refused\.png in the folder given"):
        check_masks_or_preview(image, swapped, refused)
    assert refused.is_file()
    refused.unlink()
    for refused_masks, path in ((swapped, None), ({"heart": disc(0.5, shape=(90, 90))}, refused), ({}, refused)):
        with pytest.raises(MedpriorError) as caught:
            check_masks_or_preview(image, refused_masks, path)
        assert "refused.png" not in str(caught.value)
    assert not refused.exists()


def test_a_file_is_found_in_a_private_cohort_by_the_default_key_alone(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    write_dicom(tmp_path / "in" / "a.dcm", picture((160, 120)), ["L", "F"])
    write_dicom(tmp_path / "in" / "b.dcm", picture((160, 120))[::-1], ["L", "F"])
    Image.fromarray(disc(0.25, shape=(160, 120))).save(tmp_path / "lung.png")
    monkeypatch.setenv("MEDPRIOR_IDENTITY_KEY", str(tmp_path / "key"))
    settings = IngestSettings.from_values({"workers": 1, "store_size": 64})
    cohort = ingest_images(tmp_path / "in", tmp_path / "cohort", settings=settings)
    annotation = annotate_from_files(tmp_path / "in" / "a.dcm", {"right_lung": tmp_path / "lung.png"})
    assert annotation.pixel_sha256 not in set(cohort.manifest.pixel_sha256)
    assert find_same_pixels(cohort, annotation).sum() == 1
    assert find_same_pixels(cohort, replace(annotation, pixel_sha256="")).sum() == 0
    monkeypatch.setenv("MEDPRIOR_IDENTITY_KEY", str(tmp_path / "other"))
    assert find_same_pixels(cohort, annotation).sum() == 0
