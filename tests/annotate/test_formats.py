"""One drawing through every format, each file written by the format's own library."""

import base64
import io
import json

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image
from pycocotools import mask as coco_masks

from medprior.annotate import Annotation, annotate_from_files
from medprior.annotate.mask_inputs import MaskInputs
from medprior.cli import main
from medprior.errors import MedpriorError
from tests.annotate.drawings import (
    LEFT,
    NUMBERS,
    POLYGONS,
    RIGHT,
    SHAPE,
    dice,
    label_map,
    masks,
    picture_at,
)

NAMES = {"1": "left_lung", "2": "right_lung"}


def read(tmp_path, file, names=NAMES, **more):
    given = MaskInputs(annotations=file, names=names, **more)
    return annotate_from_files(picture_at(tmp_path / "chest.png"), given)


def check(found: Annotation, least=1.0):
    assert found.structures == ("left_lung", "right_lung")
    for name, mask in masks().items():
        assert found.masks[name].shape == SHAPE
        assert dice(found.masks[name], mask) >= least, name


def test_label_map_as_palette_png(tmp_path):
    image = Image.new("P", SHAPE[::-1])
    image.putdata(label_map().ravel().tolist())
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "labels.png")
    check(read(tmp_path, tmp_path / "labels.png"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_label_map_by_tifffile(tmp_path, dtype, compression):
    tifffile.imwrite(tmp_path / "labels.tif", label_map(dtype), compression=compression)
    check(read(tmp_path, tmp_path / "labels.tif"))


def test_masks_by_tifffile(tmp_path):
    for name, mask in masks().items():
        tifffile.imwrite(tmp_path / f"{name}.tif", mask.astype(np.uint8) * 255)
    files = {name: tmp_path / f"{name}.tif" for name in masks()}
    check(annotate_from_files(picture_at(tmp_path / "chest.png"), files))


def affine(x, y, spacing=0.2):
    """RAS affine of a picture whose columns run to `x` and rows to `y` (LPS signs)."""
    matrix = np.diag([-x * spacing, -y * spacing, 1.0, 1.0])
    matrix[:2, 3] = 11.0, -7.0
    return matrix


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("x", [1, -1])
@pytest.mark.parametrize("y", [1, -1])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_nifti_by_nibabel_whatever_its_directions(tmp_path, ending, x, y, dtype):
    # Index order of NIfTI is column, row, slice; the drawing stays where it is in space.
    data = label_map(dtype)[::y, ::x].T[..., None]
    nibabel.save(nibabel.Nifti1Image(data, affine(x, y)), tmp_path / f"seg.{ending}")
    found = read(tmp_path, tmp_path / f"seg.{ending}")
    check(found)
    assert any("directions" in warning for warning in found.warnings) == ((x, y) != (1, 1))


def test_nifti_of_a_canonical_coronal_slice_by_nibabel(tmp_path):
    # Right to left, one slice front to back, feet to head.
    data = label_map()[::-1, ::-1].T[:, None, :]
    matrix = np.diag([0.2, 1.0, 0.2, 1.0])
    matrix[:3, 3] = -9.0, 4.0, -12.0
    nibabel.save(nibabel.Nifti1Image(data, matrix), tmp_path / "seg.nii.gz")
    check(read(tmp_path, tmp_path / "seg.nii.gz"))


def test_nifti_with_axes_exchanged(tmp_path):
    data = label_map()[..., None]
    matrix = np.array([[0, -0.2, 0, 3], [-0.2, 0, 0, 5], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(data, matrix), tmp_path / "seg.nii.gz")
    check(read(tmp_path, tmp_path / "seg.nii.gz"))


@pytest.mark.parametrize("data", [label_map().T, label_map().T[..., None, None]])
@pytest.mark.parametrize("matrix", [None, np.eye(4), np.diag([0.1, 0.1, 1, 1])])
def test_nifti_written_without_thought_of_directions(tmp_path, data, matrix):
    nibabel.save(nibabel.Nifti1Image(data, matrix), tmp_path / "seg.nii")
    check(read(tmp_path, tmp_path / "seg.nii"))


def test_directions_can_be_ignored(tmp_path):
    data = label_map().T[..., None]
    nibabel.save(nibabel.Nifti1Image(data, affine(-1, -1)), tmp_path / "seg.nii")
    with pytest.raises(MedpriorError, match="swapped"):
        read(tmp_path, tmp_path / "seg.nii")
    check(read(tmp_path, tmp_path / "seg.nii", as_stored=True))


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("ending", ["nii.gz", "nrrd"])
def test_volumes_by_simpleitk(tmp_path, flat, ending):
    image = sitk.GetImageFromArray(label_map() if flat else label_map()[None])
    image.SetSpacing((0.14,) * image.GetDimension())
    sitk.WriteImage(image, str(tmp_path / f"seg.{ending}"))
    check(read(tmp_path, tmp_path / f"seg.{ending}"))


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
    check(read(tmp_path, tmp_path / "seg.nrrd"))


def slicer_header(layers, offset="0 0 0"):
    found = {
        "space": "left-posterior-superior",
        "space directions": np.diag([0.2, 0.2, 1.0]),
        "space origin": [0.0, 0.0, 0.0],
        "Segmentation_ReferenceImageExtentOffset": offset,
    }
    for index, (name, value, layer) in enumerate(layers):
        found |= {
            f"Segment{index}_ID": f"Segment_{index + 1}",
            f"Segment{index}_Name": name,
            f"Segment{index}_LabelValue": str(value),
            f"Segment{index}_Layer": str(layer),
        }
    return found


def test_slicer_segmentation_gives_its_own_names(tmp_path):
    header = slicer_header([("Left Lung", 1, 0), ("lung, right", 2, 0)])
    nrrd.write(str(tmp_path / "a.seg.nrrd"), label_map().T[..., None], header)
    check(read(tmp_path, tmp_path / "a.seg.nrrd", {}))


def test_slicer_segmentation_of_overlapping_layers(tmp_path):
    both = np.stack([masks()["left_lung"], masks()["right_lung"]]).astype(np.uint8)
    header = slicer_header([("lung left", 1, 0), ("lung right", 1, 1)])
    directions = np.vstack([np.full(3, np.nan), header["space directions"]])
    header |= {"kinds": ["list", "domain", "domain", "domain"], "space directions": directions}
    nrrd.write(str(tmp_path / "a.seg.nrrd"), both.transpose(0, 2, 1)[..., None], header)
    check(read(tmp_path, tmp_path / "a.seg.nrrd", {}))


def test_slicer_segmentation_cut_to_what_is_drawn(tmp_path):
    rows, cols = np.nonzero(label_map())
    part = label_map()[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    header = slicer_header([("left_lung", 1, 0), ("right_lung", 2, 0)], f"{cols.min()} {rows.min()} 0")
    nrrd.write(str(tmp_path / "a.seg.nrrd"), part.T[..., None], header)
    check(read(tmp_path, tmp_path / "a.seg.nrrd", {}))


def test_a_single_structure_of_any_format(tmp_path):
    data = masks()["left_lung"].astype(np.uint8).T[..., None]
    nibabel.save(nibabel.Nifti1Image(data, affine(1, 1)), tmp_path / "clavicle.nii.gz")
    made = annotate_from_files(picture_at(tmp_path / "chest.png"), {"left_clavicle": tmp_path / "clavicle.nii.gz"})
    np.testing.assert_array_equal(made.masks["left_clavicle"], masks()["left_lung"])
    assert any("left_clavicle: not one of" in warning for warning in made.warnings)


def labelme(shapes):
    return {
        "version": "5.5.0", "flags": {}, "imagePath": "chest.png", "imageData": None,
        "imageHeight": SHAPE[0], "imageWidth": SHAPE[1], "shapes": shapes,
    }  # fmt: skip


def shape_of(label, points, kind="polygon", **more):
    return {
        "label": label, "points": points, "group_id": None, "description": "",
        "shape_type": kind, "flags": {}, **more,
    }  # fmt: skip


def test_labelme_polygons(tmp_path):
    record = labelme([shape_of("left lung", LEFT), shape_of("Right Lung", RIGHT)])
    (tmp_path / "chest.json").write_text(json.dumps(record))
    check(read(tmp_path, tmp_path / "chest.json", {}), 0.99)


def test_labelme_masks_and_several_shapes_of_one_label(tmp_path):
    mask = masks()["left_lung"]
    rows, cols = np.nonzero(mask)
    part = mask[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    stream = io.BytesIO()
    Image.fromarray(part).save(stream, "PNG")
    box = [[int(cols.min()), int(rows.min())], [int(cols.max()), int(rows.max())]]
    data = base64.b64encode(stream.getvalue()).decode()
    record = labelme([
        shape_of("left_lung", box, "mask", mask=data),
        shape_of("heart", [[40, 60], [50, 60]], "circle"),
        shape_of("heart", [[30, 80], [60, 90]], "rectangle"),
        shape_of("carina", [[45, 40]], "point"),
    ])  # fmt: skip
    (tmp_path / "chest.json").write_text(json.dumps(record))
    found = read(tmp_path, tmp_path / "chest.json", {})
    np.testing.assert_array_equal(found.masks["left_lung"], mask)
    assert abs(found.masks["heart"].sum() - (300 + np.pi * 100)) < 4
    assert "carina: a point has no area and was left out" in found.warnings


def coco(kind):
    annotations = []
    for number, (name, mask) in enumerate(masks().items()):
        if kind == "polygon":
            drawn = [[value for point in POLYGONS[name] for value in point]]
        elif kind == "compressed":
            drawn = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
            drawn = drawn | {"counts": drawn["counts"].decode()}
        else:
            flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
            edges = np.flatnonzero(np.diff(flat))
            drawn = {"size": list(SHAPE), "counts": np.diff([0, *edges]).tolist()}
        annotations.append(
            {"id": number, "image_id": 7, "category_id": NUMBERS[name], "segmentation": drawn,
             "iscrowd": int(kind != "polygon")}
        )  # fmt: skip
    size = {"height": SHAPE[0], "width": SHAPE[1]}
    return {
        "images": [{"id": 3, "file_name": "other.png", **size},
                   {"id": 7, "file_name": "sub/chest.jpg", **size}],
        "categories": [{"id": value, "name": name} for name, value in NUMBERS.items()],
        "annotations": annotations,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["polygon", "compressed", "runs"])
def test_coco(tmp_path, kind):
    (tmp_path / "coco.json").write_text(json.dumps(coco(kind)))
    check(read(tmp_path, tmp_path / "coco.json", {}), 0.99 if kind == "polygon" else 1.0)


def test_coco_without_the_picture(tmp_path):
    record = coco("polygon")
    record["images"][1]["file_name"] = "sub/patient_name.jpg"
    (tmp_path / "coco.json").write_text(json.dumps(record))
    with pytest.raises(MedpriorError, match="expected one image whose file_name"):
        read(tmp_path, tmp_path / "coco.json", {})


def text(path, words):
    path.write_text(words)


def volume(path, data, matrix=None):
    nibabel.save(nibabel.Nifti1Image(data, matrix), path)


def noise(shape):
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


BAD = {
    "a.nii": (lambda p: volume(p, np.zeros((90, 120, 1), np.uint8)), "nothing is drawn"),
    "b.nii": (lambda p: volume(p, np.zeros((90, 120, 5), np.uint8)), "not one slice.*90 x 120 x 5"),
    "c.nii": (lambda p: volume(p, label_map()[..., None]), "rows and columns are exchanged"),
    "d.nii": (lambda p: volume(p, label_map().T.repeat(2, 0).repeat(2, 1)), "proportions"),
    "e.nii": (
        lambda p: volume(p, noise(SHAPE[::-1]) / np.float32(7)), "not a label map"
    ),
    "f.nii": (lambda p: p.write_bytes(b"\0" * 344 + b"n+1\0" + b"\0" * 100), "cannot be read"),
    "g.nrrd": (
        lambda p: text(p, "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 90 120\nencoding: raw\n"
                          "data file: /etc/passwd\n\n"), "points to another file"
    ),
    "h.json": (lambda p: text(p, '{"shapes": []}'), "imageHeight"),
    "i.json": (lambda p: text(p, json.dumps(labelme([]))), "nothing is drawn"),
    "j.json": (lambda p: text(p, json.dumps(labelme([shape_of("x", [[1, 2]])]))), "three points"),
    "k.json": (lambda p: text(p, '{"images": 3, "annotations": []}'), "not a COCO file"),
    "l.json": (lambda p: text(p, "{" * 100000), "neither LabelMe nor COCO"),
    "m.bin": (lambda p: p.write_bytes(b"what is this?" * 99), "format is not known.*LabelMe"),
    "n.png": (lambda p: Image.fromarray(noise((*SHAPE, 3))).save(p), "colour"),
    "o.tif": (
        lambda p: tifffile.imwrite(p, np.stack([label_map()] * 3), photometric="minisblack"),
        "3 pages",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_refused_in_words(tmp_path, name):
    write, words = BAD[name]
    write(tmp_path / name)
    with pytest.raises(MedpriorError, match=words) as caught:
        read(tmp_path, tmp_path / name, {} if "json" in name else NAMES)
    assert str(tmp_path) not in str(caught.value)


def test_labels_need_names_and_names_need_labels(tmp_path):
    Image.fromarray(label_map()).save(tmp_path / "labels.png")
    with pytest.raises(MedpriorError, match="--names 1=NAME,2=NAME"):
        read(tmp_path, tmp_path / "labels.png", {})
    with pytest.raises(MedpriorError, match="no 5 in the file"):
        read(tmp_path, tmp_path / "labels.png", {"5": "heart"})
    found = read(tmp_path, tmp_path / "labels.png", {"1": "left_lung"})
    assert found.structures == ("left_lung",)
    assert "label 2 of the file has no name and was left out" in found.warnings
    with pytest.raises(MedpriorError, match="numbers several structures"):
        annotate_from_files(tmp_path / "chest.png", {"heart": tmp_path / "labels.png"})


def test_command_with_a_label_map(tmp_path, capsys):
    Image.fromarray(label_map()).save(tmp_path / "labels.png")
    line = [
        "annotate", str(tmp_path / "out"), "--image", str(picture_at(tmp_path / "chest.png")),
        "--annotations", str(tmp_path / "labels.png"), "--no-tracking",
    ]  # fmt: skip
    assert main([*line, "--names", "2=left_lung,1=right_lung"]) == 2
    assert "refused.png" in capsys.readouterr().err
    with Image.open(tmp_path / "out" / "refused.png") as image:
        assert np.asarray(image.convert("RGB")).std() > 10
    assert main([*line, "--names", "1=left_lung", "--names", "2=right_lung"]) == 0
    check(Annotation.load(tmp_path / "out"))
    assert not (tmp_path / "out" / "refused.png").exists()
    assert main([*line, "--names", "1"]) == 2


def test_a_body_in_the_dark_has_an_outside(tmp_path):
    pixels = np.zeros(SHAPE, np.float32)
    pixels[10:110, 20:70] = 0.6
    pixels[30:90, 25:65] = 0.0
    inner, outer = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    inner[40:80, 30:60] = True
    outer[40:80, 60:90] = True
    found = Annotation(pixels, {"heart": inner, "device": outer}).warnings
    assert [w for w in found if "outside the body" in w] == ["device: 66% of it lies outside the body; see preview.png"]
