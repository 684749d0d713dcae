"""What the archive says about an instance decides before it is fetched, as its file would after."""

import pytest

from medprior.dicom import Policy
from medprior.dicom.decoding.samples import create_sample_dataset, create_sample_picture, serialise_dataset
from medprior.dicom.eligibility import CR_STORAGE, DX_PRESENTATION, DX_PROCESSING, SECONDARY_CAPTURE
from medprior.dicom.reading import read_radiograph
from medprior.errors import Rejected
from medprior.ingest.archive.address import parse_archive_url
from medprior.ingest.archive.listing import ArchiveInstance, check_listed_instance, list_radiographs
from medprior.ingest.archive.store import connect_archive

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


def describe(sop_class=DX_PRESENTATION, modality="DX", body_part="CHEST", conversion=""):
    return ArchiveInstance(("1.2", "1.3", "1.4"), sop_class, modality, body_part, conversion)


@pytest.mark.parametrize(
    ("instance", "policy"),
    [
        (describe(), Policy()),
        (describe(CR_STORAGE, "CR", ""), Policy()),
        (describe(body_part="HAND"), Policy()),
        (describe(body_part="HAND"), Policy(other_body_parts=True)),
        (describe(body_part="TSPINE"), Policy()),
        (describe(CT_STORAGE), Policy()),
        (describe(modality="OT"), Policy()),
        (describe(DX_PROCESSING), Policy()),
        (describe(DX_PROCESSING), Policy(for_processing=True)),
        (describe(SECONDARY_CAPTURE, "OT", "CHEST", "DF"), Policy()),
        (describe(SECONDARY_CAPTURE, "OT", "CHEST", "WSD"), Policy()),
        (describe(SECONDARY_CAPTURE, "DX", "CHEST", "DF"), Policy(secondary_capture="film")),
    ],
)
def test_the_attributes_decide_as_the_file_does(tmp_path, instance, policy):
    elements = {"ConversionType": instance.conversion} if instance.conversion else {}
    dataset = create_sample_dataset(
        create_sample_picture(),
        SOPClassUID=instance.sop_class,
        Modality=instance.modality,
        BodyPartExamined=instance.body_part,
        **elements,
    )
    path = tmp_path / "x.dcm"
    path.write_bytes(serialise_dataset(dataset))
    assert find_code(check_listed_instance, instance, policy) == find_code(read_radiograph, path, policy)


def find_code(check, *arguments):
    """The code with which `check` refuses, empty where it accepts."""
    try:
        check(*arguments)
    except Rejected as error:
        return error.code
    return ""


def test_what_the_archive_does_not_say_decides_nothing():
    check_listed_instance(describe("", "", ""), Policy())
    check_listed_instance(describe(SECONDARY_CAPTURE, "OT", ""), Policy())


def test_the_stamp_changes_with_the_attributes():
    assert describe().stamp == describe().stamp
    assert describe().stamp != describe(body_part="HAND").stamp
    assert describe("1", "23").stamp != describe("12", "3").stamp


@pytest.mark.parametrize("protocol", ["dicomweb", "get"])
def test_other_modalities_are_counted_and_not_listed(urls, protocol):
    address = parse_archive_url(urls[protocol])
    connection = connect_archive(address)
    try:
        listing = list_radiographs(connection, address)
    finally:
        connection.close()
    assert len(listing.instances) == 10
    assert listing.describe_rest() == "1 series of modality CT"
    hand = listing.instances["1.2.4.4/1.2.5.4/1.2.3.8.dcm"]
    assert (hand.body_part, hand.modality, hand.sop_class) == ("HAND", "DX", DX_PRESENTATION)


@pytest.mark.parametrize("protocol", ["dicomweb", "get"])
@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("PatientID=CANARY7-1", 2),
        ("StudyInstanceUID=1.2.4.0", 2),
        ("ModalitiesInStudy=DX", 10),
        ("ModalitiesInStudy=CT", 2),
        ("ModalitiesInStudy=CR,DX&SeriesInstanceUID=1.2.5.3", 2),
        ("BodyPartExamined=HAND", 2),
        ("PatientID=nobody", 0),
    ],
)
def test_attributes_choose_studies_and_series(build_urls, protocol, query, count):
    address = parse_archive_url(build_urls(query)[protocol])
    connection = connect_archive(address)
    try:
        assert len(list_radiographs(connection, address).instances) == count
    finally:
        connection.close()


class SmallPages:
    """A connection whose matches are given; it stands for an archive with faulty UIDs."""

    def __init__(self, matches):
        self.matches = matches

    def find_matches(self, level, keys):
        return self.matches[level]


def test_matches_without_valid_uids_are_counted():
    matches = {
        "STUDY": [{"StudyInstanceUID": "1.2"}, {"StudyInstanceUID": "../x"}],
        "SERIES": [{"SeriesInstanceUID": "1.3", "Modality": "dx "}, {"Modality": "DX"}, {"Modality": "SR"}],
        "IMAGE": [{"SOPInstanceUID": "1.4"}, {"SOPInstanceUID": "1/4"}, {}],
    }
    listing = list_radiographs(SmallPages(matches), parse_archive_url("dicomweb+http://h/x"))
    assert list(listing.instances) == ["1.2/1.3/1.4.dcm"]
    assert listing.describe_rest() == "1 series of modality SR, 4 match(es) without valid UIDs"
