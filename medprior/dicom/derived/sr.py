"""What the models say as a DICOM structured report: measurements with their source image.

An Imaging Measurement Report (PS3.16 TID 1500) in a Comprehensive SR document (PS3.3 A.35.3): a
group (TID 1501) for the cardiothoracic ratio, one for each finding with its calibrated probability
and the threshold from which on it counts as present, and one for how far the picture is from the
training images. Codes of medprior's own scheme `99MEDPRIOR` stand where no standard one is known.
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
    RESEARCH_NOTE,
    CreatorInfo,
    create_private_code,
)
from medprior.dicom.derived.seg_codes import ORGAN_CODES, find_finding_code

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
    def present(self) -> bool:
        """Whether the probability reaches the threshold."""
        return self.probability >= self.threshold


@dataclass(frozen=True)
class ReportContent:
    """What a report says.

    Attributes:
        findings: in their order.
        cardiothoracic_ratio: or None, where it was not measured.
        familiarity: `score`, `threshold` and `false_alarm_rate`, or empty where they are unknown.
        flags: reasons to doubt, as stable words.
        remarks: what else a reader must know, in words.
    """

    findings: Sequence[ReportFinding] = ()
    cardiothoracic_ratio: float | None = None
    familiarity: Mapping[str, float] = field(default_factory=dict)
    flags: Sequence[str] = ()
    remarks: Sequence[str] = ()


def build_structured_report(said: ReportContent, source: Dataset, maker: CreatorInfo) -> ComprehensiveSR:
    """A report about one radiograph: not verified, preliminary, made by a device.

    Args:
        said: what it says.
        source: the source's header, `source_header`.
        maker: what made it.

    Raises:
        ValueError: a header that cannot be copied.
    """
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import ComprehensiveSR, MeasurementReport
    from pydicom.sr.codedict import codes

    report = MeasurementReport(
        observation_context=build_observation_context(maker),
        procedure_reported=CHEST_XRAY_CODE,
        imaging_measurements=build_measurement_groups(said, source, maker),
        title=codes.DCM.ImagingMeasurementReport,
    )
    report[0].ContentSequence.extend(build_comments(said, maker))
    scheme = CodingSchemeIdentificationItem(
        CODING_SCHEME, name="medprior", version=maker.version, responsible_organization="medprior"
    )
    return ComprehensiveSR(
        evidence=[source],
        content=report[0],
        series_instance_uid=maker.uid(source, "sr series"),
        series_number=9002,
        sop_instance_uid=maker.uid(source, "sr"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=maker.version,
        device_serial_number=maker.digest,
        series_description="medprior report, research only",
        is_complete=True,
        coding_schemes=[scheme],
        content_date=maker.made.date(),
        content_time=maker.made.time(),
    )


def build_observation_context(maker: CreatorInfo) -> Any:
    """The device that observed: medprior, its version and the models' digest."""
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.sr.codedict import codes

    number = int(maker.digest[:32] or "0", 16)
    device = DeviceObserverIdentifyingAttributes(
        uid=UID(f"2.25.{number}"),
        name="medprior",
        manufacturer_name=MANUFACTURER,
        model_name=f"medprior {maker.version}",
        serial_number=maker.digest,
    )
    return ObservationContext(
        observer_device_context=ObserverContext(codes.DCM.Device, device),
    )


def build_measurement_groups(
    said: ReportContent, source: Dataset, maker: CreatorInfo
) -> list[MeasurementsAndQualitativeEvaluations]:
    """The measurement groups, one for each thing that is said."""
    made = []
    if said.cardiothoracic_ratio is not None:
        values = [(CARDIOTHORACIC_CODE, said.cardiothoracic_ratio, RATIO_UNIT)]
        made.append(build_measurement_group("heart", ORGAN_CODES["heart"], values, [], source, maker))
    for one in said.findings:
        values = [(PROBABILITY_CODE, one.probability, NO_UNIT), (THRESHOLD_CODE, one.threshold, NO_UNIT)]
        presence = [(PRESENCE_CODE, PRESENT_CODE if one.present else ABSENT_CODE)]
        made.append(build_measurement_group(one.name, find_finding_code(one.name), values, presence, source, maker))
    values = [
        (code, float(said.familiarity[key]), NO_UNIT)
        for code, key in (
            (FAMILIARITY_CODE, "score"),
            (FAMILIARITY_LIMIT_CODE, "threshold"),
            (FALSE_ALARM_CODE, "false_alarm_rate"),
        )
        if key in said.familiarity
    ]
    doubts = [(DOUBT_CODE, create_private_code(flag)) for flag in said.flags or ("none_found",)]
    return [*made, build_measurement_group("picture", None, values, doubts, source, maker)]


def build_measurement_group(
    name: str,
    finding: Code | None,
    values: Sequence[tuple[Code, float, Code]],
    said: Sequence[tuple[Code, Code]],
    source: Dataset,
    maker: CreatorInfo,
) -> MeasurementsAndQualitativeEvaluations:
    """One measurement group (TID 1501): numbers and coded answers about one thing."""
    from highdicom.sr import (
        AlgorithmIdentification,
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    image = SourceImageForMeasurementGroup.from_source_image(source)
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(maker.uid(source, f"sr {name}"), name),
        finding_type=finding,
        algorithm_id=AlgorithmIdentification("medprior", maker.version, parameters=[f"model_digest={maker.digest}"]),
        measurements=[Measurement(code, round(value, 6), unit) for code, value, unit in values],
        qualitative_evaluations=[QualitativeEvaluation(code, value) for code, value in said],
        source_images=[image],
    )


def build_comments(said: ReportContent, maker: CreatorInfo) -> list[Dataset]:
    """The note on research use, and in words what else a reader must know."""
    from highdicom.sr import RelationshipTypeValues, TextContentItem

    texts = [RESEARCH_NOTE, f"medprior {maker.version}, models {maker.digest}", *said.remarks]
    if said.flags:
        texts.append("Reasons to doubt: " + ", ".join(flag.replace("_", " ") for flag in said.flags))
    return [TextContentItem(COMMENT_CODE, text, relationship_type=RelationshipTypeValues.CONTAINS) for text in texts]
