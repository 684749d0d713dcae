"""Writes one prediction as DICOM objects for the radiograph's archive, and as a segmentation of 3D Slicer."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pydicom.dataset import Dataset

import medprior
from medprior.deploy.inference.object_kinds import DEFAULT_OBJECTS, MASK_OBJECTS
from medprior.deploy.inference.overlays import format_overlay_notes, render_native_overlay
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.deploy.inference.report_regions import (
    build_finding_boxes,
    build_report_lines,
    build_report_segments,
    locate_measured_lines,
)
from medprior.dicom.derived.derived_object import CreatorInfo, serialise_object
from medprior.dicom.derived.display_header import read_display_header
from medprior.dicom.derived.presentation_state import build_presentation_state
from medprior.dicom.derived.secondary_capture import build_secondary_capture
from medprior.dicom.derived.seg import build_label_map, build_segmentation
from medprior.dicom.derived.slicer_segmentation import build_slicer_segmentation
from medprior.dicom.derived.sr import ReportContent, ReportFinding, build_structured_report
from medprior.errors import Rejected

if TYPE_CHECKING:
    from medprior.dicom.derived.native_grid import NativeGrid


def build_dicom_objects(
    prediction: RadiographPrediction,
    source: Path | str | BinaryIO,
    kinds: Sequence[str] = DEFAULT_OBJECTS,
    creator: CreatorInfo | None = None,
) -> dict[str, bytes]:
    """Build the files of a prediction, of the kinds in `OBJECT_KINDS`.

    The DICOM objects copy the patient and study attributes of their source. Objects of masks are left out
    where there are none.

    Args:
        prediction: the models' output for `source`.
        source: the radiograph's file; its header is read again.
        kinds: which objects.
        creator: software and time that they state; by default this one, now.

    Raises:
        Rejected: `no_dicom`, the radiograph is not a DICOM file; `no_uids`, it has no UIDs to refer to;
            `geometry`, its rows and columns differ from the image; `header`, its header cannot be copied.
    """
    if prediction.native is None:
        raise Rejected("no_dicom", "the radiograph is no DICOM file")
    header = read_display_header(source)
    if (header.Rows, header.Columns) != prediction.native.stored_shape:
        raise Rejected("geometry", "the file's rows and columns differ from the image that was predicted")
    now = datetime.datetime.now().replace(microsecond=0)
    creator = creator or CreatorInfo(medprior.__version__, prediction.model_digest, now)
    try:
        return build_objects_from_header(prediction, header, prediction.native, creator, kinds)
    except Rejected:
        raise
    except Exception:
        # highdicom and pydicom raise many classes on header values; some messages quote the patient's.
        raise Rejected("header", "the file's header cannot be copied into an object") from None


def build_objects_from_header(
    prediction: RadiographPrediction, header: Dataset, native: NativeGrid, creator: CreatorInfo, kinds: Sequence[str]
) -> dict[str, bytes]:
    """`build_dicom_objects` with the header of the source."""
    masks = prediction.masks
    chosen = [kind for kind in kinds if masks or kind not in MASK_OBJECTS]
    segmentation = build_segmentation(masks, header, native, creator) if "seg" in chosen else None
    objects = {}
    for kind in chosen:
        if kind == "nrrd":
            objects[kind] = build_slicer_segmentation(masks, header, native)
        elif kind == "seg" and segmentation is not None:
            objects[kind] = serialise_object(segmentation)
        elif kind == "labelmap":
            objects[kind] = serialise_object(build_label_map(masks, header, native, creator))
        elif kind == "sr":
            content = build_report_content(prediction)
            objects[kind] = serialise_object(build_structured_report(content, header, creator, segmentation))
        elif kind == "gsps":
            lines, notes = locate_measured_lines(prediction), format_overlay_notes(prediction)[1:]
            state = build_presentation_state(masks, lines, notes, header, native, creator)
            objects[kind] = serialise_object(state)
        elif kind == "sc":
            objects[kind] = serialise_object(
                build_secondary_capture(render_native_overlay(prediction), header, creator)
            )
    return objects


def build_report_content(prediction: RadiographPrediction) -> ReportContent:
    """The content of the structured report of a prediction."""
    findings = [ReportFinding(name, p, prediction.thresholds[name]) for name, p in prediction.findings.items()]
    ratio = prediction.cardiothoracic.ratio if prediction.cardiothoracic else None
    familiarity = prediction.familiar.record() if prediction.familiar else {}
    view = f"Projection of the source: {prediction.facts.get('view', 'UNKNOWN')}"
    boxes, remarks = build_finding_boxes(prediction)
    regions = [*build_report_lines(prediction), *boxes]
    segments = build_report_segments(prediction)
    return ReportContent(findings, ratio, familiarity, prediction.flags, [view, *remarks], regions, segments)
