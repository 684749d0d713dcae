"""Scope: what is no chest radiograph for display is refused, what is odd is flagged."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset

from tests.corpus.case import Case, P, bad, cells, dicom, full, ok, stored

AXIS = "policy"
S = "1.2.840.10008.5.1.4.1.1."
CR, DX, CAPTURE = S + "1", S + "1.1", S + "7"


def refused(name: str, elements: dict[str, Any], *codes: str) -> Iterator[Case]:
    yield from bad(name, AXIS, functools.partial(dicom, P, **elements), *codes)


def passed(name: str, elements: dict[str, Any], *flags: str, **facts: Any) -> Iterator[Case]:
    make = functools.partial(dicom, P, **elements)
    yield from ok(name, AXIS, make, full(P), flags=flags, **facts)


def part(meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-0", "SRT", meaning
    return item


def cases() -> Iterator[Case]:
    """All cases of the axis."""
    yield from passed("cr", {"SOPClassUID": CR, "Modality": "CR"})
    yield from passed("dx", {"SOPClassUID": DX})
    yield from passed("dr", {"Modality": "DR"}, "modality_dr")
    yield from passed("modality_missing", {"Modality": ""}, "modality_missing")
    others = {
        "ct": ("2", "CT"), "mr": ("4", "MR"), "us": ("6.1", "US"), "mg": ("1.2", "MG"),
        "mg_raw": ("1.2.1", "MG"), "xa": ("12.1", "XA"), "rf": ("12.2", "RF"), "pet": ("128", "PT"),
        "seg": ("66.4", "SEG"), "sr": ("88.22", "SR"), "pr": ("11.1", "PR"),
        "pdf": ("104.1", "DOC"),
        "enhanced_ct": ("2.1", "CT"), "enhanced_xa": ("12.1.1", "XA"), "io": ("1.3", "IO"),
        "multiframe_capture": ("7.2", "OT"), "tomosynthesis": ("13.1.3", "MG"),
        "wsi": ("77.1.6", "SM"),
        "ecg": ("9.1.1", "ECG"), "nm": ("20", "NM"), "rt_image": ("481.1", "RTIMAGE"),
    }  # fmt: skip
    for name, (suffix, modality) in others.items():
        said = {"SOPClassUID": S + suffix, "Modality": modality}
        yield from refused(f"class_{name}", said, "sop_class")
    yield from refused("dicomdir", {"SOPClassUID": "1.2.840.10008.1.3.10"}, "sop_class")
    yield from refused("class_private", {"SOPClassUID": "1.2.3.4.5"}, "sop_class")
    yield from bad("class_blank", AXIS, lambda: dicom(P, SOPClassUID=DX + ".").replace(
        (DX + ".").encode() + b"\0", b" " * 28), "sop_class")  # fmt: skip
    for modality in ("MG", "CT", "OT", "PX"):
        yield from refused(f"class_against_{modality}", {"Modality": modality}, "modality")
    yield from refused("raw_class", {"SOPClassUID": DX + ".1"}, "for_processing")
    yield from refused("raw_intent", {"PresentationIntentType": "FOR PROCESSING"}, "for_processing")
    screen = {"SOPClassUID": CAPTURE, "Modality": "OT", "BurnedInAnnotation": "YES"}
    yield from refused("capture_screen", screen | {"ConversionType": "WSD"},
                       "secondary_capture", "burned_in")  # fmt: skip
    yield from refused("capture_other", {"SOPClassUID": CAPTURE, "Modality": "OT"}, "secondary_capture")
    yield from passed("capture_film", {"SOPClassUID": CAPTURE, "ConversionType": "DF",
                       "Modality": "CR"},
                      "secondary_capture")  # fmt: skip
    yield from refused("capture_film_with_text", {"SOPClassUID": CAPTURE, "ConversionType": "DF",
                       "BurnedInAnnotation": "YES"}, "burned_in")  # fmt: skip
    yield from refused("capture_film_breast", {"SOPClassUID": CAPTURE, "ConversionType": "DF",
                       "Modality": "MG"}, "secondary_capture")  # fmt: skip
    yield from refused("capture_drawn", {"SOPClassUID": CAPTURE, "ConversionType": "DRW"},
                       "secondary_capture")  # fmt: skip
    yield from passed("capture_of_radiograph", {"SOPClassUID": CAPTURE, "BurnedInAnnotation": "NO"},
                      "secondary_capture")  # fmt: skip
    yield from refused("burned_in", {"BurnedInAnnotation": "YES"}, "burned_in")
    yield from passed("burned_in_lower", {"BurnedInAnnotation": "no"})
    yield from passed("face", {"RecognizableVisualFeatures": "YES"}, "recognisable_features")
    for word in (
        "HAND",
        "SKULL",
        "ABDOMEN",
        "PELVIS",
        "LSPINE",
        "KNEE",
        "FOOT",
        "C SPINE",
        "TSPINE",
        "THORACIC SPINE",
        "EXTREMITIES",
    ):
        yield from refused(f"part_{word}", {"BodyPartExamined": word}, "body_part")
    for word in ("CHEST", "Chest ", "THORAX", "PORT CHEST", "CHEST_TO_PELVIS"):
        yield from passed(f"part_{word}", {"BodyPartExamined": word})
    yield from passed("part_empty", {"BodyPartExamined": ""}, "body_part_missing")
    yield from passed("part_strange", {"BodyPartExamined": "XYZ"}, "body_part_unusual")
    yield from passed("part_coded", {"BodyPartExamined": "", "AnatomicRegionSequence": [part("Chest")]})
    yield from refused("part_coded_hand", {"BodyPartExamined": "",
                       "AnatomicRegionSequence": [part("Hand")]},
                       "body_part")  # fmt: skip
    for name, frames in {"2": "2", "huge": "999999999", "negative": "-1"}.items():
        yield from refused(f"frames_{name}", {"NumberOfFrames": frames}, "frames", "pixel_length")
    yield from passed("frames_1", {"NumberOfFrames": "1"})
    yield from passed("frames_0", {"NumberOfFrames": "0"})
    yield from passed("image_type_derived", {"ImageType": ["DERIVED", "SECONDARY"]}, "derived", "secondary")
    yield from passed("image_type_cad", {"ImageType": ["DERIVED", "PRIMARY", "", "CAD"]}, "marked_image")
    for name in ("RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR", "MONOCHROME3", "", "ARGB"):
        yield from refused(f"photometric_{name or 'empty'}", {"PhotometricInterpretation": name}, "photometric")
    yield from refused("three_samples", {"SamplesPerPixel": 3}, "photometric", "pixel_length")
    yield from passed("lateral", {"ViewPosition": "LL"}, view="LL")
    for name, allocated in {"1": 1, "12": 12, "32": 32, "64": 64, "0": 0, "7": 7}.items():
        yield from refused(f"allocated_{name}", {"BitsAllocated": allocated}, "bits_unsupported")
    for name, said in {
        "stored_17": {"BitsStored": 17}, "stored_0": {"BitsStored": 0}, "high_3": {"HighBit": 3},
        "high_16": {"HighBit": 16}, "sign_2": {"PixelRepresentation": 2},
    }.items():  # fmt: skip
        yield from refused(f"bits_{name}", said, "bits_inconsistent")
    small = cells(stored(12, rows=40, cols=40))
    yield from bad("too_small", AXIS, lambda: dicom(small), "size")
    flat = cells(P * 0 + 9)
    yield from bad("constant", AXIS, lambda: dicom(flat), "constant")
    yield from passed("deidentified", {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "X"})
    yield from passed("no_patient", {"PatientID": "", "PatientName": "", "StudyInstanceUID": ""})
