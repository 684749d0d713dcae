"""Faults of associations, shown by a real provider: rejected, refused, lost, wrong and oversized."""

import io
import logging
import socket
import threading
import time

import pydicom
import pytest
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from medprior.dicom import Policy
from medprior.errors import MedpriorError, Rejected
from medprior.ingest.archive.dimse import build_identifier
from medprior.ingest.archive.store import ArchiveStore
from tests.deploy.servers import free_port
from tests.ingest.archive.faulty_archive import FaultyArchive
from tests.ingest.radiograph_files import encode_radiograph

PATH = "1.2/1.3/1.4.dcm"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr("medprior.ingest.archive.dimse.BACKOFF_SECONDS", (0.01, 0.01))
    monkeypatch.setattr("medprior.ingest.archive.dimse.ANSWER_SECONDS", 15.0)
    monkeypatch.setattr("medprior.ingest.archive.store.RETRY_SECONDS", (0.01, 0.01))
    monkeypatch.setattr("medprior.ingest.archive.listing.SEARCHED_MODALITIES", ("DX",))


@pytest.fixture
def faulty():
    return FaultyArchive()


@pytest.fixture
def store(faulty):
    with faulty.serve() as url:
        opened = ArchiveStore(url)
        yield opened
        opened.close()


def read_dataset(sop="1.4", **elements):
    return pydicom.dcmread(io.BytesIO(encode_radiograph(0, sop=sop, **elements)))


def fetch(store, folder, policy=None):
    target = folder / "x"
    target.unlink(missing_ok=True)
    store.fetch(store.url(PATH), target, policy or Policy())
    return pydicom.dcmread(target)


def test_a_search_is_repeated_where_the_association_is_lost(store, faulty):
    faulty.find_statuses = [None, 0xA700]
    assert list(store.entries()) == [PATH]
    assert [request.QueryRetrieveLevel for request in faulty.requests] == ["STUDY"] * 3 + ["SERIES", "IMAGE"]


@pytest.mark.parametrize(
    ("statuses", "words"),
    [([0xA900], "refuses the search .status A900."), ([None] * 9, "does not answer a search")],
)
def test_a_search_that_fails_is_one_line(store, faulty, statuses, words):
    faulty.find_statuses = list(statuses)
    with pytest.raises(MedpriorError, match=words) as raised:
        store.entries()
    assert "\n" not in str(raised.value)


def test_an_instance_is_asked_for_again_where_the_association_is_lost(store, faulty, tmp_path):
    faulty.sent, faulty.get_statuses = [read_dataset()], [None, 0xA701]
    assert fetch(store, tmp_path).SOPInstanceUID == "1.4"
    faulty.get_statuses = [None] * 3
    with pytest.raises(Rejected, match="does not send the instance whole"):
        fetch(store, tmp_path)


@pytest.mark.parametrize(
    ("status", "words"), [(0xC000, "cannot send the instance"), (0xA900, "cannot send"), (0x0000, "is gone")]
)
def test_an_instance_that_cannot_be_had_is_refused_alone(store, faulty, tmp_path, status, words):
    faulty.get_statuses = [status]
    with pytest.raises(Rejected, match=words):
        fetch(store, tmp_path)


def test_an_instance_that_nobody_asked_for_is_not_taken(store, faulty, tmp_path):
    faulty.sent = [read_dataset("1.5")]
    with pytest.raises(Rejected):
        fetch(store, tmp_path)
    assert (tmp_path / "x").read_bytes() == b""
    faulty.sent = [read_dataset("1.5"), read_dataset(), read_dataset(BodyPartExamined="HAND")]
    assert fetch(store, tmp_path).BodyPartExamined == "CHEST"


def test_a_message_larger_than_any_file_ends_before_it_is_whole(store, faulty, tmp_path):
    large = read_dataset()
    large.add_new(0x00420011, "OB", bytes(40 * 2**20))
    faulty.sent = [large]
    with pytest.raises(Rejected) as raised:
        fetch(store, tmp_path, Policy(max_bytes=2**20))
    assert raised.value.code == "too_large"
    assert (tmp_path / "x").read_bytes() == b""
    faulty.sent = [read_dataset()]
    assert fetch(store, tmp_path, Policy(max_bytes=2**20)).SOPInstanceUID == "1.4"


def test_rejected_associations_say_what_to_check(faulty):
    with faulty.serve() as url, pytest.raises(MedpriorError, match=r"rejects the association.*title OTHER") as raised:
        ArchiveStore(url.replace("FAULTY", "OTHER")).entries()
    assert "called ae title not recogni" in str(raised.value)


def test_services_that_are_not_offered_are_named(faulty):
    with faulty.serve([StudyRootQueryRetrieveInformationModelFind]) as url:
        with pytest.raises(MedpriorError, match=r"does not offer C-GET.*retrieve=move"):
            ArchiveStore(url).entries()
        with pytest.raises(MedpriorError, match="does not offer C-MOVE"):
            ArchiveStore(f"{url}?retrieve=move&port={free_port()}").entries()


def test_a_port_without_an_archive_is_said():
    with socket.socket() as held:  # bound but not listening: connections are refused
        held.bind(("127.0.0.1", 0))
        with pytest.raises(MedpriorError, match=r"does not answer.*'127.0.0.1' port"):
            ArchiveStore(f"dimse://A@127.0.0.1:{held.getsockname()[1]}").entries()


def test_a_plain_peer_of_a_tls_address_is_said(faulty):
    with faulty.serve() as url, pytest.raises(MedpriorError, match=r"does not answer.*REQUESTS_CA_BUNDLE"):
        ArchiveStore(url.replace("dimse://", "dimse+tls://")).entries()


def test_a_destination_that_the_archive_does_not_know_is_said(archive, tmp_path):
    store = ArchiveStore(f"dimse://{archive.aet}@127.0.0.1:{archive.port}?retrieve=move&aet=NOBODY&port={free_port()}")
    try:
        with pytest.raises(MedpriorError, match=r"sends nothing to NOBODY \(status"):
            store.fetch(store.url("1.2.4.0/1.2.5.0/1.2.3.1.dcm"), tmp_path / "x", Policy())
    finally:
        store.close()


def test_a_taken_port_is_said(archive, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"dimse://{archive.aet}@127.0.0.1:{archive.port}?retrieve=move&port={taken.getsockname()[1]}"
        with pytest.raises(MedpriorError, match="port for C-MOVE cannot be used"):
            ArchiveStore(url).fetch(f"{url.split('?')[0]}/1.2.4.0/1.2.5.0/1.2.3.1", tmp_path / "x", Policy())


def test_no_thread_stays_after_closing(store, faulty, tmp_path):
    faulty.sent = [read_dataset()]
    count = threading.active_count()
    store.entries()
    fetch(store, tmp_path)
    store.close()
    store.close()
    deadline = time.monotonic() + 20
    while threading.active_count() > count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= count


def test_an_answer_that_was_lost_is_noticed(store, faulty, monkeypatch):
    real, lost = Association.send_c_find, []

    def lose_the_first_match(self, *arguments):
        answers = real(self, *arguments)
        if not lost:
            lost.append(next(answers))
        yield from answers

    monkeypatch.setattr(Association, "send_c_find", lose_the_first_match)
    assert list(store.entries()) == [PATH]
    assert len(lost) == 1
    assert len(faulty.requests) == 4


def test_logs_quote_no_attribute(faulty, caplog):
    with faulty.serve() as url:
        store = ArchiveStore(f"{url}?PatientID=hidden7")
        caplog.set_level(logging.DEBUG)
        store.entries()
    assert faulty.requests[0].PatientID == "hidden7"
    assert "hidden7" not in caplog.text


def test_identifiers_hold_lists_ranges_and_names():
    identifier = build_identifier(
        "STUDY", {"StudyInstanceUID": "1.2,1.3", "StudyDate": "20240101-", "PatientName": "Ä*"}
    )
    assert list(identifier.StudyInstanceUID) == ["1.2", "1.3"]
    assert identifier.StudyDate == "20240101-"
    assert identifier.SpecificCharacterSet == "ISO_IR 192"
    assert "SpecificCharacterSet" not in build_identifier("STUDY", {"PatientID": "7"})
