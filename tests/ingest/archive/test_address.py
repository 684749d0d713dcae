"""URLs of archives: what they mean, and what is refused without quoting a value."""

import pytest

from medprior.errors import ConfigError
from medprior.ingest.archive.address import is_archive_url, parse_archive_url
from tests.ingest.radiograph_files import CANARY


def test_a_web_address_has_root_and_attributes():
    address = parse_archive_url(
        "dicomweb+https://pacs.example:8443/dicom-web/?StudyDate=20240101-&ModalitiesInStudy=CR"
        "&ModalitiesInStudy=DX&BodyPartExamined=CHEST"
    )
    assert address.is_web
    assert address.root == "dicomweb+https://pacs.example:8443/dicom-web"
    assert dict(address.study_filters) == {"StudyDate": "20240101-", "ModalitiesInStudy": "CR,DX"}
    assert dict(address.series_filters) == {"BodyPartExamined": "CHEST"}


def test_a_dimse_address_has_titles_and_a_way_of_retrieval():
    address = parse_archive_url("dimse://STORE%201@pacs.example:104?PatientID=7")
    assert (address.called_aet, address.calling_aet, address.move_port) == ("STORE 1", "MEDPRIOR", None)
    assert not address.is_web
    moved = parse_archive_url("dimse+tls://A@[::1]:2762?retrieve=move&port=11113&aet=READER")
    assert (moved.host, moved.calling_aet, moved.move_port) == ("::1", "READER", 11113)
    assert moved.root == "dimse+tls://A@[::1]:2762"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("dicomweb://host/dicom-web", "expected dicomweb+https://HOST/dicom-web or dimse://AET@HOST:PORT"),
        ("dicomwebs+http://host/x", "not the URL of an archive"),
        ("dicomweb+http:///dicom-web", "not the URL of an archive"),
        ("dicomweb+http://host:99999/dicom-web", "not the URL of an archive"),
        ("dicomweb+http://host/dicom-web#x", "not the URL of an archive"),
        ("dicomweb+http://me:hidden7@host/dicom-web", "must not contain credentials"),
        ("dicomweb+http://hidden7@host/dicom-web", "must not contain credentials"),
        ("dimse://A:hidden7@host:104", "must not contain credentials"),
        ("dicomweb+http://host/x?token=hidden7", "unknown attribute 'token'"),
        ("dicomweb+http://host/x?PatientId=hidden7", "did you mean 'PatientID'?"),
        ("dicomweb+http://host/x?retrieve=move", "unknown attribute 'retrieve'"),
        ("dicomweb+http://host/x?PatientID=", "no printable value"),
        ("dicomweb+http://host/x?PatientID=hidden7%0a", "no printable value"),
        ("dicomweb+http://host/x?PatientID=hidden7&PatientID=2", "given twice"),
        ("dimse://host:104", "expected dimse://AET@HOST:PORT"),
        ("dimse://A@host", "expected dimse://AET@HOST:PORT"),
        ("dimse://A@host:104/path", "expected dimse://AET@HOST:PORT"),
        ("dimse://SEVENTEEN_LETTERS@host:104", "not an AE title"),
        ("dimse://A%5CB@host:104", "not an AE title"),
        ("dimse://A@host:104?aet=%20", "not an AE title"),
        ("dimse://A@host:104?retrieve=move", "retrieve=move&port=PORT"),
        ("dimse://A@host:104?retrieve=move&port=0", "retrieve=move&port=PORT"),
        ("dimse://A@host:104?retrieve=take&port=1", "retrieve=move&port=PORT"),
        ("dimse://A@host:104?port=1", "retrieve=move&port=PORT"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(url, words):
    with pytest.raises(ConfigError) as raised:
        parse_archive_url(url)
    text = str(raised.value)
    assert words in text
    assert "hidden7" not in text
    assert "\n" not in text


def test_only_archives_look_like_archives():
    assert is_archive_url("DICOMweb+http://h/x")
    assert is_archive_url("dimse://A@h:1")
    assert not is_archive_url(f"s3://bucket/{CANARY}")
    assert not is_archive_url("https://host/dicom-web")
