"""Facts that are safe to keep: view, sex, age; and the identifiers that are to be hidden."""

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
    """The projection and flags about it; UNKNOWN where the file does not say, never assumed.

    Read from ViewPosition, then the view code sequence, then the patient orientation, which can
    tell a lateral view.
    """
    flags: list[str] = []
    said = header.text(0x00185101)
    found = VIEW_BY_POSITION.get(said, "")
    if said and not found:
        flags.append("view_unusual")
    for item in header.items(0x00540220):
        found = found or parse_view_code(item)
    row = (header.texts(0x00200020) or [""])[0][:1]
    sideways = row in {"A", "P"}
    if sideways and not found:
        found = "LATERAL"
    elif sideways and found not in LATERAL_VIEWS:
        flags.append("view_conflict")
    return found or "UNKNOWN", tuple(flags)


def parse_view_code(item: Header) -> str:
    """The view named by one code item, or ''."""
    known = VIEW_CODES.get(item.text(0x00080100))
    if known:
        return known
    meaning = re.sub("[^A-Z]", "", item.text(0x00080104))
    return next((name for word, name in VIEW_WORDS if word in meaning), "")


def read_sex(header: Header) -> str | None:
    """M, F, O or None."""
    value = header.text(0x00100040)
    return value if value in {"M", "F", "O"} else None


def read_age_years(header: Header) -> float | None:
    """Years from an age string such as 045Y, 018M or 81; ages above 89 become 90."""
    match = re.fullmatch(r"(\d{1,3})([YMWD]?)", header.text(0x00101010))
    if not match:
        return None
    years = int(match[1]) / AGE_UNITS[match[2] or "Y"]
    return min(round(years, 3), MAX_AGE_YEARS) if years <= 130 else None


def normalise_identifier(text: str) -> str:
    """NFKC, without NULs and outer blanks; of a text beyond all sense only the beginning."""
    return unicodedata.normalize("NFKC", text[:MAX_IDENTIFIER_CHARS].replace("\0", "")).strip()


def read_identifiers(header: Header) -> RawIdentifiers:
    """The raw identifiers of a file, for keyed hashing only."""
    patient = normalise_identifier(header.unicode(0x00100020))
    issuer = normalise_identifier(header.unicode(0x00100021))
    return RawIdentifiers(
        patient=f"{issuer}\0{patient}" if patient else "",
        study=header.text(0x0020000D)[:MAX_IDENTIFIER_CHARS],
        sop=header.text(0x00080018)[:MAX_IDENTIFIER_CHARS],
    )
