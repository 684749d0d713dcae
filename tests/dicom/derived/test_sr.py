"""The structured report, read back with highdicom and item by item with pydicom."""

import io

import pytest
from highdicom.sr import srread

from medprior.dicom.derived.derived_object import read_source_header, serialise_object
from medprior.dicom.derived.sr import ReportContent, ReportFinding, build_structured_report
from tests.dicom.object_sources import CASES, MAKER, opened, source

CONTENT = ReportContent(
    findings=[ReportFinding("pleural_effusion", 0.7123456, 0.4), ReportFinding("tuberculosis", 0.1, 0.25)],
    cardiothoracic_ratio=0.512,
    familiarity={"score": 3.5, "threshold": 2.0, "false_alarm_rate": 0.048},
    flags=["child", "far_from_training"],
)


def content(said: ReportContent = CONTENT, **changes) -> bytes:
    header = read_source_header(io.BytesIO(source(**changes)))
    return serialise_object(build_structured_report(said, header, MAKER))


def numbers(group) -> dict[str, float]:
    return {m.name.meaning: float(m.value) for m in group.get_measurements()}


def texts(item) -> list[str]:
    own = [str(item.TextValue)] if "TextValue" in item else []
    return own + [text for part in item.get("ContentSequence", []) for text in texts(part)]


@pytest.mark.parametrize("case", CASES)
def test_numbers_come_back(case):
    report = srread(io.BytesIO(content(**CASES[case]))).content
    groups = {g.tracking_identifier: g for g in report.get_image_measurement_groups()}
    assert set(groups) == {"heart", "pleural_effusion", "tuberculosis", "picture"}
    assert numbers(groups["heart"]) == {"Cardiothoracic ratio": 0.512}
    effusion = groups["pleural_effusion"]
    assert numbers(effusion) == {"Probability": 0.712346, "Decision threshold": 0.4}
    assert effusion.finding_type.value == "60046008"
    present = {n: g.get_qualitative_evaluations()[0].value.meaning for n, g in groups.items()
               if n in {"pleural_effusion", "tuberculosis"}}  # fmt: skip
    assert present == {"pleural_effusion": "Present", "tuberculosis": "Absent"}
    assert numbers(groups["picture"])["Distance from the training images"] == 3.5
    doubts = [e.value.value for e in groups["picture"].get_qualitative_evaluations()]
    assert doubts == ["child", "far_from_training"]
    for group in groups.values():
        assert group.source_images[0].referenced_sop_instance_uid == "1.2.3.4.5"


def test_it_refers_to_its_source_and_is_no_final_word():
    dataset = opened(content())
    evidence = dataset.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == dataset.StudyInstanceUID == "1.2.3.4"
    series = evidence.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == "1.2.3.4.1"
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert (dataset.VerificationFlag, dataset.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert str(dataset.PatientName) == "Müller^Änne"
    said = texts(dataset)
    assert any("research only" in text for text in said)
    assert any(MAKER.digest in text and "0.1.0" in text for text in said)
    assert dataset.SoftwareVersions == "0.1.0"


def test_nothing_said_is_a_report_of_nothing():
    dataset = opened(content(ReportContent()))
    assert any("research only" in text for text in texts(dataset))
    groups = srread(io.BytesIO(content(ReportContent()))).content.get_image_measurement_groups()
    doubts = [e.value.value for e in groups[0].get_qualitative_evaluations()]
    assert (len(groups), doubts) == (1, ["none_found"])


def test_a_finding_is_present_from_its_threshold_on():
    assert ReportFinding("nodule", 0.4, 0.4).is_present
    assert not ReportFinding("nodule", 0.39999, 0.4).is_present


def test_remarks_and_doubts_are_written_in_words_and_only_known_familiarity_as_numbers():
    said = ReportContent(familiarity={"threshold": 2.0}, flags=["far_from_training", "child"], remarks=["Look twice."])
    comments = texts(opened(content(said)))
    assert "Look twice." in comments
    assert "Reasons to doubt: far from training, child" in comments
    (group,) = srread(io.BytesIO(content(said))).content.get_image_measurement_groups()
    assert numbers(group) == {"Largest familiar distance": 2.0}
