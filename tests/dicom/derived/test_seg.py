"""Masks into segmentation objects and back; read with highdicom and with plain pydicom."""

import io
import zlib
from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest

from medprior.dicom import RawIdentifiers, read_image
from medprior.dicom.derived.derived_object import read_source_header, serialise_object
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.seg import build_segmentation, read_seg
from medprior.errors import Rejected
from tests.dicom.object_sources import CASES, MAKER, blob, opened, source


def build_object(content: bytes, **others: np.ndarray):
    """The radiograph, its masks (the blob as the reader shows it), and the object's bytes."""
    radiograph = read_image(io.BytesIO(content))
    masks = {"left_lung": radiograph.pixels > 0.5, **others}
    header = read_source_header(io.BytesIO(content))
    return radiograph, masks, serialise_object(
        build_segmentation(masks, header, NativeGrid.from_radiograph(radiograph), MAKER)
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_mask_lands_on_the_stored_pixels_it_was_seen_on(case):
    radiograph, masks, content = build_object(source(**CASES[case]))
    plain = opened(content).pixel_array
    other = highdicom.seg.segread(io.BytesIO(content)).get_pixels_by_source_instance(["1.2.3.4.5"])
    assert plain.shape == blob().shape
    assert np.array_equal(other[0, ..., 0], plain)
    square = "ImagerPixelSpacing" not in CASES[case]
    assert (plain.astype(bool) != blob()).sum() <= (0 if square else 90)
    read = read_seg(io.BytesIO(content), radiograph)["left_lung"]
    wrong = (read != masks["left_lung"]).sum() / masks["left_lung"].sum()
    assert wrong <= (0 if square else 0.02)


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, lambda a: np.rot90(a, 2)])
def test_the_blob_tells_every_turn(turn):
    assert (turn(blob()) != blob()).mean() > 0.1


def test_several_masks_overlapping_and_empty_ones_come_back():
    shape = blob().shape
    heart, empty, single = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, bool)
    heart[40:80, 5:40], single[3, 5] = True, True
    radiograph, masks, content = build_object(source(), heart=heart, right_lung=empty, my_mask=single)
    read = read_seg(io.BytesIO(content), radiograph)
    assert list(read) == list(masks)
    assert all(np.array_equal(read[name], masks[name]) for name in masks)
    dataset = opened(content)
    codes = [item.SegmentedPropertyTypeCodeSequence[0] for item in dataset.SegmentSequence]
    assert [(c.CodeValue, c.CodingSchemeDesignator) for c in codes] == [
        ("44029006", "SCT"), ("80891009", "SCT"), ("3341006", "SCT"), ("my_mask", "99MEDPRIOR"),
    ]  # fmt: skip


def test_it_belongs_to_its_source_and_says_who_made_it():
    _, _, content = build_object(source(FrameOfReferenceUID="1.2.3.99"))
    dataset = opened(content)
    assert dataset.StudyInstanceUID == "1.2.3.4"
    series = dataset.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == "1.2.3.4.1"
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert dataset.SeriesInstanceUID != "1.2.3.4.1"
    assert str(dataset.PatientName) == "Müller^Änne"
    copied = (dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex, dataset.AccessionNumber)
    assert copied == ("ID-7", "19600102", "F", "ACC9")
    assert (dataset.StudyDate, dataset.StudyID) == ("20260304", "S1")
    assert "OperatorsName" not in dataset
    assert "FrameOfReferenceUID" not in dataset
    algorithm = dataset.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("medprior", "0.1.0")
    assert MAKER.digest in str(algorithm.AlgorithmParameters)
    assert dataset.DeviceSerialNumber == MAKER.digest
    assert "research" in dataset.ContentDescription


def test_another_image_is_refused():
    radiograph, _, content = build_object(source())
    other = read_image(io.BytesIO(source(SOPInstanceUID="1.2.3.4.6")))
    with pytest.raises(Rejected) as caught:
        read_seg(io.BytesIO(content), other)
    assert caught.value.code == "other_image"
    with pytest.raises(Rejected) as caught:
        read_seg(io.BytesIO(source()), radiograph)
    assert caught.value.code == "not_a_segmentation"
    with pytest.raises(Rejected) as caught:
        read_seg(io.BytesIO(content[:-900]), radiograph)
    assert caught.value.code in {"truncated", "malformed"}
    smaller = NativeGrid((10, 10), (10, 10))
    with pytest.raises(Rejected) as caught:
        build_segmentation({"heart": np.ones((10, 10), bool)}, read_source_header(io.BytesIO(source())),
                     smaller, MAKER)  # fmt: skip
    assert caught.value.code == "geometry"


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_objects_of_other_tools(kind):
    radiograph, masks, _ = build_object(source())
    header = read_source_header(io.BytesIO(source()))
    from medprior.dicom.derived.seg import describe_segment

    pixels = masks["left_lung"].astype(np.float32 if kind == "FRACTIONAL" else np.uint8)
    other = highdicom.seg.Segmentation(
        [header], pixels[None], kind, [describe_segment(1, "left_lung", MAKER)], "1.9.1", 1, "1.9.2", 1,
        "other", "other", "1", "1",
    )  # fmt: skip
    read = read_seg(io.BytesIO(serialise_object(other)), radiograph)
    assert np.array_equal(read["left_lung"], masks["left_lung"])


def write_layers(header, layers, kind, syntax):
    """A segmentation object by highdicom, of one segment per layer, in a transfer syntax."""
    from medprior.dicom.derived.seg import describe_segment

    pixels = np.stack(list(layers.values()), axis=-1)[None]
    if kind == "LABELMAP":
        pixels = (pixels * np.arange(1, len(layers) + 1)).max(axis=-1)
    pixels = pixels.astype(np.float32) * 0.9 if kind == "FRACTIONAL" else pixels.astype(np.uint8)
    segments = [describe_segment(number, name, MAKER) for number, name in enumerate(layers, start=1)]
    return highdicom.seg.Segmentation(
        [header], pixels, kind, segments, "1.9.1", 1, "1.9.2", 1, "other", "other", "1", "1",
        transfer_syntax_uid=syntax or pydicom.uid.ExplicitVRLittleEndian,
    )  # fmt: skip


def draw_layers(masks):
    """Three separate structures on the blob's grid."""
    heart, other = np.zeros(blob().shape, bool), np.zeros(blob().shape, bool)
    heart[40:80, 5:40], other[3:9, 5:50] = True, True
    lung = masks["left_lung"] & ~heart & ~other
    return {"left_lung": lung, "heart": heart, "mediastinum": other}


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEG2000Lossless", "JPEGLSLossless", "ExplicitVRLittleEndian"])
@pytest.mark.parametrize("kind", ["LABELMAP", "FRACTIONAL"])
def test_compressed_objects_of_viewers(kind, syntax):
    radiograph, masks, _ = build_object(source())
    layers = draw_layers(masks)
    header = read_source_header(io.BytesIO(source()))
    written = write_layers(header, layers, kind, getattr(pydicom.uid, syntax))
    assert written.file_meta.TransferSyntaxUID == getattr(pydicom.uid, syntax)
    read = read_seg(io.BytesIO(serialise_object(written)), radiograph)
    assert all(np.array_equal(read[name], layers[name]) for name in layers)


def deflate(data, has_header=False):
    """A deflated stream, bare as DICOM wants it or with zlib's header."""
    coder = zlib.compressobj(wbits=zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


@pytest.mark.parametrize(("kind", "bits"), [("LABELMAP", 8), ("LABELMAP", 16), ("BINARY", 1)])
@pytest.mark.parametrize("fragments", [1, 2])
def test_deflated_frames(kind, bits, fragments):
    radiograph, masks, _ = build_object(source())
    layers = draw_layers(masks)
    written = write_layers(read_source_header(io.BytesIO(source())), layers, kind, None)
    frames = written.pixel_array.reshape(-1, *blob().shape)
    frames = [np.packbits(f, bitorder="little") if bits == 1 else f.astype(f"<u{bits // 8}") for f in frames]
    streams = [deflate(frame.tobytes(), number == 1) for number, frame in enumerate(frames)]
    dataset = opened(serialise_object(written))
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelData = pydicom.encaps.encapsulate(streams, fragments_per_frame=fragments)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    # pydicom does not know the syntax yet: another one of its length stands in while it writes.
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    content = serialise_object(dataset).replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.8.1\0", 1)
    read = read_seg(io.BytesIO(content), radiograph)
    assert all(np.array_equal(read[name], layers[name]) for name in layers)


def test_a_wholly_deflated_object():
    radiograph, masks, content = build_object(source())
    dataset = opened(content)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert np.array_equal(read_seg(buffer, radiograph)["left_lung"], masks["left_lung"])


@pytest.mark.parametrize(
    ("code", "label", "name"),
    [
        ("39607008", "Left lung", "left_lung"), ("39607008", "Lung, R", "right_lung"), ("39607008", "RT", "right_lung"),
        ("39607008", "Lung", "lungs"), ("39607008", "left and right lung", "lungs"), ("T-28000", "left", "left_lung"),
        ("T-32000", "Segment 1", "heart"), ("T-28500", "x", "left_lung"), ("85756007", "Left Lung", "left_lung"),
        ("44029006", "right lung", "left_lung"),
    ],
)  # fmt: skip
def test_the_side_of_a_lung_may_stand_in_the_label_alone(code, label, name):
    radiograph, _, content = build_object(source())

    def rename(dataset):
        dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = code
        dataset.SegmentSequence[0].SegmentLabel = label

    assert list(read_seg(change_segmentation(content, rename), radiograph)) == [name]


def refer_to(dataset, *uids):
    """Let an object refer to these images as a whole."""
    items = []
    for uid in uids:
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", uid
        items.append(item)
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = items


def test_an_object_of_several_images_gives_the_frames_of_this_one():
    radiograph, masks, content = build_object(source(), heart=blob())

    def spread(dataset):
        refer_to(dataset, "1.2.3.4.5", "1.2.3.4.99")
        derivation = dataset.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0]
        derivation.SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3.4.99"

    buffer = change_segmentation(content, spread)
    read = read_seg(buffer, radiograph)
    np.testing.assert_array_equal(read["left_lung"], masks["left_lung"])
    assert not read["heart"].any()
    # An image without an instance UID, as those of a cohort, cannot be told from the other one.
    nameless = replace(radiograph, identity=RawIdentifiers())
    with pytest.raises(Rejected, match="refers to 2 images") as caught:
        read_seg(buffer, nameless)
    assert caught.value.code == "other_image"


def test_frames_that_do_not_say_which_of_several_images_they_show_are_refused():
    radiograph, masks, content = build_object(source())

    def forget(dataset, *uids):
        refer_to(dataset, *uids)
        del dataset.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence

    single = change_segmentation(content, lambda dataset: forget(dataset, "1.2.3.4.5"))
    np.testing.assert_array_equal(read_seg(single, radiograph)["left_lung"], masks["left_lung"])
    several = change_segmentation(content, lambda dataset: forget(dataset, "1.2.3.4.5", "1.2.3.4.99"))
    with pytest.raises(Rejected, match="refers to 2 images"):
        read_seg(several, radiograph)


def test_a_lung_with_a_side_is_that_lung():
    radiograph, _, content = build_object(source())
    dataset = opened(content)
    kind = dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    kind.CodeValue = "39607008"
    side = pydicom.Dataset()
    side.CodeValue, side.CodingSchemeDesignator, side.CodeMeaning = "24028007", "SCT", "Right"
    kind.SegmentedPropertyTypeModifierCodeSequence = [side]
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert list(read_seg(buffer, radiograph)) == ["right_lung"]


def change_segmentation(content, change):
    """The bytes of an object after `change` was applied to its data set."""
    dataset = opened(content)
    change(dataset)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer


def test_a_frame_of_another_image_is_left_out():
    radiograph, masks, content = build_object(source(), heart=blob())

    def move_second_frame(dataset):
        derivation = dataset.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0]
        derivation.SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3.4.99"

    read = read_seg(change_segmentation(content, move_second_frame), radiograph)
    np.testing.assert_array_equal(read["left_lung"], masks["left_lung"])
    assert not read["heart"].any()


def test_frames_of_one_segment_are_joined():
    radiograph, masks, content = build_object(source(), heart=np.eye(*blob().shape, dtype=bool))

    def give_both_to_the_first_segment(dataset):
        second = dataset.PerFrameFunctionalGroupsSequence[1]
        second.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1

    read = read_seg(change_segmentation(content, give_both_to_the_first_segment), radiograph)
    np.testing.assert_array_equal(read["left_lung"], masks["left_lung"] | masks["heart"])
    assert not read["heart"].any()


def test_frames_without_a_segment_number_have_that_of_their_position():
    radiograph, masks, content = build_object(source(), heart=np.eye(*blob().shape, dtype=bool))

    def forget_numbers(dataset):
        for group in dataset.PerFrameFunctionalGroupsSequence:
            del group.SegmentIdentificationSequence

    read = read_seg(change_segmentation(content, forget_numbers), radiograph)
    assert all(np.array_equal(read[name], masks[name]) for name in masks)


@pytest.mark.parametrize(("largest", "value", "is_set"), [(255, 127, 0), (255, 128, 1), (100, 49, 0), (100, 50, 1)])
def test_a_fractional_pixel_is_set_from_half_of_the_largest_value_on(largest, value, is_set):
    radiograph, masks, content = build_object(source())

    def make_fractional(dataset):
        dataset.SegmentationType, dataset.MaximumFractionalValue = "FRACTIONAL", largest
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
        dataset.PixelData = (value * masks["left_lung"]).astype(np.uint8).tobytes()
        dataset["PixelData"].VR = "OB"

    read = read_seg(change_segmentation(content, make_fractional), radiograph)
    np.testing.assert_array_equal(read["left_lung"], masks["left_lung"] & bool(is_set))


def test_an_object_of_another_shape_without_pixels_or_segments_is_refused():
    radiograph, _, content = build_object(source())

    def get_code(change):
        with pytest.raises(Rejected) as caught:
            read_seg(change_segmentation(content, change), radiograph)
        return caught.value.code

    rows, cols = blob().shape
    assert get_code(lambda dataset: dataset.update({"Rows": cols, "Columns": rows})) == "geometry"
    assert get_code(lambda dataset: dataset.update({"NumberOfFrames": 0})) == "geometry"
    assert get_code(lambda dataset: dataset.update({"NumberOfFrames": 1001})) == "geometry"
    assert get_code(lambda dataset: dataset.update({"NumberOfFrames": 2})) == "malformed"
    assert get_code(lambda dataset: dataset.update({"BitsAllocated": 32})) == "malformed"
    assert get_code(lambda dataset: dataset.update({"SegmentSequence": []})) == "malformed"
