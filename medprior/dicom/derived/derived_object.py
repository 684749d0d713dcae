"""What every DICOM object about a radiograph shares: its source's header, and who made it.

These objects go back to the archive the radiograph came from, so they carry the patient and study
attributes of their source, as PS3.3 asks. They are the only place where medprior writes those.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.header import Header
from medprior.dicom.parsing import convert_parser_errors, parse_header
from medprior.dicom.policy import Policy
from medprior.errors import Rejected

if TYPE_CHECKING:
    from highdicom.base import SOPClass

CODING_SCHEME = "99MEDPRIOR"
MANUFACTURER, MODEL_NAME = "medprior", "medprior"
RESEARCH_NOTE = "For research only. Not for diagnosis."
UID_TAGS = {
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
}
# Type 1 and 2 attributes of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1) and the
# few beside them that tell patients and studies apart; everything else stays in the source.
TEXT_TAGS = {
    "PatientName": 0x00100010,
    "PatientID": 0x00100020,
    "IssuerOfPatientID": 0x00100021,
    "PatientAge": 0x00101010,
    "AccessionNumber": 0x00080050,
    "StudyID": 0x00200010,
    "StudyDescription": 0x00081030,
    "ReferringPhysicianName": 0x00080090,
    "PatientIdentityRemoved": 0x00120062,
    "DeidentificationMethod": 0x00120063,
}
OPTIONAL_TEXTS = {
    "IssuerOfPatientID",
    "PatientAge",
    "StudyDescription",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
}


@dataclass(frozen=True)
class CreatorInfo:
    """What made an object.

    Attributes:
        version: of medprior.
        digest: hex sha256 that names the models; the serial number of the device.
        made: when; the same for all objects of one reading.
    """

    version: str
    digest: str
    made: datetime.datetime

    def uid(self, source: Dataset, kind: str) -> UID:
        """A UID under 2.25 for one kind of object of one source by one model.

        Random 2.25 UIDs (PS3.5 B.2) are made of a UUID; ours is the digest of what it names and of
        the time it was made, so that nothing is overwritten and a series' objects find each other.
        """
        parts = (source.SOPInstanceUID, self.digest, self.version, self.made.isoformat(), kind)
        seed = hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:16]
        return UID(f"2.25.{int.from_bytes(seed, 'big')}")


def create_private_code(value: str, meaning: str = "") -> Code:
    """A code of medprior's own scheme, where no standard one is known to fit."""
    return Code(value, CODING_SCHEME, (meaning or value.replace("_", " "))[:64])


def read_source_header(source: Path | str | BinaryIO, policy: Policy | None = None) -> Dataset:
    """The attributes of a radiograph's file that objects about it need; no pixels, nothing else.

    Texts are decoded and written as UTF-8; dates and times that are none are left empty. A frame of
    reference is left out: a projection has no plane in the patient's space.

    Raises:
        Rejected: the file cannot be parsed, or `no_uids`: it names itself, its series or its study
            by no usable UID, so that nothing can refer to it.
    """
    policy = policy or Policy()
    with open_regular_file(source, policy) as (stream, size), convert_parser_errors():
        header = parse_header(stream, size, policy).header
        return copy_source_header(header)


def copy_source_header(header: Header) -> Dataset:
    """`source_header` of a header that is parsed already."""
    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    for keyword, tag in UID_TAGS.items():
        uid = UID(header.text(tag))
        if not uid or not uid.is_valid:
            raise Rejected("no_uids", "the file has no usable UIDs to refer to")
        setattr(found, keyword, uid)
    for keyword, tag in TEXT_TAGS.items():
        several = b"\\" in (header.raw(tag) or b"")  # of which none may be the right one
        text = "" if several else strip_control_characters(header.unicode(tag))
        if text or keyword not in OPTIONAL_TEXTS:
            setattr(found, keyword, text)
    for keyword, tag in {"PatientBirthDate": 0x00100030, "StudyDate": 0x00080020}.items():
        setattr(found, keyword, normalise_date(header.text(tag)))
    found.StudyTime = normalise_time(header.text(0x00080030))
    sex = header.text(0x00100040)
    found.PatientSex = sex if sex in {"M", "F", "O"} else ""
    found.Modality = header.text(0x00080060) or "OT"
    rows, cols = header.short(0x00280010), header.short(0x00280011)
    found.Rows, found.Columns = rows or 0, cols or 0
    orientation = header.texts(0x00200020)
    if len(orientation) == 2 and all(orientation):
        found.PatientOrientation = orientation
    burned = header.text(0x00280301)
    if burned in {"YES", "NO"}:
        found.BurnedInAnnotation = burned
    return found


def strip_control_characters(text: str) -> str:
    """A text value without control characters."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def normalise_date(text: str) -> str:
    """A DICOM date, or '' where it is none."""
    try:
        found = DA(text)
    except ValueError:
        return ""
    return found.strftime("%Y%m%d") if found else ""


def normalise_time(text: str) -> str:
    """A DICOM time, or '' where it is none."""
    try:
        return text if TM(text) else ""
    except ValueError:
        return ""


def serialise_object(made: SOPClass) -> bytes:
    """The bytes of a whole DICOM file."""
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:  # mkstemp made it 0600
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
