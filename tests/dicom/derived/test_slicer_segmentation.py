"""Segmentations of 3D Slicer, read with pynrrd and with SimpleITK, on the geometry of the radiograph."""

import io

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from medprior.dicom import read_image
from medprior.dicom.derived.display_header import read_display_header
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.slicer_segmentation import build_slicer_segmentation, stack_layers
from tests.dicom.object_sources import CASES, blob, source


def write(folder, names=("heart", "nodule"), **changes):
    """Paths of the radiograph and of the segmentation of its blob and of a smaller part of it."""
    content = source(**changes)
    native = NativeGrid.from_radiograph(read_image(io.BytesIO(content)))
    part = blob()
    part[:, 14:] = False
    masks = {name: native.to_radiograph(mask) for name, mask in zip(names, (blob(), part), strict=False)}
    header = read_display_header(io.BytesIO(content))
    (folder / "source.dcm").write_bytes(content)
    (folder / "masks.seg.nrrd").write_bytes(build_slicer_segmentation(masks, header, native))
    return folder / "source.dcm", folder / "masks.seg.nrrd", {n: native.to_stored(m) for n, m in masks.items()}


@pytest.mark.parametrize("case", CASES)
def test_segments_have_their_pixels_and_the_geometry_of_the_radiograph(case, tmp_path):
    picture, path, masks = write(tmp_path, **CASES[case])
    image, segments = sitk.ReadImage(str(picture)), sitk.ReadImage(str(path))
    for read in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(segments, read)() == pytest.approx(getattr(image, read)())
    layers = sitk.GetArrayFromImage(segments)[0]
    assert layers.shape == (*blob().shape, 2)
    data, header = nrrd.read(str(path))
    for index, name in enumerate(masks):
        layer, label = int(header[f"Segment{index}_Layer"]), int(header[f"Segment{index}_LabelValue"])
        assert header[f"Segment{index}_Name"] == name
        np.testing.assert_array_equal(layers[..., layer] == label, masks[name])
        np.testing.assert_array_equal(label == data[layer, :, :, 0].T, masks[name])
        rows, columns = np.nonzero(masks[name])
        extent = [columns.min(), columns.max(), rows.min(), rows.max(), 0, 0]
        assert header[f"Segment{index}_Extent"] == " ".join(map(str, extent))
    assert "SCT^80891009^Heart" in header["Segment0_Tags"]


def test_one_layer_is_a_plain_volume(tmp_path):
    _, path, masks = write(tmp_path, names=("left_lung",))
    data, header = nrrd.read(str(path))
    assert (data.shape, list(header["kinds"])) == ((96, 120, 1), ["domain"] * 3)
    np.testing.assert_array_equal(data[:, :, 0].T == 1, masks["left_lung"])


def test_it_names_no_patient(tmp_path):
    content = write(tmp_path)[1].read_bytes()
    for secret in ("Müller", "ID-7", "ACC9", "1.2.3.4"):
        assert secret.encode() not in content


def test_masks_share_a_layer_where_they_do_not_overlap():
    left, right = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    left[:, :2] = right[:, 2:] = True
    layers, placements = stack_layers([left, right, left, np.zeros((2, 4), bool)])
    assert placements == [(0, 1), (0, 2), (1, 1), (0, 3)]
    assert layers[:, :, :, 0].transpose(0, 2, 1).tolist() == [[[1, 1, 2, 2]] * 2, [[1, 1, 0, 0]] * 2]
