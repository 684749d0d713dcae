"""Drawings on other grids than the picture's: turned DICOM, oblong pixels, cohorts, DICOM SEG."""

import highdicom
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from medprior.annotate import annotate_from_files
from medprior.annotate.mask_inputs import MaskInputs
from medprior.annotate.sources import annotate_cohort_image
from medprior.cli import main
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import MedpriorError
from tests.annotate.drawings import SHAPE, dice, label_map, masks
from tests.annotate.test_annotation import write_dicom

LUNGS = {
    "Left lung": Code("44029006", "SCT", "Left lung"),
    "Right lung": Code("3341006", "SCT", "Right lung"),
}


def radiograph_at(path, orientation=("L", "F"), **elements):
    """A DICOM radiograph with the headers that a segmentation object copies."""
    write_dicom(path, np.random.default_rng(0).random(SHAPE), list(orientation))
    data = pydicom.dcmread(path)
    data.StudyInstanceUID, data.SeriesInstanceUID = (pydicom.uid.generate_uid() for _ in range(2))
    data.PatientID = data.PatientName = data.StudyID = data.AccessionNumber = "x"
    data.PatientBirthDate = data.StudyDate = data.StudyTime = data.PatientSex = None
    for name, value in elements.items():
        setattr(data, name, value)
    data.save_as(path)
    return data


def seg_at(path, source, names=("Left lung", "Right lung")):
    """A segmentation by highdicom, drawn on the stored pixels."""
    layers = np.stack(list(masks().values()), axis=-1)[None].astype(np.uint8)
    descriptions = [
        highdicom.seg.SegmentDescription(number, name, codes.SCT.AnatomicalStructure, LUNGS[name], "MANUAL")
        for number, name in enumerate(names, start=1)
    ]
    highdicom.seg.Segmentation(
        [source], layers, "BINARY", descriptions, pydicom.uid.generate_uid(), 1,
        pydicom.uid.generate_uid(), 1, "maker", "model", "1", "serial",
    ).save_as(path)  # fmt: skip


@pytest.mark.parametrize(("orientation", "turn"), [(("L", "F"), np.asarray), (("R", "F"), np.fliplr)])
def test_dicom_seg_by_highdicom(tmp_path, orientation, turn):
    seg_at(tmp_path / "seg.dcm", radiograph_at(tmp_path / "chest.dcm", orientation))
    # On a mirrored picture the patient's sides are exchanged.
    names = {"left_lung": "left_lung", "right_lung": "right_lung"}
    if turn is np.fliplr:
        names = {"left_lung": "right_lung", "right_lung": "left_lung"}
    made = annotate_from_files(tmp_path / "chest.dcm", MaskInputs(annotations=tmp_path / "seg.dcm", names=names))
    for label, mask in zip(names, masks().values(), strict=True):
        np.testing.assert_array_equal(made.masks[names[label]], turn(mask))


def test_dicom_seg_of_another_image_is_refused(tmp_path):
    seg_at(tmp_path / "seg.dcm", radiograph_at(tmp_path / "other.dcm"))
    radiograph_at(tmp_path / "chest.dcm")
    given = MaskInputs(annotations=tmp_path / "seg.dcm")
    with pytest.raises(MedpriorError, match="other_image"):
        annotate_from_files(tmp_path / "chest.dcm", given)
    with pytest.raises(MedpriorError, match="not_a_segmentation"):
        annotate_from_files(tmp_path / "chest.dcm", MaskInputs(annotations=tmp_path / "other.dcm"))


def test_masks_on_the_oblong_pixels_of_a_file(tmp_path):
    radiograph_at(tmp_path / "chest.dcm", PixelSpacing=[0.4, 0.2])
    Image.fromarray(label_map()).save(tmp_path / "labels.png")
    names = {"1": "left_lung", "2": "right_lung"}
    made = annotate_from_files(tmp_path / "chest.dcm", MaskInputs({}, tmp_path / "labels.png", names))
    assert made.image.shape == (2 * SHAPE[0], SHAPE[1])
    for name, mask in masks().items():
        assert dice(made.masks[name], mask.repeat(2, axis=0)) > 0.99


@pytest.fixture
def cohort(tmp_path):
    rng = np.random.default_rng(3)
    with CohortWriter(tmp_path / "cohort", store_size=96) as writer:
        for index in range(5):
            turned = ("orientation_mirrored",) if index == 0 else ()
            writer.add(
                image_id=f"i{index}", pixels=0.5 + 0.5 * rng.random(SHAPE, dtype=np.float32),
                patient_id=f"p{index // 2}", flags=turned,
            )  # fmt: skip
        writer.finish(split={f"i{index}": "train" for index in range(5)})
    return Cohort.open(tmp_path / "cohort")


def test_masks_of_a_cohorts_image_at_its_own_or_its_sources_size(tmp_path, cohort):
    upright = label_map()
    small = np.asarray(Image.fromarray(upright).resize((72, 96), Image.Resampling.NEAREST))
    for levels, image_id in ((upright, "i1"), (np.fliplr(upright), "i0"), (small, "i0")):
        Image.fromarray(np.ascontiguousarray(levels)).save(tmp_path / "labels.png")
        names = {"1": "left_lung", "2": "right_lung"}
        given = MaskInputs(annotations=tmp_path / "labels.png", names=names)
        made = annotate_cohort_image(cohort, image_id, given)
        assert made.image_id == image_id
        assert made.pixel_sha256 == cohort.select([image_id]).manifest.pixel_sha256[0]
        for name, mask in masks().items():
            shrunk = np.asarray(Image.fromarray(mask).resize((72, 96), Image.Resampling.NEAREST))
            assert made.masks[name].shape == (96, 72)
            assert dice(made.masks[name], shrunk) > 0.96


def test_command_takes_the_most_typical_image(tmp_path, cohort, capsys):
    Image.fromarray(masks()["left_lung"]).save(tmp_path / "mask.png")
    line = ["annotate", str(tmp_path / "out"), "--cohort", str(cohort.path), "--no-tracking"]
    assert main([*line, "--mask", f"left_lung={tmp_path / 'mask.png'}"]) == 0
    assert "left_lung" in capsys.readouterr().out
    assert main(line) == 2
