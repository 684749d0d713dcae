"""Checks by the header, before pixels are read, that a file is a chest radiograph for display."""

from __future__ import annotations

import re

from medprior.dicom.header import Header
from medprior.dicom.policy import Policy
from medprior.errors import Rejected

CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
DX_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
DX_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MODALITIES = {"CR", "DX", "DR"}
FILM_MODALITIES = MODALITIES | {"", "OT", "RG", "SC"}
CHEST_WORDS = ("CHEST", "THORA", "TORAX", "LUNG", "RIB", "PULMO")
SPINE_WORDS = ("THORACICSPINE", "THORACOLUMBAR", "TSPINE")
OTHER_BODY_PARTS = (
    "ABDOM", "ACJOINT", "ANKLE", "ARM", "BLADDER", "BRAIN", "BREAST", "CALCANEUS", "CERVIC",
    "CLAVICLE", "COCCYX", "COLON", "CSPINE", "EAR", "ELBOW", "EXTREMIT", "EYE", "FACE",
    "FEMUR", "FIBULA", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HEEL", "HIP", "HUMERUS",
    "JAW", "KIDNEY", "KNEE", "LEG", "LIVER", "LOWERLEG", "LSPINE", "LUMBAR", "MANDIBLE",
    "MAXILLA", "NASAL", "NECK", "ORBIT", "PATELLA", "PELVI", "RADIUS", "SACRUM", "SCAPULA",
    "SHOULDER", "SIJOINT", "SINUS", "SKULL", "SPINE", "SSPINE", "TEETH", "THIGH", "THUMB",
    "TIBIA", "TMJ", "TOE", "TONGUE", "TOOTH", "ULNA", "UPPERARM", "WRIST", "ZYGOMA",
)  # fmt: skip

QUALITY_CONTROL_FIELDS = (0x00280300, 0x00100200)
# Patient name, body part, protocol and series description; study description, image and patient comments.
TITLE_FIELDS, PROSE_FIELDS = (0x00100010, 0x00180015, 0x00181030, 0x0008103E), (0x00081030, 0x00204000, 0x00104000)
QUALITY_WORDS = "(QC|TEST|CALIBRATION|QUALITY (CONTROL|ASSURANCE))"
QUALITY_TITLE = re.compile(rf"\b(PHANTOMS?|{QUALITY_WORDS})\b")
QUALITY_PROSE = re.compile(
    rf"\bPHANTOMS?\b|^{QUALITY_WORDS}$|\b(DAILY|WEEKLY|MONTHLY|ANNUAL|DETECTOR) {QUALITY_WORDS}\b"
    rf"|\b{QUALITY_WORDS} (IMAGE|PATTERN|OBJECT|EXPOSURE|SHOT)"
)


def check_chest_radiograph(header: Header, policy: Policy) -> tuple[str, ...]:
    """Check the header; return flags for what is unusual but usable.

    Raises:
        Rejected: the file is not a single chest radiograph for display.
    """
    flags = [*check_sop_class(header, policy), *find_image_type_flags(header)]
    intent = header.text(0x00080068)
    if intent == "FOR PROCESSING" and not policy.for_processing:
        raise Rejected("for_processing", "raw detector data, not display-ready")
    if intent == "FOR PROCESSING":
        flags.append("for_processing")
    check_subject(header)
    flags += check_body_part(header, policy)
    check_frame_count(header)
    burned_in = header.text(0x00280301)
    if burned_in == "YES":
        raise Rejected("burned_in", "text is burned into the picture")
    if burned_in != "NO" and header.text(0x00080016) != SECONDARY_CAPTURE:
        flags.append("burned_in_unknown")
    if header.text(0x00280302) == "YES":
        flags.append("recognisable_features")
    return tuple(flags)


def check_sop_class(header: Header, policy: Policy) -> list[str]:
    """Check SOP class, modality and conversion type against each other; return flags."""
    sop, modality = header.text(0x00080016), header.text(0x00080060)
    if sop not in {CR_STORAGE, DX_PRESENTATION, DX_PROCESSING, SECONDARY_CAPTURE}:
        raise Rejected("sop_class", "not a CR, DX or secondary capture image")
    if sop == DX_PROCESSING and not policy.for_processing:
        raise Rejected("for_processing", "raw detector data, not display-ready")
    flags = []
    if sop == SECONDARY_CAPTURE:
        flags += check_secondary_capture(header, policy)
    elif not modality:
        flags.append("modality_missing")
    elif modality not in MODALITIES:
        raise Rejected("modality", "the modality is not CR or DX")
    if modality == "DR":
        flags.append("modality_dr")
    return flags


def check_secondary_capture(header: Header, policy: Policy) -> list[str]:
    """Accept digitised films, and other captures only if CR or DX and not of a screen; flags."""
    modality, conversion = header.text(0x00080060), header.text(0x00080064)
    if conversion == "DF" and modality in FILM_MODALITIES:
        return ["secondary_capture"]
    is_refused = policy.secondary_capture == "film" or (bool(conversion) and policy.secondary_capture == "radiograph")
    if is_refused or modality not in MODALITIES:
        raise Rejected("secondary_capture", "a secondary capture that is neither a film nor a radiograph")
    if header.text(0x00280301) == "NO":
        return ["secondary_capture"]
    if not policy.burned_in_unknown:
        raise Rejected("burned_in_unknown", "a secondary capture that does not state BurnedInAnnotation NO")
    return ["secondary_capture", "burned_in_unknown"]


def find_image_type_flags(header: Header) -> list[str]:
    """Flags from ImageType (0008,0008): derived, secondary, and marks of CAD or overlays."""
    values = header.texts(0x00080008)
    flags = ["derived"] if values[:1] == ["DERIVED"] else []
    flags += ["secondary"] if values[1:2] == ["SECONDARY"] else []
    has_marks = any(word in value for value in values[2:] for word in ("CAD", "OVERLAY"))
    return flags + (["marked_image"] if has_marks else [])


def check_subject(header: Header) -> None:
    """Refuse images of quality control by their attributes or wording (our choice); synthetic ones pass."""
    if any(header.text(tag) == "YES" for tag in QUALITY_CONTROL_FIELDS):
        raise Rejected("quality_control", "the header states a quality control image or subject")
    if "DIGITAL PHANTOM" in header.text(0x00081030):  # `medprior phantom` stands for a patient.
        return
    for fields, pattern in ((TITLE_FIELDS, QUALITY_TITLE), (PROSE_FIELDS, QUALITY_PROSE)):
        texts = [re.sub("[^A-Z]+", " ", " ".join(header.texts(tag))).strip() for tag in fields]
        if any(map(pattern.search, texts)):
            raise Rejected("quality_control", "the header names a phantom, a test or a calibration, not a patient")


def check_body_part(header: Header, policy: Policy) -> list[str]:
    """Accept the chest or an absent body part and refuse others; flags."""
    body_parts = [header.text(0x00180015), *(item.text(0x00080104) for item in header.items(0x00082218))]
    words = [part for part in body_parts if part]
    letters = [re.sub("[^A-Z]", "", part) for part in words]
    if any(chest in part and not part.startswith(SPINE_WORDS) for part in letters for chest in CHEST_WORDS):
        return []
    if any(part.startswith((*OTHER_BODY_PARTS, *SPINE_WORDS)) for part in letters):
        if not policy.other_body_parts:
            raise Rejected("body_part", "the file names a body part other than the chest")
        return ["other_body_part"]
    return ["body_part_unusual" if words else "body_part_missing"]


def check_frame_count(header: Header) -> None:
    """Accept one frame, or a number of frames that is absent or 0, as writers of single frames leave it."""
    if 0x00280008 not in header or not header.text(0x00280008):
        return
    frames = header.decimals(0x00280008)
    if frames not in ([0.0], [1.0]):
        raise Rejected("frames", "not a single-frame image")
