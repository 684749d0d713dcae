"""Reads how a radiograph is to be displayed: its lookup tables, its window and the shape of its pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.dataset import Dataset

from medprior.dicom.derived.derived_object import copy_source_header
from medprior.dicom.display.lut import read_lut
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.header import Header
from medprior.dicom.parsing import convert_parser_errors, parse_header
from medprior.dicom.policy import Policy
from medprior.dicom.spacing import read_spacing_pair

ALL_STORED_VALUES = (-32768.0, 65535.0)
SPACING_TAGS = {"ImagerPixelSpacing": 0x00181164, "PixelSpacing": 0x00280030}
RESCALE_TAGS = {"RescaleIntercept": 0x00281052, "RescaleSlope": 0x00281053}
WINDOW_TAGS = {"WindowCenter": 0x00281050, "WindowWidth": 0x00281051}
WINDOW_FUNCTIONS = {"LINEAR", "LINEAR_EXACT", "SIGMOID"}


def read_display_header(source: Path | str | BinaryIO, policy: Policy | None = None) -> Dataset:
    """Read the attributes of `read_source_header` and those by which a viewer displays the image.

    These are the spacing, the modality LUT or rescale, the VOI LUT or the windows, and the photometric
    interpretation. A table or number that cannot be used is left out, as a viewer would.

    Raises:
        Rejected: as `read_source_header`.
    """
    policy = policy or Policy()
    with open_regular_file(source, policy) as (stream, size), convert_parser_errors():
        header = parse_header(stream, size, policy).header
        dataset = copy_source_header(header)
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = header.text(0x00280004)
        for keyword, tag in SPACING_TAGS.items():
            spacing = read_spacing_pair(header, tag)
            if spacing is not None:
                setattr(dataset, keyword, list(spacing))
        aspect = header.decimals(0x00280034)
        if len(aspect) == 2 and all(value.is_integer() and 0 < value < 2**31 for value in aspect):
            dataset.PixelAspectRatio = [int(value) for value in aspect]
        copy_modality_transformation(header, dataset)
        copy_voi_transformation(header, dataset)
    return dataset


def copy_modality_transformation(header: Header, dataset: Dataset) -> None:
    """Copy the first modality LUT, else slope and intercept."""
    table = copy_lookup_table(header, 0x00283000)
    if table is not None:
        table.ModalityLUTType = header.items(0x00283000)[0].text(0x00283004) or "US"
        dataset.ModalityLUTSequence = [table]
        return
    values = {keyword: next(iter(header.decimals(tag)), math.nan) for keyword, tag in RESCALE_TAGS.items()}
    if all(math.isfinite(value) for value in values.values()) and values["RescaleSlope"] != 0:
        for keyword, value in values.items():
            setattr(dataset, keyword, f"{value:.10g}")
        dataset.RescaleType = header.text(0x00281054) or "US"


def copy_voi_transformation(header: Header, dataset: Dataset) -> None:
    """Copy the first VOI LUT, else the windows with their function."""
    table = copy_lookup_table(header, 0x00283010)
    if table is not None:
        dataset.VOILUTSequence = [table]
        return
    centres, widths = (header.decimals(tag) for tag in WINDOW_TAGS.values())
    if not centres or len(centres) != len(widths):
        return
    if all(math.isfinite(value) for value in centres + widths) and min(widths) > 0:
        dataset.WindowCenter = [f"{value:.10g}" for value in centres]
        dataset.WindowWidth = [f"{value:.10g}" for value in widths]
        function = header.text(0x00281056)
        if function in WINDOW_FUNCTIONS:
            dataset.VOILUTFunction = function


def copy_lookup_table(header: Header, tag: int) -> Dataset | None:
    """Copy the first table of a LUT sequence, little endian; None where there is none that can be used."""
    items, signed = header.items(tag), header.short(0x00280103) == 1
    table = read_lut(items[0], signed, ALL_STORED_VALUES) if items else None
    if table is None:
        return None
    copy = Dataset()
    first = table.first & 0xFFFF if not signed else table.first
    copy.add_new(0x00283002, "SS" if signed else "US", [len(table.entries) % 65536, first, table.bits])
    copy.add_new(0x00283006, "OW", table.entries.astype(np.dtype("<u2")).tobytes())
    return copy


def read_geometry_spacing(header: Dataset) -> tuple[float, float]:
    """Row and column spacing in mm that readers of DICOM pixels take for a projection; 1 where none is stated."""
    spacing = header.get("ImagerPixelSpacing") or header.get("PixelSpacing") or (1.0, 1.0)
    return float(spacing[0]), float(spacing[1])
