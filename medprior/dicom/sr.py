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

from medprior.dicom.objects import MANUFACTURER, NOTE, SCHEME, Maker, private_code
from medprior.dicom.seg_codes import ORGANS, finding_code

if TYPE_CHECKING:
    from highdicom.sr import ComprehensiveSR, MeasurementsAndQualitativeEvaluations

RATIO = Code("{ratio}", "UCUM", "ratio")
ONE = Code("1", "UCUM", "no units")
CARDIOTHORACIC = private_code("cardiothoracic_ratio", "Cardiothoracic ratio")
PROBABILITY = Code("122157", "DCM", "Probability")
THRESHOLD = private_code("threshold", "Decision threshold")
PRESENCE = private_code("presence", "Presence by the decision threshold")
PRESENT, ABSENT = Code("52101004", "SCT", "Present"), Code("272519000", "SCT", "Absent")
FAMILIARITY = private_code("familiarity_score", "Distance from the training images")
FAMILIARITY_LIMIT = private_code("familiarity_limit", "Largest familiar distance")
FALSE_ALARMS = private_code("false_alarm_rate", "Rate of false alarms")
DOUBT = private_code("doubt", "Reason to doubt the answer")
COMMENT = Code("121106", "DCM", "Comment")
CHEST = Code("399208008", "SCT", "Plain chest X-ray")


@dataclass(frozen=True)
class Finding:
    """One label: its calibrated probability and the threshold, both in [0, 1]."""

    name: str
    probability: float
    threshold: float

    @property
    def present(self) -> bool:
        """Whether the probability reaches the threshold."""
        return self.probability >= self.threshold


@dataclass(frozen=True)
class Said:
    """What a report says.

    Attributes:
        findings: in their order.
        cardiothoracic_ratio: or None, where it was not measured.
        familiarity: `score`, `threshold` and `false_alarm_rate`, or empty where they are unknown.
        flags: reasons to doubt, as stable words.
        remarks: what else a reader must know, in words.
    """

    findings: Sequence[Finding] = ()
    cardiothoracic_ratio: float | None = None
    familiarity: Mapping[str, float] = field(default_factory=dict)
    flags: Sequence[str] = ()
    remarks: Sequence[str] = ()


def structured_report(said: Said, source: Dataset, maker: Maker) -> ComprehensiveSR:
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
        observation_context=observed_by(maker),
        procedure_reported=CHEST,
        imaging_measurements=groups(said, source, maker),
        title=codes.DCM.ImagingMeasurementReport,
    )
    report[0].ContentSequence.extend(comments(said, maker))
    scheme = CodingSchemeIdentificationItem(
        SCHEME, name="medprior", version=maker.version, responsible_organization="medprior"
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


def observed_by(maker: Maker) -> Any:
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


def groups(
    said: Said, source: Dataset, maker: Maker
) -> list[MeasurementsAndQualitativeEvaluations]:
    """The measurement groups, one for each thing that is said."""
    made = []
    if said.cardiothoracic_ratio is not None:
        values = [(CARDIOTHORACIC, said.cardiothoracic_ratio, RATIO)]
        made.append(group("heart", ORGANS["heart"], values, [], source, maker))
    for one in said.findings:
        values = [(PROBABILITY, one.probability, ONE), (THRESHOLD, one.threshold, ONE)]
        presence = [(PRESENCE, PRESENT if one.present else ABSENT)]
        made.append(group(one.name, finding_code(one.name), values, presence, source, maker))
    values = [
        (code, float(said.familiarity[key]), ONE)
        for code, key in (
            (FAMILIARITY, "score"),
            (FAMILIARITY_LIMIT, "threshold"),
            (FALSE_ALARMS, "false_alarm_rate"),
        )
        if key in said.familiarity
    ]
    doubts = [(DOUBT, private_code(flag)) for flag in said.flags or ("none_found",)]
    return [*made, group("picture", None, values, doubts, source, maker)]


def group(
    name: str,
    finding: Code | None,
    values: Sequence[tuple[Code, float, Code]],
    said: Sequence[tuple[Code, Code]],
    source: Dataset,
    maker: Maker,
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
        algorithm_id=AlgorithmIdentification(
            "medprior", maker.version, parameters=[f"model_digest={maker.digest}"]
        ),
        measurements=[Measurement(code, round(value, 6), unit) for code, value, unit in values],
        qualitative_evaluations=[QualitativeEvaluation(code, value) for code, value in said],
        source_images=[image],
    )


def comments(said: Said, maker: Maker) -> list[Dataset]:
    """The note on research use, and in words what else a reader must know."""
    from highdicom.sr import RelationshipTypeValues, TextContentItem

    texts = [NOTE, f"medprior {maker.version}, models {maker.digest}", *said.remarks]
    if said.flags:
        texts.append(
            "Reasons to doubt: " + ", ".join(flag.replace("_", " ") for flag in said.flags)
        )
    return [
        TextContentItem(COMMENT, text, relationship_type=RelationshipTypeValues.CONTAINS)
        for text in texts
    ]
