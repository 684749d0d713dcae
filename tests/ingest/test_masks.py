import numpy as np
import pytest
from PIL import Image

from medprior.dicom import Policy
from medprior.dicom.decoding.samples import (
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.errors import Rejected
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest.descriptor import MaskRule, descriptor_folder
from medprior.ingest.masks import (
    apply_orientation,
    find_two_largest,
    has_same_aspect,
    read_mask_levels,
    read_masks,
    split_structures,
)
from medprior.ingest.plan import MaskFile
from tests.ingest.radiograph_files import write_png

TINY_POLICY = Policy(min_side=1)
ONE_WORKER = IngestSettings(workers=1, store_size=96)


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


def test_bit_masks_and_parted_lungs(tmp_path):
    planes = np.zeros((96, 80), np.uint8)
    planes[20:60, 50:70] |= 1
    planes[20:70, 5:30] |= 2
    planes[50:80, 25:60] |= 4
    write_png(tmp_path / "images" / "1-s2.0-S09.x.png")
    write_png(tmp_path / "masks_bits" / "1-s2.0-S09.x.png", planes)
    (tmp_path / "metadata.csv").write_text("image,filename,patient_id,sex,age,view\n1-s2.0-S09.x,f.jpg,7,F,93,PA\n")
    cohort = ingest_images(tmp_path, tmp_path / "c", "genblock", ONE_WORKER)
    (image,) = cohort.image_ids
    for bit, name in ((1, "left_lung"), (2, "right_lung"), (4, "cardiomediastinum")):
        np.testing.assert_array_equal(cohort.mask(image, name), (planes & bit) > 0)
    assert cohort.manifest.age.tolist() == [90.0]
    text = (descriptor_folder() / "shenzhen.yaml").read_text().replace("identity: public", "identity: private")
    parted = tmp_path / "own.yaml"
    parted.write_text(text + "    split_components: [right_lung, left_lung]\n")
    write_png(tmp_path / "s" / "CHNCXR_0001_0.png")
    write_png(tmp_path / "s" / "CHNCXR_0001_0_mask.png", (((planes & 3) > 0) * 255).astype("u1"))
    both = ingest_images(tmp_path / "s", tmp_path / "d", str(parted), ONE_WORKER)
    np.testing.assert_array_equal(both.mask(both.image_ids[0], "left_lung"), (planes & 1) > 0)
    np.testing.assert_array_equal(both.mask(both.image_ids[0], "right_lung"), (planes & 2) > 0)


def test_the_two_largest_components_come_from_left_to_right():
    mask = np.zeros((8, 9), bool)
    mask[0:4, 6:9] = True
    mask[5, 4] = True
    mask[0:5, 0:2] = True
    left, right = find_two_largest(mask)
    assert left.sum() == 10
    assert left[:, :2].sum() == 10
    assert right.sum() == 12
    assert find_two_largest(mask & (np.arange(9) < 3)) == ()


def split(levels, structure="", **rule):
    return split_structures(np.array([levels], np.uint8), MaskFile("", structure, MaskRule(match="(?P<id>)", **rule)))


def test_a_mask_is_bright_or_where_all_is_dark_not_zero():
    assert split([0, 127, 128, 255], "heart")["heart"].tolist() == [[False, False, True, True]]
    assert split([0, 1, 127], "heart")["heart"].tolist() == [[False, True, True]]
    assert split([0, 1]) == {}


def test_bits_are_structures():
    parts = split([0, 1, 2, 3], "ignored", bits={1: "left", 2: "right"})
    assert {name: mask.tolist() for name, mask in parts.items()} == {
        "left": [[False, True, False, True]],
        "right": [[False, False, True, True]],
    }


def test_components_are_named_beside_the_whole():
    parts = split([255, 0, 255], "lungs", split_components=("right_lung", "left_lung"))
    assert parts["lungs"].tolist() == [[True, False, True]]
    assert parts["right_lung"].tolist() == [[True, False, False]]
    assert parts["left_lung"].tolist() == [[False, False, True]]
    assert set(split([255, 0, 0], "lungs", split_components=("right_lung", "left_lung"))) == {"lungs"}


@pytest.mark.parametrize(
    ("second", "expected"), [((20, 20), True), ((20, 18), True), ((20, 17), False), ((18, 20), True), ((17, 20), False)]
)
def test_aspects_are_the_same_to_a_pixel(second, expected):
    assert has_same_aspect((10, 10), second) is expected
    assert has_same_aspect(second, (10, 10)) is expected


def test_masks_turn_as_the_flag_says():
    mask = np.array([[True, False], [False, False]])
    assert apply_orientation(mask, "orientation_mirrored").tolist() == [[False, True], [False, False]]
    assert apply_orientation(mask, "orientation_rotated").tolist() == [[False, False], [False, True]]
    assert apply_orientation(mask, "") is mask


def test_masks_that_fit_the_stored_grid_are_kept_and_others_flagged(tmp_path):
    levels = np.zeros((4, 8), np.uint8)
    levels[0, 0] = levels[0, 1] = levels[2, 4] = 255
    write_png(tmp_path / "a.png", levels)
    write_png(tmp_path / "b.png", levels[:, :4])
    rule = MaskRule(match="(?P<id>)")
    files = tuple(MaskFile(str(tmp_path / f"{name}.png"), name, rule) for name in "abc")
    # The image's pixels are half as wide as high: its file has 4 x 8, the picture is square.
    masks, flags = read_masks(files[:1], (20, 20), (40, 80), "", TINY_POLICY)
    assert (masks["a"].shape, flags) == ((20, 20), ())
    assert read_masks(files[:1], (20, 20), (40, 60), "", TINY_POLICY) == ({}, ("mask_unusable",))
    masks, flags = read_masks(files, (2, 4), (40, 80), "orientation_mirrored", TINY_POLICY)
    assert flags == ("mask_unusable",)
    assert {name: mask.tolist() for name, mask in masks.items()} == {"a": [[False, False, False, True], [False] * 4]}


def test_palette_indices_are_bits_and_palette_colours_are_grey(tmp_path):
    image = Image.new("P", (2, 1))
    image.putdata([0, 1])
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "a.png")
    assert read_mask_levels(tmp_path / "a.png", TINY_POLICY, indices=True).tolist() == [[0, 1]]
    assert read_mask_levels(tmp_path / "a.png", TINY_POLICY).tolist() == [[255, 0]]
    (tmp_path / "b.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(Rejected, match="decode_failed"):
        read_mask_levels(tmp_path / "b.png", TINY_POLICY)
