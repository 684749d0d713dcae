"""Display: windows, rescale, tables, polarity, padding and shutters, against float64."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tests.corpus.case import (
    Array,
    Case,
    P,
    bad,
    cells,
    dicom,
    element,
    full,
    inserted,
    ok,
    stored,
)

AXIS = "metadata"


def line(values: Array, centre: float, width: float) -> Array:
    """PS3.3 C.11.2.1.2.1 LINEAR."""
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def exact(values: Array, centre: float, width: float) -> Array:
    """LINEAR_EXACT."""
    return np.clip((values - centre) / width + 0.5, 0, 1)


def sigmoid(values: Array, centre: float, width: float) -> Array:
    """SIGMOID."""
    return 1 / (1 + np.exp(-4 * (values - centre) / width))


def lut(first: int, entries: Array, bits: int, word: bool = True, **said: Any) -> Dataset:
    """A lookup table item; `said` may lie about the descriptor."""
    item = Dataset()
    count = said.get("count", len(entries) % 65536)
    item.add_new(0x00283002, "SS" if first < 0 else "US", [count, first, bits])
    item.add_new(0x00283006, "OW", np.asarray(entries).astype("<u2" if word else "u1").tobytes())
    return item


CURVE = np.rint(4095 * np.sqrt(np.arange(4096) / 4095)).astype(int)


def read_as(name: str, picture: Array, flags: tuple[str, ...] = (), **elements: Any) -> Iterator[Case]:
    """A case of the standard picture with other header values."""
    yield from ok(name, AXIS, functools.partial(dicom, P, **elements), picture, flags=flags)


def raw_text(name: str, keyword: str, text: bytes, picture: Array, *flags: str, **more: Any) -> Iterator[Case]:
    """A window value that pydicom would not write, put in afterwards."""

    def make() -> bytes:
        known = {"WindowCenter": "1000", "WindowWidth": "1500"} | {keyword: "77777777"}
        return dicom(P, **known).replace(b"77777777", text.ljust(8)[:8])

    yield from ok(name, AXIS, make, picture, flags=flags, **more)


def window_cases() -> Iterator[Case]:
    plain = {"WindowCenter": "1000", "WindowWidth": "1500"}
    good: dict[str, tuple[dict[str, Any], Array]] = {
        "linear": (plain, line(P, 1000, 1500)),
        "linear_named": (plain | {"VOILUTFunction": "LINEAR"}, line(P, 1000, 1500)),
        "exact": (plain | {"VOILUTFunction": "LINEAR_EXACT"}, exact(P, 1000, 1500)),
        "sigmoid": (plain | {"VOILUTFunction": "SIGMOID"}, sigmoid(P, 1000, 1500)),
        "width_1": ({"WindowCenter": "1000", "WindowWidth": "1"}, (P > 999.5).astype(float)),
        "exact_narrow": (
            {"WindowCenter": "1000", "WindowWidth": "0.5", "VOILUTFunction": "LINEAR_EXACT"},
            exact(P, 1000, 0.5),
        ),
        "several": (
            {"WindowCenter": ["900", "2000"], "WindowWidth": ["1400", "50"]}, line(P, 900, 1400),
        ),
        "several_widths_missing": (
            {"WindowCenter": ["900", "2000"], "WindowWidth": "1400"}, line(P, 900, 1400),
        ),
        "signs_and_exponents": (
            {"WindowCenter": "+1.0E3", "WindowWidth": "15.0E2"}, line(P, 1000, 1500),
        ),
        "after_rescale": (
            plain | {"WindowCenter": "300", "RescaleSlope": "0.5", "RescaleIntercept": "-100"},
            line(0.5 * P - 100, 300, 1500),
        ),
        "after_falling_rescale": (
            plain | {"WindowCenter": "3000", "RescaleSlope": "-1", "RescaleIntercept": "4095"},
            line(4095 - P, 3000, 1500),
        ),
    }  # fmt: skip
    for name, (elements, picture) in good.items():
        yield from read_as(f"window_{name}", picture, **elements)
        inverted = elements | {"PhotometricInterpretation": "MONOCHROME1"}
        yield from read_as(f"window_{name}_monochrome1", 1 - picture, **inverted)
    unusable: dict[str, dict[str, Any]] = {
        "centre_only": {"WindowCenter": "1000"},
        "width_only": {"WindowWidth": "1000"},
        "width_0": plain | {"WindowWidth": "0"},
        "width_negative": plain | {"WindowWidth": "-20"},
        "linear_below_1": plain | {"WindowWidth": "0.3"},
        "far_away": {"WindowCenter": "-50000", "WindowWidth": "10"},
    }
    for name, elements in unusable.items():
        yield from read_as(f"window_{name}", full(P), ("window_unusable",), **elements)
    yield from read_as("window_empty", full(P), WindowCenter="", WindowWidth="")
    for name, text in {
        "nan": b"nan", "inf": b"inf", "comma": b"1,5", "text": b"abc", "hex": b"0x10",
        "overflow": b"1E999",
    }.items():  # fmt: skip
        yield from raw_text(f"window_width_{name}", "WindowWidth", text, full(P), "window_unusable")
        yield from raw_text(f"window_centre_{name}", "WindowCenter", text, full(P), "window_unusable")

    def as_double() -> bytes:
        # A wrong VR: window values as doubles.
        extra = element(0x00281050, "FD", np.float64(1000).tobytes())
        extra += element(0x00281051, "FD", np.float64(1500).tobytes())
        return inserted(dicom(P), extra, 0x7FE00010)

    yield from ok("window_as_double", AXIS, as_double, line(P, 1000, 1500))


def rescale_cases() -> Iterator[Case]:
    yield from read_as("rescale_identity", full(P), RescaleSlope="1", RescaleIntercept="0")
    yield from read_as("rescale_negative", full(-P), RescaleSlope="-1", RescaleIntercept="0")
    yield from read_as(
        "rescale_negative_monochrome1", full(P), RescaleSlope="-2", RescaleIntercept="9",
        PhotometricInterpretation="MONOCHROME1",
    )  # fmt: skip
    yield from read_as("rescale_intercept_only", full(P), RescaleIntercept="-1024")
    yield from read_as("rescale_empty", full(P), RescaleSlope="", RescaleIntercept="")
    for name, slope in {"zero": "0", "huge": "1E300", "vast": "1E30"}.items():
        make = functools.partial(dicom, P, RescaleSlope=slope, RescaleIntercept="0")
        yield from bad(f"rescale_{name}", AXIS, make, "rescale")
    for name, text in {"nan": b"nan", "inf": b"inf", "text": b"one"}.items():
        change = lambda text=text: dicom(  # noqa: E731
            P, RescaleSlope="7777", RescaleIntercept="0"
        ).replace(b"7777", text.ljust(4))
        yield from bad(f"rescale_{name}", AXIS, change, "rescale")


def table_cases() -> Iterator[Case]:
    curved = CURVE[P] / 4095
    yield from read_as("voi_lut", curved, VOILUTSequence=[lut(0, CURVE, 12)])
    yield from read_as(
        "voi_lut_before_window", curved, VOILUTSequence=[lut(0, CURVE, 12)],
        WindowCenter="1", WindowWidth="2",
    )  # fmt: skip
    clamped = CURVE[np.clip(P - 500, 0, 2999)] / CURVE[2999]
    yield from read_as("voi_lut_clamps", np.clip(clamped * CURVE[2999] / 4095, 0, 1),
                       VOILUTSequence=[lut(500, CURVE[:3000], 12)])  # fmt: skip
    yield from read_as("voi_lut_inverse", 1 - curved, VOILUTSequence=[lut(0, CURVE, 12)],
                       PhotometricInterpretation="MONOCHROME1")  # fmt: skip
    yield from read_as("voi_lut_cut", full(P), ("voi_lut_unusable",),
                       VOILUTSequence=[lut(0, CURVE[:100], 12, count=4096)])  # fmt: skip
    yield from read_as("voi_lut_empty", full(P), ("voi_lut_unusable",), VOILUTSequence=[Dataset()])
    yield from read_as("voi_lut_0_bits", full(P), ("voi_lut_unusable",),
                       VOILUTSequence=[lut(0, CURVE, 0)])  # fmt: skip
    yield from read_as("modality_lut", full(CURVE[P]), ModalityLUTSequence=[lut(0, CURVE, 12)])
    yield from read_as("modality_lut_and_line", full(CURVE[P]), ("modality_lut_and_rescale",),
                       ModalityLUTSequence=[lut(0, CURVE, 12)], RescaleSlope="-1",
                       RescaleIntercept="0")  # fmt: skip
    yield from read_as("modality_lut_then_window", line(CURVE[P], 2000, 3000),
                       ModalityLUTSequence=[lut(0, CURVE, 12)], WindowCenter="2000",
                       WindowWidth="3000")  # fmt: skip
    yield from read_as("modality_lut_then_voi_lut", CURVE[CURVE[P]] / 4095,
                       ModalityLUTSequence=[lut(0, CURVE, 12)],
                       VOILUTSequence=[lut(0, CURVE, 12)])  # fmt: skip
    eight = stored(8)
    for word in (True, False):
        make = functools.partial(
            dicom, cells(eight, size=1), 8, VOILUTSequence=[lut(0, np.arange(255, -1, -1), 8, word)]
        )
        name = "words" if word else "bytes"
        yield from ok(f"voi_lut_8_bit_{name}", AXIS, make, 1 - eight / 255)
    wide = stored(16)
    make = functools.partial(dicom, wide, 16, VOILUTSequence=[lut(0, np.arange(65536) // 16, 12)])
    yield from ok("voi_lut_65536", AXIS, make, (wide // 16) / 4095)
    negative = functools.partial(dicom, cells(P - 2048, True), VOILUTSequence=[lut(-2048, CURVE, 12)])
    yield from ok("voi_lut_first_negative", AXIS, negative, curved)


def polarity_cases() -> Iterator[Case]:
    one, two = (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME2"},
    )
    yield from read_as("monochrome1", 1 - full(P), **one)
    yield from read_as("shape_inverse", 1 - full(P), **one, PresentationLUTShape="INVERSE")
    yield from read_as("shape_identity", full(P), **two, PresentationLUTShape="IDENTITY")
    conflict = ("presentation_shape_conflict",)
    yield from read_as("shape_against_1", 1 - full(P), conflict, **one, PresentationLUTShape="IDENTITY")
    yield from read_as("shape_against_2", full(P), conflict, **two, PresentationLUTShape="INVERSE")
    for name, text in {"leading": b" MONOCHROME1", "nul": b"MONOCHROME1\0"}.items():
        change = lambda text=text: dicom(  # noqa: E731
            P, PhotometricInterpretation="MONOCHROME1 "
        ).replace(b"MONOCHROME1 ", text)
        yield from ok(f"monochrome1_{name}_blank", AXIS, change, 1 - full(P), polarity_inverted=True)


def padding_cases() -> Iterator[Case]:
    inner = np.clip(P, 300, 3500)
    edge = np.zeros(P.shape, bool)
    edge[:10], edge[:, -7:] = True, True

    def padded(value: int, signed: bool = False, shift: int = 0) -> Array:
        return cells(np.where(edge, value, inner - shift), signed)

    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        said = {"PhotometricInterpretation": photometric}
        bright = (inner - inner[~edge].min()) / np.ptp(inner[~edge])
        picture = np.where(edge, 0, 1 - bright if photometric == "MONOCHROME1" else bright)
        make = functools.partial(dicom, padded(0), PixelPaddingValue=0, **said)
        yield from ok(f"padding_{photometric}", AXIS, make, picture)
        make = functools.partial(dicom, padded(4000), PixelPaddingValue=3900, PixelPaddingRangeLimit=4095, **said)
        yield from ok(f"padding_range_{photometric}", AXIS, make, picture)
        make = functools.partial(dicom, padded(4000), PixelPaddingValue=4095, PixelPaddingRangeLimit=3900, **said)
        yield from ok(f"padding_range_downwards_{photometric}", AXIS, make, picture)
        make = functools.partial(dicom, padded(-2048, True, 2000), PixelPaddingValue=-2048, **said)
        yield from ok(f"padding_signed_{photometric}", AXIS, make, picture)
        windowed = line(inner, 1500, 2000)
        picture = np.where(edge, 0, 1 - windowed if photometric == "MONOCHROME1" else windowed)
        make = functools.partial(dicom, padded(0), PixelPaddingValue=0, WindowCenter="1500", WindowWidth="2000", **said)
        yield from ok(f"padding_windowed_{photometric}", AXIS, make, picture)
    yield from ok("padding_limit_without_value", AXIS,
                  lambda: dicom(P, PixelPaddingRangeLimit=5), full(P))  # fmt: skip
    yield from bad("padding_everywhere", AXIS, lambda: dicom(P, PixelPaddingValue=0,
                   PixelPaddingRangeLimit=4095), "constant")  # fmt: skip


def shutter_cases() -> Iterator[Case]:
    row, col = np.mgrid[1 : P.shape[0] + 1, 1 : P.shape[1] + 1]
    box = (row >= 11) & (row <= 80) & (col >= 6) & (col <= 70)
    disc = (row - 48) ** 2 + (col - 40) ** 2 <= 30**2
    edges = {
        "ShutterLeftVerticalEdge": 6, "ShutterRightVerticalEdge": 70,
        "ShutterUpperHorizontalEdge": 11, "ShutterLowerHorizontalEdge": 80,
    }  # fmt: skip
    round_ = {"CenterOfCircularShutter": [48, 40], "RadiusOfCircularShutter": 30}

    def inside(mask: Array) -> Array:
        return np.where(mask, (P - P[mask].min()) / np.ptp(P[mask]), 0)

    yield from read_as("shutter_box", inside(box), ("shutter",), ShutterShape="RECTANGULAR", **edges)
    yield from read_as("shutter_disc", inside(disc), ("shutter",), ShutterShape="CIRCULAR", **round_)
    yield from read_as("shutter_both", inside(box & disc), ("shutter",),
                       ShutterShape=["RECTANGULAR", "CIRCULAR"], **edges, **round_)  # fmt: skip
    corners = [11, 6, 11, 70, 80, 70, 80, 6]
    yield from read_as("shutter_polygon", inside(box), ("shutter",), ShutterShape="POLYGONAL",
                       VerticesOfThePolygonalShutter=corners)  # fmt: skip
    yield from read_as("shutter_nowhere", full(P), ("shutter_unusable",),
                       ShutterShape="RECTANGULAR",
                       **(edges | {"ShutterLeftVerticalEdge": 900,
                                   "ShutterRightVerticalEdge": 950}))  # fmt: skip
    yield from read_as("shutter_without_edges", full(P), ("shutter_unusable",),
                       ShutterShape="RECTANGULAR")  # fmt: skip
    yield from read_as("shutter_monochrome1", np.where(box, 1 - inside(box), 0), ("shutter",),
                       ShutterShape="RECTANGULAR", PhotometricInterpretation="MONOCHROME1",
                       **edges)  # fmt: skip


def cases() -> Iterator[Case]:
    """All display cases."""
    for part in (window_cases, rescale_cases, table_cases, polarity_cases, padding_cases):
        yield from part()
    yield from shutter_cases()
