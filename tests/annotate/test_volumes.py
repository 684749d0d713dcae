"""NIfTI and NRRD, each written by the format's own library."""

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from medprior.annotate.volumes import (
    check_attached_data,
    has_known_directions,
    pad_to_picture,
    parse_segment_names,
    parse_whole_number,
    read_volume_masks,
)
from medprior.errors import MedpriorError
from tests.annotate.drawings import (
    SHAPE,
    affine,
    annotate_drawing,
    assert_is_drawing,
    assert_refused,
    label_map,
    masks,
)


@pytest.mark.parametrize("data", [label_map().T, label_map().T[..., None, None]])
@pytest.mark.parametrize("matrix", [None, np.eye(4), np.diag([0.1, 0.1, 1, 1])])
def test_nifti_written_without_thought_of_directions(tmp_path, data, matrix):
    nibabel.save(nibabel.Nifti1Image(data, matrix), tmp_path / "seg.nii")
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "seg.nii"))


def test_directions_can_be_ignored(tmp_path):
    data = label_map().T[..., None]
    nibabel.save(nibabel.Nifti1Image(data, affine(-1, -1)), tmp_path / "seg.nii")
    with pytest.raises(MedpriorError, match="swapped"):
        annotate_drawing(tmp_path, tmp_path / "seg.nii")
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "seg.nii", as_stored=True))


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("ending", ["nii.gz", "nrrd"])
def test_volumes_by_simpleitk(tmp_path, flat, ending):
    image = sitk.GetImageFromArray(label_map() if flat else label_map()[None])
    image.SetSpacing((0.14,) * image.GetDimension())
    sitk.WriteImage(image, str(tmp_path / f"seg.{ending}"))
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / f"seg.{ending}"))


@pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior", None])
@pytest.mark.parametrize("x", [1, -1])
@pytest.mark.parametrize("y", [1, -1])
def test_nrrd_by_pynrrd_whatever_its_directions(tmp_path, space, x, y):
    if space is None:
        nrrd.write(str(tmp_path / "seg.nrrd"), label_map().T)
    else:
        sign = 1 if space.startswith("left") else -1
        directions = np.diag([0.2 * x * sign, 0.2 * y * sign, 1.0])
        header = {"space": space, "space directions": directions, "space origin": [1.0, 2.0, 3.0]}
        nrrd.write(str(tmp_path / "seg.nrrd"), label_map()[::y, ::x].T[..., None], header)
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "seg.nrrd"))


def slicer_header(layers, offset="0 0 0"):
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([0.2, 0.2, 1.0]),
        "space origin": [0.0, 0.0, 0.0],
        "Segmentation_ReferenceImageExtentOffset": offset,
    }
    for index, (name, value, layer) in enumerate(layers):
        header |= {
            f"Segment{index}_ID": f"Segment_{index + 1}",
            f"Segment{index}_Name": name,
            f"Segment{index}_LabelValue": str(value),
            f"Segment{index}_Layer": str(layer),
        }
    return header


def test_slicer_segmentation_gives_its_own_names(tmp_path):
    header = slicer_header([("Left Lung", 1, 0), ("lung, right", 2, 0)])
    nrrd.write(str(tmp_path / "a.seg.nrrd"), label_map().T[..., None], header)
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "a.seg.nrrd", {}))


def test_slicer_segmentation_of_overlapping_layers(tmp_path):
    both = np.stack([masks()["left_lung"], masks()["right_lung"]]).astype(np.uint8)
    header = slicer_header([("lung left", 1, 0), ("lung right", 1, 1)])
    directions = np.vstack([np.full(3, np.nan), header["space directions"]])
    header |= {"kinds": ["list", "domain", "domain", "domain"], "space directions": directions}
    nrrd.write(str(tmp_path / "a.seg.nrrd"), both.transpose(0, 2, 1)[..., None], header)
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "a.seg.nrrd", {}))


def test_slicer_segmentation_cut_to_what_is_drawn(tmp_path):
    rows, cols = np.nonzero(label_map())
    part = label_map()[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    header = slicer_header([("left_lung", 1, 0), ("right_lung", 2, 0)], f"{cols.min()} {rows.min()} 0")
    nrrd.write(str(tmp_path / "a.seg.nrrd"), part.T[..., None], header)
    assert_is_drawing(annotate_drawing(tmp_path, tmp_path / "a.seg.nrrd", {}))


def volume(path, data):
    nibabel.save(nibabel.Nifti1Image(data, None), path)


def noise(shape):
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


BAD = {
    "a.nii": (lambda p: volume(p, np.zeros((90, 120, 1), np.uint8)), "nothing is drawn"),
    "e.nii": (lambda p: volume(p, noise(SHAPE[::-1]) / np.float32(7)), "not a label map"),
    "f.nii": (lambda p: p.write_bytes(b"\0" * 344 + b"n+1\0" + b"\0" * 100), "cannot be read"),
    "g.nrrd": (
        lambda p: p.write_text(
            "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 90 120\nencoding: raw\ndata file: /etc/passwd\n\n"
        ),
        "points to another file",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_volume_without_readable_labels_is_refused(tmp_path, name):
    write, words = BAD[name]
    write(tmp_path / name)
    assert_refused(tmp_path, tmp_path / name, words)


def test_segment_names_have_a_layer_and_a_value():
    header = {
        "Segment0_Name": "heart", "Segment0_LabelValue": "3", "Segment0_Layer": "1",
        "Segment1_Name": " left lung ", "Segment2_Name": "  ", "Segment3_ID": "x", "MySegment4_Name": "y",
    }  # fmt: skip
    assert parse_segment_names(header) == {(1, 3): "heart", (0, 2): "left lung"}
    assert parse_whole_number(" 7 ", 1) == 7
    assert [parse_whole_number(text, 4) for text in (None, "", "-1", "2.0")] == [4, 4, 4, 4]


def test_a_part_is_put_at_its_offset_in_columns_and_rows():
    part = np.ones((2, 3, 1), np.uint8)
    padded = pad_to_picture(part, {"Segmentation_ReferenceImageExtentOffset": "1 2 0"}, (6, 5))
    assert padded.shape == (5, 6, 1)
    assert np.argwhere(padded[..., 0]).tolist() == [[i, j] for i in (1, 2) for j in (2, 3, 4)]


@pytest.mark.parametrize("offset", ["", "1 2", "4 2 0", "1 4 0", "-1 2 0"])
def test_a_part_without_a_place_in_the_picture_stays_as_it_is(offset):
    part = np.ones((2, 3, 1), np.uint8)
    assert pad_to_picture(part, {"Segmentation_ReferenceImageExtentOffset": offset}, (6, 5)) is part


@pytest.mark.parametrize(
    ("codes", "diagonal", "origin", "known"),
    [
        ({"qform_code": "1"}, (-1, -1, 1), 0.0, False),
        ({"qform_code": "1"}, (-1, -1, 1), 3.0, True),
        ({"sform_code": " 02 "}, (1, 1, 1), 0.0, True),
        ({"qform_code": "0", "sform_code": "0"}, (1, 1, 1), 3.0, False),
        ({}, (1, 1, 1), 3.0, False),
    ],
)
def test_nifti_directions_need_a_code_and_more_than_the_default(codes, diagonal, origin, known):
    directions = np.diag(np.array(diagonal, float))
    assert has_known_directions("nifti", codes, directions, np.full(3, origin)) == known


def test_nrrd_directions_need_a_space():
    assert has_known_directions("nrrd", {"NRRD_space": "left-posterior-superior"}, np.eye(3), np.zeros(3))
    assert not has_known_directions("nrrd", {}, np.diag([-1.0, 1, 1]), np.ones(3))


def test_only_the_header_can_point_to_another_file(tmp_path):
    path = tmp_path / "a.nrrd"
    for text in (b"NRRD0004\nDataFile: x.raw\n\n", b"NRRD0004\r\ntype: uchar\r\ndata file : LIST\r\n\r\n"):
        path.write_bytes(text)
        with pytest.raises(MedpriorError, match="another file"):
            check_attached_data(path, "file")
    path.write_bytes(b"NRRD0004\n# no data file: here\n\ndata file: only pixels")
    check_attached_data(path, "file")


@pytest.mark.parametrize(
    "field",
    [b"data file: ", b"DATAFILE: ", b"Data File : ", b"content: x\rdata file: ", b"content: x\r\r\ndata file: "],
)
def test_no_comment_hides_a_reference_to_another_file(tmp_path, field):
    """70 kB of comments once hid it: any file on the machine was read as pixels."""
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(1, 65)))
    head = b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 8 8\nencoding: raw\n"
    path = tmp_path / "a.nrrd"
    for comments in (0, 70_000 // 80, 900_000 // 80):
        path.write_bytes(head + comments * (b"#" + b"x" * 78 + b"\n") + field + bytes(secret) + b"\n\n")
        with pytest.raises(MedpriorError, match="points to another file"):
            read_volume_masks(path, "nrrd", (8, 8), True, "file")
    path.write_bytes(head + 20_000 * (b"#" + b"x" * 78 + b"\n") + b"\n" + bytes(64))
    with pytest.raises(MedpriorError, match="the header is too long"):
        read_volume_masks(path, "nrrd", (8, 8), True, "file")
