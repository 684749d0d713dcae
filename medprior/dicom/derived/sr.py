"""Writes the models' results as a DICOM structured report that refers to the source image.

An Imaging Measurement Report (PS3.16 TID 1500) in a Comprehensive SR document (PS3.3 A.35.3): a
group (TID 1501) for the cardiothoracic ratio, one for each finding with its calibrated probability
and the threshold from which on it is present, and one for the distance of the picture from the
training images; and a group for each planar region (TID 1410): measured lines, boxes of findings and the
segments of the segmentation that belongs to the report. Concepts without a known standard code have
codes of the scheme `99MEDPRIOR`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID

from medprior.dicom.derived.derived_object import (
    CODING_SCHEME,
    MANUFACTURER,
    CreatorInfo,
    create_private_code,
)
from medprior.dicom.derived.seg_codes import ORGAN_CODES, find_finding_code
from medprior.dicom.derived.sr_regions import (
    ReportRegion,
    ReportSegment,
    build_region_groups,
    build_segment_groups,
    identify_algorithm,
)
from medprior.dicom.radiograph import RESEARCH_NOTE

if TYPE_CHECKING:
    from highdicom.sr import ComprehensiveSR, MeasurementsAndQualitativeEvaluations

RATIO_UNIT = Code("{ratio}", "UCUM", "ratio")
NO_UNIT = Code("1", "UCUM", "no units")
CARDIOTHORACIC_CODE = create_private_code("cardiothoracic_ratio", "Cardiothoracic ratio")
PROBABILITY_CODE = Code("122157", "DCM", "Probability")
THRESHOLD_CODE = create_private_code("threshold", "Decision threshold")
PRESENCE_CODE = create_private_code("presence", "Presence by the decision threshold")
PRESENT_CODE, ABSENT_CODE = Code("52101004", "SCT", "Present"), Code("272519000", "SCT", "Absent")
FAMILIARITY_CODE = create_private_code("familiarity_score", "Distance from the training images")
FAMILIARITY_LIMIT_CODE = create_private_code("familiarity_limit", "Largest familiar distance")
FALSE_ALARM_CODE = create_private_code("false_alarm_rate", "Rate of false alarms")
DOUBT_CODE = create_private_code("doubt", "Reason to doubt the answer")
COMMENT_CODE = Code("121106", "DCM", "Comment")
CHEST_XRAY_CODE = Code("399208008", "SCT", "Plain chest X-ray")


@dataclass(frozen=True)
class ReportFinding:
    """One label: its calibrated probability and the threshold, both in [0, 1]."""

    name: str
    probability: float
    threshold: float

    @property
    def is_present(self) -> bool:
        """Whether the probability reaches the threshold."""
        return self.probability >= self.threshold


@dataclass(frozen=True)
class ReportContent:
    """Content of a report.

    Attributes:
        findings: findings in order.
        cardiothoracic_ratio: None where it was not measured.
        familiarity: `score`, `threshold` and `false_alarm_rate`, or empty where they are unknown.
        flags: reasons to doubt the results, as stable words.
        remarks: further text for the reader.
        regions: measured lines, and boxes of findings.
        segments: segments of the segmentation, if it is given with the content.
    """

    findings: Sequence[ReportFinding] = ()
    cardiothoracic_ratio: float | None = None
    familiarity: Mapping[str, float] = field(default_factory=dict)
    flags: Sequence[str] = ()
    remarks: Sequence[str] = ()
    regions: Sequence[ReportRegion] = ()
    segments: Sequence[ReportSegment] = ()


def build_structured_report(
    content: ReportContent, source: Dataset, creator: CreatorInfo, segmentation: Dataset | None = None
) -> ComprehensiveSR:
    """Build a report about one radiograph: preliminary, not verified, observed by a device.

    Args:
        content: content of the report.
        source: the source's header, from `read_source_header`.
        creator: the software that created it.
        segmentation: the object that holds the segments of the content, to which the report refers.

    Raises:
        ValueError: the header cannot be copied.
    """
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import ComprehensiveSR, MeasurementReport
    from pydicom.sr.codedict import codes

    report = MeasurementReport(
        observation_context=build_observation_context(creator),
        procedure_reported=CHEST_XRAY_CODE,
        imaging_measurements=[
            *build_measurement_groups(content, source, creator),
            *build_region_groups(content.regions, source, creator),
            *(build_segment_groups(content.segments, segmentation, source, creator) if segmentation else []),
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    report[0].ContentSequence.extend(build_comments(content, creator))
    scheme = CodingSchemeIdentificationItem(
        CODING_SCHEME, name="medprior", version=creator.version, responsible_organization="medprior"
    )
    return ComprehensiveSR(
        evidence=[source, *([segmentation] if segmentation and content.segments else [])],
        content=report[0],
        series_instance_uid=creator.build_uid(source, "sr series"),
        series_number=9002,
        sop_instance_uid=creator.build_uid(source, "sr"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=creator.version,
        device_serial_number=creator.digest,
        series_description="medprior report, research only",
        is_complete=True,
        coding_schemes=[scheme],
        content_date=creator.created_at.date(),
        content_time=creator.created_at.time(),
    )


def build_observation_context(creator: CreatorInfo) -> Any:
    """Build the observer: the device medprior with its version and the digest of its models."""
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes

    number = int(creator.digest[:32] or "0", 16)
    device = DeviceObserverIdentifyingAttributes(
        uid=UID(f"2.25.{number}"),
        name="medprior",
        manufacturer_name=MANUFACTURER,
        model_name=f"medprior {creator.version}",
        serial_number=creator.digest,
    )
    return ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, device))


def build_measurement_groups(
    content: ReportContent, source: Dataset, creator: CreatorInfo
) -> list[MeasurementsAndQualitativeEvaluations]:
    """Build the measurement groups of the heart, of each finding and of the whole picture."""
    groups = []
    if content.cardiothoracic_ratio is not None:
        values = [(CARDIOTHORACIC_CODE, content.cardiothoracic_ratio, RATIO_UNIT)]
        groups.append(build_measurement_group("heart", ORGAN_CODES["heart"], values, [], source, creator))
    for finding in content.findings:
        values = [(PROBABILITY_CODE, finding.probability, NO_UNIT), (THRESHOLD_CODE, finding.threshold, NO_UNIT)]
        presence = [(PRESENCE_CODE, PRESENT_CODE if finding.is_present else ABSENT_CODE)]
        groups.append(
            build_measurement_group(finding.name, find_finding_code(finding.name), values, presence, source, creator)
        )
    values = [
        (code, float(content.familiarity[key]), NO_UNIT)
        for code, key in (
            (FAMILIARITY_CODE, "score"),
            (FAMILIARITY_LIMIT_CODE, "threshold"),
            (FALSE_ALARM_CODE, "false_alarm_rate"),
        )
        if key in content.familiarity
    ]
    doubts = [(DOUBT_CODE, create_private_code(flag)) for flag in content.flags or ("none_found",)]
    return [*groups, build_measurement_group("picture", None, values, doubts, source, creator)]


def build_measurement_group(
    name: str,
    finding: Code | None,
    values: Sequence[tuple[Code, float, Code]],
    evaluations: Sequence[tuple[Code, Code]],
    source: Dataset,
    creator: CreatorInfo,
) -> MeasurementsAndQualitativeEvaluations:
    """Build one measurement group (TID 1501): measurements and coded evaluations of one subject."""
    from highdicom.sr import (
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    image = SourceImageForMeasurementGroup.from_source_image(source)
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(creator.build_uid(source, f"sr {name}"), name),
        finding_type=finding,
        algorithm_id=identify_algorithm(creator),
        measurements=[Measurement(code, round(value, 6), unit) for code, value, unit in values],
        qualitative_evaluations=[QualitativeEvaluation(code, value) for code, value in evaluations],
        source_images=[image],
    )


def build_comments(content: ReportContent, creator: CreatorInfo) -> list[Dataset]:
    """Build the note on research use, the remarks and the reasons to doubt as text items."""
    from highdicom.sr import RelationshipTypeValues, TextContentItem

    texts = [RESEARCH_NOTE, f"medprior {creator.version}, models {creator.digest}", *content.remarks]
    if content.flags:
        texts.append("Reasons to doubt: " + ", ".join(flag.replace("_", " ") for flag in content.flags))
    return [TextContentItem(COMMENT_CODE, text, relationship_type=RelationshipTypeValues.CONTAINS) for text in texts]
