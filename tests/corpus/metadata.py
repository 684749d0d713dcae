"""Orientation, geometry and facts: the checklist about header values, with the display cases."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from medprior.dicom.decoding.samples import serialise_dataset
from tests.corpus import display
from tests.corpus.case import (
    Array,
    Case,
    P,
    dataset,
    dicom,
    element,
    full,
    inserted,
    ok,
    stored,
)
from tests.corpus.display import AXIS, read_as
from tests.corpus.twins import grown


def fact(name: str, elements: dict[str, Any], flags: tuple[str, ...] = (), **facts: Any) -> Iterator[Case]:
    """A case about facts only."""
    yield from ok(name, AXIS, functools.partial(dicom, P, **elements), full(P), flags=flags, **facts)


def orientation_cases() -> Iterator[Case]:
    turns: dict[str, tuple[list[str], Callable[[Array], Array], str]] = {
        "L_F": (["L", "F"], lambda a: a, ""),
        "R_F": (["R", "F"], np.fliplr, "orientation_mirrored"),
        "R_H": (["R", "H"], lambda a: a[::-1, ::-1], "orientation_rotated"),
        "F_L": (["F", "L"], lambda a: a, "orientation_unusual"),
        "oblique": (["LF", "FP"], lambda a: a, ""),
        "single": (["L"], lambda a: a, "orientation_unusable"),
        "nonsense": (["Q", "Z"], lambda a: a, "orientation_unusual"),
    }
    for name, (value, turned, flag) in turns.items():
        yield from read_as(f"orientation_{name}", turned(full(P)), (flag,) if flag else (),
                           PatientOrientation=value)  # fmt: skip
    yield from read_as("orientation_fov_done", full(P), FieldOfViewRotation="90",
                       FieldOfViewHorizontalFlip="YES")  # fmt: skip


def geometry_cases() -> Iterator[Case]:
    square = ["0.2", "0.2"]
    spacings: dict[str, tuple[dict[str, Any], tuple[float, float] | None, str, tuple[str, ...]]] = {
        "none": ({}, None, "none", ()),
        "detector": ({"ImagerPixelSpacing": square}, (0.2, 0.2), "detector", ()),
        "same": (
            {"ImagerPixelSpacing": square, "PixelSpacing": square}, (0.2, 0.2), "detector", (),
        ),
        "fiducial": (
            {"PixelSpacing": ["0.15", "0.15"], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.15, 0.15), "calibrated", (),
        ),
        "geometry": (
            {"ImagerPixelSpacing": square, "PixelSpacing": ["0.18", "0.18"],
             "PixelSpacingCalibrationType": "GEOMETRY"}, (0.18, 0.18), "calibrated", (),
        ),
        "estimated": (
            {"ImagerPixelSpacing": square, "EstimatedRadiographicMagnificationFactor": "1.25"},
            (0.16, 0.16), "estimated", (),
        ),
        "film": ({"NominalScannedPixelSpacing": square}, (0.2, 0.2), "film", ()),
        "negative": ({"PixelSpacing": ["-0.2", "0.2"]}, None, "none", ("spacing_unusable",)),
        "zero": ({"PixelSpacing": ["0", "0"]}, None, "none", ("spacing_unusable",)),
        "single": ({"PixelSpacing": "0.2"}, None, "none", ("spacing_unusable",)),
    }  # fmt: skip
    for name, (elements, value, kind, flags) in spacings.items():
        yield from fact(f"spacing_{name}", elements, flags, spacing_mm=value, spacing_kind=kind)
    tall = np.repeat(np.repeat(stored(12, rows=40, cols=70), 2, 0), 2, 1)

    def oblong(**elements: Any) -> bytes:
        return dicom(tall[::2], 12, **elements)

    expected = grown(full(tall[::2]), tall.shape[0], 0)
    yield from ok("oblong_by_spacing", AXIS, lambda: oblong(PixelSpacing=["0.4", "0.2"]), expected,
                  codes=["size"], spacing_mm=(0.2, 0.2))  # fmt: skip
    wide = stored(12, rows=140, cols=70)
    expected = grown(full(wide), 140, 1)
    yield from ok("oblong_by_aspect", AXIS, lambda: dicom(wide, PixelAspectRatio=["1", "2"]),
                  expected, spacing_mm=None)  # fmt: skip
    yield from fact("aspect_after_spacing", {"PixelSpacing": square,
                       "PixelAspectRatio": ["2", "1"]},
                    spacing_mm=(0.2, 0.2))  # fmt: skip
    yield from fact("aspect_absurd", {"PixelAspectRatio": ["500", "1"]}, ("aspect_unusable",))
    yield from fact("aspect_zero", {"PixelAspectRatio": ["0", "1"]}, ("aspect_unusable",))


def fact_cases() -> Iterator[Case]:
    for word, view in {"PA": "PA", "AP": "AP", "LL": "LL", "RL": "RL", "": "UNKNOWN",
                       "LLD": "UNKNOWN",
                       "pa": "PA"}.items():  # fmt: skip
        yield from fact(f"view_{word or 'empty'}", {"ViewPosition": word}, view=view)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = (
        "R-10206",
        "SRT",
        "antero-posterior",
    )
    yield from fact("view_coded", {"ViewPosition": "", "ViewCodeSequence": [code]}, view="AP")
    yield from fact("view_by_orientation", {"ViewPosition": "", "PatientOrientation": ["A", "F"]},
                    view="LATERAL")  # fmt: skip
    ages = {
        "045Y": 45.0,
        "018M": 1.5,
        "": None,
        "095Y": 90.0,
        "200Y": None,
        "81": 81.0,
        "00xY": None,
    }
    for text, value in ages.items():
        yield from fact(f"age_{text or 'empty'}", {"PatientAge": text}, age=value)
    for text, sex in {"M": "M", "f": "F", "": None, "X": None, "O": "O"}.items():
        yield from fact(f"sex_{text or 'empty'}", {"PatientSex": text}, sex=sex)
    for name, (charset, person) in {
        "latin": ("ISO_IR 100", "Müller^Jürgen"),
        "utf8": ("ISO_IR 192", "山田^太郎"),
        "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        "unknown": ("NONSENSE", "Name"),
    }.items():
        yield from fact(f"charset_{name}", {"SpecificCharacterSet": charset, "PatientName": person})

    def mixed() -> bytes:
        return dicom(P, SpecificCharacterSet="ISO_IR 192", PatientID="77777777").replace(
            b"77777777", b"\xff\xfe\x80abc\xe9 "
        )

    yield from ok("charset_broken_id", AXIS, mixed, full(P))
    many = Dataset()
    many.file_meta = dataset().file_meta
    yield from ok("private_elements", AXIS, private, full(P))
    yield from ok("nested_icon", AXIS, icon, full(P))
    yield from ok("guessed_syntax", AXIS, without_syntax, full(P), flags=["syntax_guessed"])


def private() -> bytes:
    """Private groups with every value representation, one of them unknown to the standard."""
    data = dataset()
    data.private_block(0x0009, "SOMEONE", create=True).add_new(1, "OB", bytes(1000))
    data.private_block(0x0011, "SOMEONE", create=True).add_new(1, "UN", b"\1\2\3\4")
    data.private_block(0x0029, "OTHER", create=True).add_new(2, "SQ", [Dataset(), Dataset()])
    return inserted(serialise_dataset(data), element(0x00271001, "ZZ", b"ab"), 0x00280002)


def icon() -> bytes:
    """A thumbnail with pixel data of its own."""
    item = Dataset()
    item.Rows = item.Columns = 64
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME1"
    item.BitsAllocated = item.BitsStored = 8
    item.HighBit, item.PixelRepresentation = 7, 0
    item.add_new(0x7FE00010, "OB", bytes(range(64)) * 64)
    return dicom(P, IconImageSequence=[item])


def without_syntax() -> bytes:
    """A file meta that does not name the transfer syntax."""
    data = dicom(P)
    at = data.index(b"\x02\x00\x10\x00UI")
    length = 8 + int.from_bytes(data[at + 6 : at + 8], "little")
    group = int.from_bytes(data[140:144], "little") - length
    return data[:140] + group.to_bytes(4, "little") + data[144:at] + data[at + length :]


def cases() -> Iterator[Case]:
    """All cases of the axis."""
    for part in (display.cases, orientation_cases, geometry_cases, fact_cases):
        yield from part()
    yield from ok("implicit_charset", AXIS, implicit_names, full(P))


def implicit_names() -> bytes:
    """Implicit VR with names in two character sets."""
    data = dataset(P, SpecificCharacterSet="ISO_IR 144", PatientName="Люкceмбypг")
    data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    return serialise_dataset(data)
