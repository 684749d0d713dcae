"""Writes one prediction as DICOM objects (SEG, SR, secondary capture) for the radiograph's archive."""

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


def build_dicom_objects(prediction: RadiographPrediction, source: Path | str | BinaryIO) -> dict[str, bytes]:
    """Build the DICOM files of a prediction: `seg` if there are masks, `sr`, `sc` (the overlay).

    They copy the patient and study attributes of their source.

    Args:
        prediction: the models' output for `source`.
        source: the radiograph's file; its header is read again.

    Raises:
        Rejected: `no_dicom`, the radiograph is not a DICOM file; `no_uids`, it has no UIDs to refer to;
            `geometry`, its rows and columns differ from the image; `header`, its header cannot be copied.
    """
    if prediction.native is None:
        raise Rejected("no_dicom", "the radiograph is no DICOM file")
    header = read_source_header(source)
    if (header.Rows, header.Columns) != prediction.native.stored_shape:
        raise Rejected("geometry", "the file's rows and columns differ from the image that was predicted")
    now = datetime.datetime.now().replace(microsecond=0)
    creator = CreatorInfo(medprior.__version__, prediction.model_digest, now)
    try:
        return build_objects_from_header(prediction, header, creator)
    except Rejected:
        raise
    except Exception:
        # highdicom and pydicom raise many classes on header values; some messages quote the patient's.
        raise Rejected("header", "the file's header cannot be copied into an object") from None


def build_objects_from_header(
    prediction: RadiographPrediction, header: Dataset, creator: CreatorInfo
) -> dict[str, bytes]:
    """`build_dicom_objects` with the header of the source."""
    objects = {}
    if prediction.masks and prediction.native is not None:
        objects["seg"] = serialise_object(build_segmentation(prediction.masks, header, prediction.native, creator))
    objects["sr"] = serialise_object(build_structured_report(build_report_content(prediction), header, creator))
    objects["sc"] = serialise_object(build_secondary_capture(render_native_overlay(prediction), header, creator))
    return objects


def build_report_content(prediction: RadiographPrediction) -> ReportContent:
    """The content of the structured report of a prediction."""
    findings = [ReportFinding(name, p, prediction.thresholds[name]) for name, p in prediction.findings.items()]
    ratio = prediction.cardiothoracic.ratio if prediction.cardiothoracic else None
    familiarity = prediction.familiar.record() if prediction.familiar else {}
    view = f"Projection of the source: {prediction.facts.get('view', 'UNKNOWN')}"
    return ReportContent(findings, ratio, familiarity, prediction.flags, [view])
