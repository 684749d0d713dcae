"""Masks as a DICOM Segmentation object on the source's own pixels, and back (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medprior.dicom.decoding.pixel_bytes import read_pixel_bytes
from medprior.dicom.derived.derived_object import MANUFACTURER, MODEL_NAME, RESEARCH_NOTE, CreatorInfo
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.seg_codes import find_segment_codes, name_segment
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.header import Header
from medprior.dicom.lung_sides import assign_lung_sides
from medprior.dicom.parsing import ParsedHeader, convert_parser_errors, parse_header
from medprior.dicom.policy import Policy
from medprior.dicom.radiograph import Radiograph
from medprior.errors import Rejected

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

Mask = NDArray[np.bool_]
SEGMENTATION_SOP_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}
MAX_FRAMES = 1000


def build_segmentation(
    masks: Mapping[str, Mask], source: Dataset, native: NativeGrid, maker: CreatorInfo
) -> Segmentation:
    """Masks of one radiograph as a binary segmentation of its source image.

    One frame per mask, in their order, masks that overlap and empty ones included. Without a frame
    of reference (projections have none) the pixels themselves say where: the frames have the
    source's rows and columns and are in its orientation, each derived from it (PS3.3 C.8.20.3.1).

    Args:
        masks: name -> bool [rows, cols] on the radiograph.
        source: the source's header, `source_header`.
        native: how the source's pixels became the radiograph's.
        maker: what made them.

    Raises:
        Rejected: `geometry`, the masks are not of this source.
        ValueError: no mask, or a header that cannot be copied.
    """
    from highdicom.seg import Segmentation

    if native.stored != (source.Rows, source.Columns):
        raise Rejected("geometry", "the masks are not of this image")
    stored = np.stack([native.to_stored(mask) for mask in masks.values()], axis=-1)[None]
    return Segmentation(
        source_images=[source],
        pixel_array=stored.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[describe_segment(i, n, maker) for i, n in enumerate(masks, start=1)],
        series_instance_uid=maker.uid(source, "seg series"),
        series_number=9001,
        sop_instance_uid=maker.uid(source, "seg"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=maker.version,
        device_serial_number=maker.digest,
        content_description=RESEARCH_NOTE,
        content_label="MASKS",
        series_description="medprior segmentation",
        omit_empty_frames=False,
        content_date=maker.made.date(),
        content_time=maker.made.time(),
    )


def describe_segment(number: int, name: str, maker: CreatorInfo) -> SegmentDescription:
    """What segment `number` is, and what drew it."""
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
            version=maker.version,
            source="medprior",
            parameters={"model_digest": maker.digest},
        ),
        tracking_uid=None,
    )


def read_seg(source: Path | str | BinaryIO, radiograph: Radiograph, policy: Policy | None = None) -> dict[str, Mask]:
    """The masks of a segmentation object, on the pixels of the radiograph it was drawn on.

    Read are binary, fractional (from one half on) and label-map objects whose pixels are not
    compressed, of whatever tool. Segments of one name are joined, but for two lungs without a side
    (see `told_apart`).

    Args:
        source: the object's file.
        radiograph: the radiograph; the object must refer to it where both name themselves.
        policy: limits of the parser.

    Returns:
        name -> bool [rows, cols]; `left_lung`, `right_lung`, `lungs`, `heart` and known findings by
        their code, others by their label.

    Raises:
        Rejected: `not_a_segmentation`, `other_image` (drawn on another one), `geometry` (of another
            size), `compressed`, `malformed`, or a code of the parser.
    """
    return assign_lung_sides(read_segments(source, radiograph, policy))[0]


def read_segments(
    source: Path | str | BinaryIO, radiograph: Radiograph, policy: Policy | None = None
) -> list[tuple[str, Mask]]:
    """Each segment of an object by itself; a name may come twice. See `read_seg`."""
    policy, native = policy or Policy(), NativeGrid.of(radiograph)
    with open_regular_file(source, policy) as (stream, size):
        found = parse_header(stream, size, policy)
        header = found.header
        with convert_parser_errors():
            if header.text(0x00080016) not in SEGMENTATION_SOP_CLASSES:
                raise Rejected("not_a_segmentation", "the file is no segmentation object")
            check_source_image(header, radiograph)
            frames = read_stored_frames(found, native)
            segments, owners = read_segment_names(header), read_frame_segments(header, len(frames))
            fits = match_frames_to_source(header, len(frames), radiograph.identity.sop)
    masks = {number: np.zeros(native.stored, dtype=bool) for number in segments}
    label_map = header.text(0x00620001) == "LABELMAP"
    for frame, owner, fit in zip(frames, owners, fits, strict=True):
        for number in segments:
            if fit and (label_map or number == owner):
                masks[number] |= frame == number if label_map else frame > 0
    return [(segments[number], native.to_radiograph(mask)) for number, mask in masks.items()]


def check_source_image(header: Header, radiograph: Radiograph) -> None:
    """Rejected `other_image` where the object names its source images and ours is not there."""
    ours, theirs = radiograph.identity.sop, set[str]()
    for series in header.items(0x00081115):
        for item in series.items(0x0008114A):
            theirs.add(item.text(0x00081155))
    if ours and theirs and ours not in theirs:
        raise Rejected("other_image", "the segmentation refers to another image")


def read_stored_frames(found: ParsedHeader, native: NativeGrid) -> NDArray[np.generic]:
    """The frames [n, rows, cols] as stored; of a fractional object, whether half is reached."""
    header = found.header
    shape = (header.short(0x00280010) or 0, header.short(0x00280011) or 0)
    if shape != native.stored:
        raise Rejected("geometry", "the segmentation has another size than the image")
    count = next((int(n) for n in header.decimals(0x00280008) if n == n), 1)
    if not 1 <= count <= MAX_FRAMES:
        raise Rejected("geometry", f"more than {MAX_FRAMES} frames, or none")
    data = read_pixel_bytes(found)
    if data.encapsulated:
        raise Rejected("compressed", "the segmentation's pixels are compressed", fix="export plain")
    bits, pixels = header.short(0x00280100), count * shape[0] * shape[1]
    if bits not in {1, 8, 16} or len(data.data) * 8 < pixels * bits:
        raise Rejected("malformed", "the segmentation's pixels do not fill its frames")
    if bits == 1:
        packed = np.frombuffer(data.data, np.uint8, count=-(-pixels // 8))
        flat = np.unpackbits(packed, count=pixels, bitorder="little")
    else:
        order = "<" if header.little_endian else ">"
        flat = np.frombuffer(data.data, f"{order}u{bits // 8}", count=pixels)
    frames = flat.reshape(count, *shape)
    if header.text(0x00620001) == "FRACTIONAL":
        return np.asarray(2 * frames.astype(np.int32) >= (header.short(0x0062000E) or 255))
    return frames


def read_segment_names(header: Header) -> dict[int, str]:
    """Segment number -> name."""
    found = {}
    for item in header.items(0x00620002):
        kinds = item.items(0x0062000F)
        sides = [side for kind in kinds for side in kind.items(0x00620011)]
        code = kinds[0].text(0x00080100) if kinds else ""
        side = sides[0].text(0x00080100) if sides else ""
        number = item.short(0x00620004)
        if number:
            found[number] = name_segment(code, side, item.unicode(0x00620005)) or f"segment_{number}"
    if not found:
        raise Rejected("malformed", "the segmentation describes no segment")
    return found


def read_frame_groups(header: Header, count: int) -> list[list[Header]]:
    """For each frame the functional groups that describe it: its own, then the shared ones."""
    shared = header.items(0x52009229)
    own = header.items(0x52009230)
    return [[*own[i : i + 1], *shared] for i in range(count)]


def read_frame_segments(header: Header, count: int) -> list[int]:
    """The segment that each frame shows; by order where the object does not say."""
    found = []
    for order, groups in enumerate(read_frame_groups(header, count), start=1):
        items = [item for group in groups for item in group.items(0x0062000A)]
        found.append((items[0].short(0x0062000B) if items else None) or order)
    return found


def match_frames_to_source(header: Header, count: int, sop: str) -> list[bool]:
    """Whether each frame was derived from image `sop`, or does not say from which."""
    found = []
    for groups in read_frame_groups(header, count):
        derivations = [item for group in groups for item in group.items(0x00089124)]
        sources = [item for one in derivations for item in one.items(0x00082112)]
        uids = {item.text(0x00081155) for item in sources} - {""}
        found.append(not sop or not uids or sop in uids)
    return found
