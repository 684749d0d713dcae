"""Writes masks as a DICOM Segmentation object on the source's pixels, and reads them (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medprior.dicom.derived.derived_object import MANUFACTURER, MODEL_NAME, CreatorInfo
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.seg_codes import find_segment_codes, name_segment
from medprior.dicom.derived.seg_frames import decode_frames, read_frame_count
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.header import Header
from medprior.dicom.lung_sides import assign_lung_sides
from medprior.dicom.parsing import convert_parser_errors, parse_header
from medprior.dicom.policy import Policy
from medprior.dicom.radiograph import RESEARCH_NOTE, Radiograph
from medprior.errors import Rejected

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

Mask = NDArray[np.bool_]
SEGMENTATION_SOP_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}


def build_segmentation(
    masks: Mapping[str, Mask], source: Dataset, native: NativeGrid, creator: CreatorInfo
) -> Segmentation:
    """Build a binary segmentation of the source image from the masks of one radiograph.

    One frame per mask, in order, including masks that overlap or are empty. Projections have no
    frame of reference, so the frames have the source's rows, columns and orientation and refer to
    it by derivation (PS3.3 C.8.20.3.1).

    Args:
        masks: name -> bool [rows, cols] on the radiograph.
        source: the source's header, from `read_source_header`.
        native: how the source's pixels became the radiograph's.
        creator: the software that created the masks.

    Raises:
        Rejected: `geometry`, the masks belong to another source.
        ValueError: there is no mask, or the header cannot be copied.
    """
    stored = np.stack([mask for _, mask in list_stored_masks(masks, source, native)], axis=-1)[None]
    descriptions = [describe_segment(number, name, creator) for number, name in enumerate(masks, start=1)]
    return create_segmentation(stored.astype(np.uint8), "BINARY", descriptions, source, creator)


def build_label_map(
    masks: Mapping[str, Mask], source: Dataset, native: NativeGrid, creator: CreatorInfo
) -> Segmentation:
    """Build a label-map segmentation (PS3.3 C.8.20, Supplement 243): one frame, each pixel the number of its segment.

    A pixel has one segment alone: where masks overlap, the smaller mask keeps its pixels, and the description
    of the larger one states how many it gave up. Arguments and errors as in `build_segmentation`.
    """
    stored = list_stored_masks(masks, source, native)
    numbers = range(1, len(stored) + 1)
    areas = [int(mask.sum()) for _, mask in stored]
    labels = np.zeros(native.stored_shape, dtype=np.uint8 if len(stored) < 256 else np.uint16)
    for number in sorted(numbers, key=lambda number: -areas[number - 1]):
        labels[stored[number - 1][1]] = number
    descriptions = []
    for number, (name, _), area in zip(numbers, stored, areas, strict=True):
        description = describe_segment(number, name, creator)
        covered = area - int((labels == number).sum())
        if covered:
            description.SegmentDescription = f"{covered} of its {area} pixels belong to smaller segments"
        descriptions.append(description)
    return create_segmentation(labels[None], "LABELMAP", descriptions, source, creator)


def list_stored_masks(masks: Mapping[str, Mask], source: Dataset, native: NativeGrid) -> list[tuple[str, Mask]]:
    """Name and mask on the pixels of the file, in order.

    Raises:
        Rejected: `geometry`, the masks belong to another source.
    """
    if native.stored_shape != (source.Rows, source.Columns):
        raise Rejected("geometry", "the masks belong to another image")
    return [(name, native.to_stored(mask)) for name, mask in masks.items()]


def create_segmentation(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    kind: str,
    descriptions: Sequence[SegmentDescription],
    source: Dataset,
    creator: CreatorInfo,
) -> Segmentation:
    """Create a segmentation object from its pixels.

    Args:
        pixels: [1, rows, cols, segments] of 0 and 1 (BINARY) or [1, rows, cols] of segment numbers (LABELMAP).
        kind: BINARY or LABELMAP.
        descriptions: of the segments.
        source: the source's header, from `read_source_header`.
        creator: the software that created the masks.
    """
    from highdicom.seg import Segmentation

    name, number = ("seg", 9001) if kind == "BINARY" else ("labelmap", 9004)
    segmentation = Segmentation(
        source_images=[source],
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid=creator.build_uid(source, f"{name} series"),
        series_number=number,
        sop_instance_uid=creator.build_uid(source, name),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=creator.version,
        device_serial_number=creator.digest,
        content_description=RESEARCH_NOTE,
        content_label="MASKS",
        series_description="medprior segmentation" if kind == "BINARY" else "medprior label map",
        omit_empty_frames=False,
        content_date=creator.created_at.date(),
        content_time=creator.created_at.time(),
    )
    # Type 2C without a plane in the patient's space; empty where the source does not say.
    segmentation.PatientOrientation = source.get("PatientOrientation")
    return segmentation


def describe_segment(number: int, name: str, creator: CreatorInfo) -> SegmentDescription:
    """Describe segment `number`: its codes and the algorithm that created it."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    category, kind = find_segment_codes(name)
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name="medprior",
            family=codes.DCM.ArtificialIntelligence,
            version=creator.version,
            source="medprior",
            parameters={"model_digest": creator.digest},
        ),
        tracking_uid=None,
    )


def read_seg(source: Path | str | BinaryIO, radiograph: Radiograph, policy: Policy | None = None) -> dict[str, Mask]:
    """Read the masks of a segmentation object, on the pixels of its radiograph.

    Supports binary, fractional (set from one half on) and label-map objects of any tool, uncompressed,
    deflated, or in a lossless compression of radiographs. Segments of equal names are joined, except two
    lungs without a side (see `assign_lung_sides`).

    Args:
        source: file of the object.
        radiograph: the radiograph; the object must refer to it where both state UIDs.
        policy: limits of the parser.

    Returns:
        name -> bool [rows, cols]; `left_lung`, `right_lung`, `lungs`, `heart` and known findings by
        their code, others by their label.

    Raises:
        Rejected: `not_a_segmentation`, `other_image` (it refers to another image, or to several and does not
            say which), `geometry` (it has another size), `malformed`, or a code of the parser or the decoders.
    """
    return assign_lung_sides(read_segments(source, radiograph, policy))[0]


def read_segments(
    source: Path | str | BinaryIO, radiograph: Radiograph, policy: Policy | None = None
) -> list[tuple[str, Mask]]:
    """Read each segment of an object separately; names may repeat. See `read_seg`."""
    policy, native = policy or Policy(), NativeGrid.from_radiograph(radiograph)
    with open_regular_file(source, policy) as (stream, size):
        parsed = parse_header(stream, size, policy)
        header = parsed.header
        with convert_parser_errors():
            if header.text(0x00080016) not in SEGMENTATION_SOP_CLASSES:
                raise Rejected("not_a_segmentation", "the file is not a segmentation object")
            check_source_image(header, radiograph)
            shape = (header.short(0x00280010) or 0, header.short(0x00280011) or 0)
            if shape != native.stored_shape:
                raise Rejected("geometry", "the segmentation has another size than the image")
            count, segments = read_frame_count(header), read_segment_names(header)
            segment_numbers = read_frame_segments(header, count)
            matches = match_frames_to_source(header, count, radiograph.identity.sop)
            masks = {number: np.zeros(shape, dtype=bool) for number in segments}
            is_label_map = header.text(0x00620001) == "LABELMAP"
            frames = decode_frames(parsed, shape, count)
            for frame, segment_number, is_match in zip(frames, segment_numbers, matches, strict=True):
                for number in segments:
                    if is_match and (is_label_map or number == segment_number):
                        masks[number] |= frame == number if is_label_map else np.greater(frame, 0)
    return [(segments[number], native.to_radiograph(mask)) for number, mask in masks.items()]


def read_referenced_images(header: Header) -> set[str]:
    """SOP instance UIDs of the images to which an object refers as a whole."""
    items = [item for series in header.items(0x00081115) for item in series.items(0x0008114A)]
    return {item.text(0x00081155) for item in items} - {""}


def check_source_image(header: Header, radiograph: Radiograph) -> None:
    """Refuse an object whose stated source images do not include the radiograph (`other_image`)."""
    sop, referenced_sops = radiograph.identity.sop, read_referenced_images(header)
    if sop and referenced_sops and sop not in referenced_sops:
        raise Rejected("other_image", "the segmentation refers to another image")


def read_segment_names(header: Header) -> dict[int, str]:
    """Read the names of the segments by their numbers."""
    names = {}
    for item in header.items(0x00620002):
        kinds = item.items(0x0062000F)
        sides = [side for kind in kinds for side in kind.items(0x00620011)]
        code = kinds[0].text(0x00080100) if kinds else ""
        side = sides[0].text(0x00080100) if sides else ""
        number = item.short(0x00620004)
        if number:
            names[number] = name_segment(code, side, item.unicode(0x00620005)) or f"segment_{number}"
    if not names:
        raise Rejected("malformed", "the segmentation describes no segment")
    return names


def read_frame_groups(header: Header, count: int) -> list[list[Header]]:
    """Read the functional groups of each frame: its own, then the shared ones."""
    shared = header.items(0x52009229)
    per_frame = header.items(0x52009230)
    return [[*per_frame[i : i + 1], *shared] for i in range(count)]


def read_frame_segments(header: Header, count: int) -> list[int]:
    """Read the segment number of each frame; its position where the object does not state it."""
    numbers = []
    for position, groups in enumerate(read_frame_groups(header, count), start=1):
        items = [item for group in groups for item in group.items(0x0062000A)]
        numbers.append((items[0].short(0x0062000B) if items else None) or position)
    return numbers


def match_frames_to_source(header: Header, count: int, sop: str) -> list[bool]:
    """Whether each frame is derived from image `sop`, or does not state its source.

    Raises:
        Rejected: `other_image`, the object refers to several images and not every frame can be assigned to one.
    """
    sources_by_frame = []
    for groups in read_frame_groups(header, count):
        derivations = [item for group in groups for item in group.items(0x00089124)]
        sources = [item for derivation in derivations for item in derivation.items(0x00082112)]
        sources_by_frame.append({item.text(0x00081155) for item in sources} - {""})
    images = read_referenced_images(header).union(*sources_by_frame)
    if len(images) > 1 and not (sop and all(sources_by_frame)):
        raise Rejected(
            "other_image",
            f"the segmentation refers to {len(images)} images, and which of its frames show this one is unknown",
            fix="give the radiograph's own DICOM file, or export a segmentation of this image alone",
        )
    return [not sop or not sources or sop in sources for sources in sources_by_frame]
