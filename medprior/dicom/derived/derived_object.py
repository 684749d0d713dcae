"""Shared parts of DICOM objects derived from a radiograph: the source's header and the creator.

The objects return to the archive of the radiograph, so they carry the patient and study attributes
of their source, as PS3.3 requires. Only these objects contain them; medprior writes them nowhere else.
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
UID_TAGS = {
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
}
# Type 1 and 2 attributes of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1) and the
# few others that distinguish patients and studies; all other attributes stay in the source.
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
    """The software that created an object.

    Attributes:
        version: version of medprior.
        digest: hex sha256 of the models; written as the serial number of the device.
        created_at: time of creation; the same for all objects of one reading.
        content_digest: of the picture; where it is given, UIDs follow from it instead of the time, so that
            objects of the same picture and models have the same UIDs whenever they are created.
    """

    version: str
    digest: str
    created_at: datetime.datetime
    content_digest: str = ""

    def build_uid(self, source: Dataset, kind: str) -> UID:
        """Build the UID under 2.25 of one kind of object, from its source, its models and its time or picture.

        Random 2.25 UIDs (PS3.5 B.2) hold a UUID; this one holds a digest of the fields above, so
        that objects are not overwritten and the objects of a series share its UID.
        """
        moment = self.content_digest or self.created_at.isoformat()
        parts = (source.SOPInstanceUID, self.digest, self.version, moment, kind)
        seed = hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:16]
        return UID(f"2.25.{int.from_bytes(seed, 'big')}")


def create_private_code(value: str, meaning: str = "") -> Code:
    """Create a code of medprior's own scheme, for concepts without a known standard code."""
    return Code(value, CODING_SCHEME, (meaning or value.replace("_", " "))[:64])


def read_source_header(source: Path | str | BinaryIO, policy: Policy | None = None) -> Dataset:
    """Read the attributes of a radiograph's file that derived objects need, without its pixels.

    Texts are decoded and written as UTF-8; invalid dates and times are left empty. A frame of
    reference is left out: a projection has no plane in the patient's space.

    Raises:
        Rejected: the file cannot be parsed, or `no_uids`: the UIDs of the file, its series or its
            study are unusable, so that no object can refer to it.
    """
    policy = policy or Policy()
    with open_regular_file(source, policy) as (stream, size), convert_parser_errors():
        header = parse_header(stream, size, policy).header
        return copy_source_header(header)


def copy_source_header(header: Header) -> Dataset:
    """Copy the attributes of `read_source_header` from a parsed header."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, tag in UID_TAGS.items():
        uid = UID(header.text(tag))
        if not uid or not uid.is_valid:
            raise Rejected("no_uids", "the file has no usable UIDs to refer to")
        setattr(dataset, keyword, uid)
    for keyword, tag in TEXT_TAGS.items():
        has_several = b"\\" in (header.raw(tag) or b"")  # the right one is unknown
        text = "" if has_several else strip_control_characters(header.unicode(tag))
        if text or keyword not in OPTIONAL_TEXTS:
            setattr(dataset, keyword, text)
    for keyword, tag in {"PatientBirthDate": 0x00100030, "StudyDate": 0x00080020}.items():
        setattr(dataset, keyword, normalise_date(header.text(tag)))
    dataset.StudyTime = normalise_time(header.text(0x00080030))
    sex = header.text(0x00100040)
    dataset.PatientSex = sex if sex in {"M", "F", "O"} else ""
    dataset.Modality = header.text(0x00080060) or "OT"
    rows, cols = header.short(0x00280010), header.short(0x00280011)
    dataset.Rows, dataset.Columns = rows or 0, cols or 0
    orientation = header.texts(0x00200020)
    if len(orientation) == 2 and all(orientation):
        dataset.PatientOrientation = orientation
    burned_in = header.text(0x00280301)
    if burned_in in {"YES", "NO"}:
        dataset.BurnedInAnnotation = burned_in
    return dataset


def strip_control_characters(text: str) -> str:
    """Replace control characters of a text value by blanks and strip it."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def normalise_date(text: str) -> str:
    """Normalise a DICOM date to YYYYMMDD; '' where it is invalid."""
    try:
        date = DA(text)
    except ValueError:
        return ""
    return date.strftime("%Y%m%d") if date else ""


def normalise_time(text: str) -> str:
    """Return a DICOM time, or '' where it is invalid."""
    try:
        return text if TM(text) else ""
    except ValueError:
        return ""


def serialise_object(dataset: SOPClass) -> bytes:
    """Serialise a data set as the bytes of a DICOM file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_owner_only_file(path: Path, content: bytes) -> None:
    """Write a file atomically, readable only by its owner."""
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:  # mkstemp sets the mode to 0600
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
