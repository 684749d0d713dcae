"""One reading as DICOM objects, to go back to the archive its radiograph came from."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset

import medprior
from medprior.deploy.inference.overlays import native_overlay
from medprior.deploy.inference.prediction import Reading
from medprior.dicom.capture import secondary_capture
from medprior.dicom.objects import Maker, object_bytes, source_header
from medprior.dicom.seg import segmentation
from medprior.dicom.sr import Finding, Said, structured_report
from medprior.errors import Rejected


def dicom_objects(reading: Reading, source: Path | str | BinaryIO) -> dict[str, bytes]:
    """The files of a reading: `seg` where masks were drawn, `sr`, `sc` (the overlay).

    They hold the patient and study attributes of their source.

    Args:
        reading: what the models say of `source`.
        source: the radiograph's file, whose header is read again.

    Raises:
        Rejected: `no_dicom`, the radiograph is no DICOM file; `no_uids`, nothing can refer to it;
            `geometry`, it is not the file that was read; `header`, its header cannot be copied.
    """
    if reading.native is None:
        raise Rejected("no_dicom", "the radiograph is no DICOM file")
    header = source_header(source)
    if (header.Rows, header.Columns) != reading.native.stored:
        raise Rejected("geometry", "the file is not the one that was read")
    now = datetime.datetime.now().replace(microsecond=0)
    maker = Maker(medprior.__version__, reading.model_digest, now)
    try:
        return made(reading, header, maker)
    except Rejected:
        raise
    except Exception:
        # highdicom and pydicom raise many kinds on header values, some quoting the patient's.
        raise Rejected("header", "the file's header cannot be copied into an object") from None


def made(reading: Reading, header: Dataset, maker: Maker) -> dict[str, bytes]:
    """`dicom_objects` from a header that was read."""
    found = {}
    if reading.masks and reading.native is not None:
        found["seg"] = object_bytes(segmentation(reading.masks, header, reading.native, maker))
    found["sr"] = object_bytes(structured_report(said(reading), header, maker))
    found["sc"] = object_bytes(secondary_capture(native_overlay(reading), header, maker))
    return found


def said(reading: Reading) -> Said:
    """What a report says of a reading."""
    findings = [Finding(n, p, reading.thresholds[n]) for n, p in reading.findings.items()]
    ratio = reading.cardiothoracic.ratio if reading.cardiothoracic else None
    familiar = reading.familiar.record() if reading.familiar else {}
    view = f"Projection of the source: {reading.facts.get('view', 'UNKNOWN')}"
    return Said(findings, ratio, familiar, reading.flags, [view])
