"""Reads view, sex and age from a header, and the raw identifiers for pseudonyms."""

from __future__ import annotations

import re
import unicodedata

from medprior.dicom.header import Header
from medprior.dicom.radiograph import MAX_AGE_YEARS, RawIdentifiers

VIEW_BY_POSITION = {"PA": "PA", "AP": "AP", "LL": "LL", "RL": "RL", "LATERAL": "LATERAL", "LAT": "LATERAL"}
VIEW_CODES = {
    "272479007": "PA", "R-10214": "PA", "399348003": "AP", "R-10206": "AP", "399173006": "LL",
    "R-10236": "LL", "399198007": "RL", "R-10228": "RL", "399067008": "LATERAL",
}  # fmt: skip
VIEW_WORDS = (
    ("OBLIQUE", "UNKNOWN"),
    ("POSTEROANTERIOR", "PA"),
    ("ANTEROPOSTERIOR", "AP"),
    ("LEFTLATERAL", "LL"),
    ("RIGHTLATERAL", "RL"),
    ("LATERAL", "LATERAL"),
)
LATERAL_VIEWS = {"LL", "RL", "LATERAL"}
MAX_IDENTIFIER_CHARS = 4096
AGE_UNITS = {"Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.25}


def read_view(header: Header) -> tuple[str, tuple[str, ...]]:
    """Read the projection and its flags; UNKNOWN where the file does not state it.

    Sources in this order: ViewPosition, the view code sequence, the patient orientation (lateral
    views only).
    """
    flags: list[str] = []
    position = header.text(0x00185101)
    view = VIEW_BY_POSITION.get(position, "")
    if position and not view:
        flags.append("view_unusual")
    for item in header.items(0x00540220):
        view = view or parse_view_code(item)
    row = (header.texts(0x00200020) or [""])[0][:1]
    is_sideways = row in {"A", "P"}
    if is_sideways and not view:
        view = "LATERAL"
    elif is_sideways and view not in LATERAL_VIEWS:
        flags.append("view_conflict")
    return view or "UNKNOWN", tuple(flags)


def parse_view_code(item: Header) -> str:
    """The view that one code item names, or ''."""
    view = VIEW_CODES.get(item.text(0x00080100))
    if view:
        return view
    meaning = re.sub("[^A-Z]", "", item.text(0x00080104))
    return next((name for word, name in VIEW_WORDS if word in meaning), "")


def read_sex(header: Header) -> str | None:
    """Read the sex: M, F, O or None."""
    value = header.text(0x00100040)
    return value if value in {"M", "F", "O"} else None


def read_age_years(header: Header) -> float | None:
    """Read the age in years from a string such as 045Y, 018M or 81; at most 90, None if unusable."""
    match = re.fullmatch(r"(\d{1,3})([YMWD]?)", header.text(0x00101010))
    if not match:
        return None
    years = int(match[1]) / AGE_UNITS[match[2] or "Y"]
    return min(round(years, 3), MAX_AGE_YEARS) if years <= 130 else None


def normalise_identifier(text: str) -> str:
    """Normalise to NFKC without NULs and outer blanks; only the first 4096 characters are kept."""
    return unicodedata.normalize("NFKC", text[:MAX_IDENTIFIER_CHARS].replace("\0", "")).strip()


def read_identifiers(header: Header) -> RawIdentifiers:
    """Read the raw identifiers of a file, for keyed hashing only."""
    patient = normalise_identifier(header.unicode(0x00100020))
    issuer = normalise_identifier(header.unicode(0x00100021))
    return RawIdentifiers(
        patient=f"{issuer}\0{patient}" if patient else "",
        study=header.text(0x0020000D)[:MAX_IDENTIFIER_CHARS],
        sop=header.text(0x00080018)[:MAX_IDENTIFIER_CHARS],
    )
