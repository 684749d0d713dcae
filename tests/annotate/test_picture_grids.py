"""Drawings on other grids than the picture's: oblong pixels, cohorts."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from medprior.annotate import annotate_from_files
from medprior.annotate.mask_inputs import MaskInputs
from medprior.annotate.picture_grids import PictureGrids, format_size, suggest_size_fix
from medprior.annotate.sources import annotate_cohort_image
from medprior.errors import MedpriorError
from medprior.metrics.overlap import compute_dice
from tests.annotate.dicom_files import radiograph_at
from tests.annotate.drawings import SHAPE, assert_refused, label_map, masks


def test_masks_on_the_oblong_pixels_of_a_file(tmp_path):
    radiograph_at(tmp_path / "chest.dcm", PixelSpacing=[0.4, 0.2])
    Image.fromarray(label_map()).save(tmp_path / "labels.png")
    names = {"1": "left_lung", "2": "right_lung"}
    annotation = annotate_from_files(tmp_path / "chest.dcm", MaskInputs({}, tmp_path / "labels.png", names))
    assert annotation.image.shape == (2 * SHAPE[0], SHAPE[1])
    for name, mask in masks().items():
        assert compute_dice(annotation.masks[name], mask.repeat(2, axis=0)) > 0.99


def test_masks_of_a_cohorts_image_at_its_own_or_its_sources_size(tmp_path, unmasked_cohort):
    upright = label_map()
    small = np.asarray(Image.fromarray(upright).resize((72, 96), Image.Resampling.NEAREST))
    for levels, image_id in ((upright, "i1"), (np.fliplr(upright), "i0"), (small, "i0")):
        Image.fromarray(np.ascontiguousarray(levels)).save(tmp_path / "labels.png")
        names = {"1": "left_lung", "2": "right_lung"}
        given = MaskInputs(annotations=tmp_path / "labels.png", names=names)
        annotation = annotate_cohort_image(unmasked_cohort, image_id, given)
        assert annotation.image_id == image_id
        assert annotation.pixel_sha256 == unmasked_cohort.select([image_id]).manifest.pixel_sha256[0]
        for name, mask in masks().items():
            shrunk = np.asarray(Image.fromarray(mask).resize((72, 96), Image.Resampling.NEAREST))
            assert annotation.masks[name].shape == (96, 72)
            assert compute_dice(annotation.masks[name], shrunk) > 0.96


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (label_map()[..., None], "rows and columns are exchanged"),
        (label_map().T.repeat(2, 0).repeat(2, 1), "proportions"),
    ],
)
def test_another_size_is_refused_with_the_next_step(tmp_path, data, words):
    nibabel.save(nibabel.Nifti1Image(data, None), tmp_path / "seg.nii")
    assert_refused(tmp_path, tmp_path / "seg.nii", words)


CORNER = np.array([[True, False, False], [False, False, False]])


@pytest.mark.parametrize(
    ("turn", "is_upright", "pixel"),
    [
        ("", False, (0, 0)),
        ("orientation_mirrored", False, (0, 2)),
        ("orientation_rotated", False, (1, 2)),
        ("orientation_rotated", True, (0, 0)),
    ],
)
def test_a_mask_is_turned_with_its_grid_unless_it_is_upright(turn, is_upright, pixel):
    grids = PictureGrids((2, 3), (((2, 3), turn),))
    assert np.argwhere(grids.to_picture_grid("heart", CORNER, is_upright)).tolist() == [list(pixel)]


def test_the_first_of_two_equal_grids_counts():
    grids = PictureGrids((2, 3), (((2, 3), "orientation_mirrored"), ((2, 3), "")))
    assert grids.default_shape == (2, 3)
    assert np.argwhere(grids.to_picture_grid("heart", CORNER)).tolist() == [[0, 2]]


def test_a_larger_mask_keeps_pixels_that_it_half_covers():
    mask = np.zeros((4, 6), bool)
    mask[0, 0:2] = mask[0, 2] = mask[2:4, 4] = True
    grids = PictureGrids((2, 3), (((2, 3), ""), ((4, 6), "")))
    assert np.argwhere(grids.to_picture_grid("heart", mask)).tolist() == [[0, 0], [1, 2]]


def test_the_next_step_depends_on_the_size():
    assert format_size((2, 3)) == "2 rows x 3 columns"
    for shape, words in (((3, 2), "exchanged"), ((4, 6), "proportions are right"), ((9, 2), "uncropped")):
        assert words in suggest_size_fix(shape, (2, 3))
    with pytest.raises(MedpriorError, match="expected 2 rows x 3 columns, found 3 rows x 2 columns"):
        PictureGrids((2, 3), (((2, 3), ""),)).to_picture_grid("heart", CORNER.T)
