"""One reading as DICOM objects, to go back to the archive its radiograph came from."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset

import medprior
from medprior.deploy.inference.overlays import render_native_overlay
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.dicom.derived.derived_object import CreatorInfo, read_source_header, serialise_object
from medprior.dicom.derived.secondary_capture import build_secondary_capture
from medprior.dicom.derived.seg import build_segmentation
from medprior.dicom.derived.sr import ReportContent, ReportFinding, build_structured_report
from medprior.errors import Rejected


def build_dicom_objects(reading: RadiographPrediction, source: Path | str | BinaryIO) -> dict[str, bytes]:
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
    header = read_source_header(source)
    if (header.Rows, header.Columns) != reading.native.stored_shape:
        raise Rejected("geometry", "the file is not the one that was read")
    now = datetime.datetime.now().replace(microsecond=0)
    maker = CreatorInfo(medprior.__version__, reading.model_digest, now)
    try:
        return build_objects_from_header(reading, header, maker)
    except Rejected:
        raise
    except Exception:
        # highdicom and pydicom raise many kinds on header values, some quoting the patient's.
        raise Rejected("header", "the file's header cannot be copied into an object") from None


def build_objects_from_header(reading: RadiographPrediction, header: Dataset, maker: CreatorInfo) -> dict[str, bytes]:
    """`dicom_objects` from a header that was read."""
    found = {}
    if reading.masks and reading.native is not None:
        found["seg"] = serialise_object(build_segmentation(reading.masks, header, reading.native, maker))
    found["sr"] = serialise_object(build_structured_report(build_report_content(reading), header, maker))
    found["sc"] = serialise_object(build_secondary_capture(render_native_overlay(reading), header, maker))
    return found


def build_report_content(reading: RadiographPrediction) -> ReportContent:
    """What a report says of a reading."""
    findings = [ReportFinding(n, p, reading.thresholds[n]) for n, p in reading.findings.items()]
    ratio = reading.cardiothoracic.ratio if reading.cardiothoracic else None
    familiar = reading.familiar.record() if reading.familiar else {}
    view = f"Projection of the source: {reading.facts.get('view', 'UNKNOWN')}"
    return ReportContent(findings, ratio, familiar, reading.flags, [view])
