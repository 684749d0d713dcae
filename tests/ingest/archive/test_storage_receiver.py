"""The receiver for C-MOVE takes what was asked for, from the archive alone."""

import io

import pydicom
import pytest
from pynetdicom import AE, build_context

from medprior.dicom import Policy
from medprior.dicom.eligibility import DX_PRESENTATION
from medprior.ingest.archive.address import parse_archive_url
from medprior.ingest.archive.storage_receiver import (
    Reception,
    Receptions,
    StorageReceiver,
    build_storage_contexts,
    find_local_address,
)
from medprior.ingest.archive.store import RADIOGRAPH_CLASSES
from tests.deploy.servers import free_port
from tests.ingest.radiograph_files import encode_radiograph


@pytest.fixture
def received():
    """A running receiver: its port and what it expects."""
    port, receptions = free_port(), Receptions()
    receiver = StorageReceiver(
        parse_archive_url(f"dimse://ARCHIVE@127.0.0.1:104?retrieve=move&port={port}"), RADIOGRAPH_CLASSES, receptions
    )
    yield port, receptions
    receiver.close()


def send(port, sop, calling="ARCHIVE", called="MEDPRIOR"):
    """Status of a C-STORE; None where the association is rejected."""
    dataset = pydicom.dcmread(io.BytesIO(encode_radiograph(0, sop=sop)))
    entity = AE(ae_title=calling)
    entity.requested_contexts = [build_context(DX_PRESENTATION, dataset.file_meta.TransferSyntaxUID)]
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return None
    status = association.send_c_store(dataset)
    association.release()
    return status.get("Status")


def test_only_what_was_asked_for_is_taken(received):
    port, receptions = received
    reception = Reception(io.BytesIO(), Policy())
    with receptions.expect_instance("1.4", reception):
        assert send(port, "1.5") == 0x0124
        assert not reception.is_complete
        assert send(port, "1.4") == 0
        assert send(port, "1.4") == 0x0124
    assert pydicom.dcmread(io.BytesIO(reception.file.getvalue())).SOPInstanceUID == "1.4"
    assert send(port, "1.4") == 0x0124


def test_other_titles_are_rejected(received):
    port, _ = received
    assert send(port, "1.4", calling="OTHER") is None
    assert send(port, "1.4", called="OTHER") is None


def test_too_large_is_refused():
    reception = Reception(io.BytesIO(), Policy(max_bytes=10))
    assert reception.write_content(bytes(11)) == 0xA700
    assert reception.error.code == "too_large"
    assert not reception.is_complete


def test_the_receiver_listens_where_the_archive_reaches_it():
    assert find_local_address(parse_archive_url("dimse://A@127.0.0.1:104")) == "127.0.0.1"


def test_contexts_fit_into_one_association():
    contexts = build_storage_contexts(RADIOGRAPH_CLASSES)
    assert len(contexts) + 2 <= 128
    assert all(len(context.transfer_syntax) == 1 for context in contexts)
