"""A DIMSE archive with faults that a real one shows only at times: pynetdicom as its provider."""

from contextlib import contextmanager

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from medprior.ingest.archive.storage_receiver import SYNTAXES
from medprior.ingest.archive.store import RADIOGRAPH_CLASSES

MATCHES = {
    "STUDY": {"StudyInstanceUID": "1.2"},
    "SERIES": {"SeriesInstanceUID": "1.3", "Modality": "DX"},
    "IMAGE": {"SOPInstanceUID": "1.4"},
}


class FaultyArchive:
    """What the archive does next.

    Attributes:
        find_statuses: statuses of the next searches instead of matches; `None` ends the association.
        get_statuses: final statuses of the next C-GET requests, before any instance is sent.
        sent: data sets that the next C-GET requests send, the one asked for or another.
    """

    def __init__(self):
        self.find_statuses, self.get_statuses, self.sent, self.requests = [], [], [], []

    def find(self, event):
        identifier = event.identifier
        self.requests.append(identifier)
        if self.find_statuses:
            status = self.find_statuses.pop(0)
            if status is None:
                event.assoc.abort()
                return
            yield status, None
            return
        match = Dataset()
        match.QueryRetrieveLevel = identifier.QueryRetrieveLevel
        for name, value in MATCHES[identifier.QueryRetrieveLevel].items():
            setattr(match, name, value)
        yield 0xFF00, match

    def get(self, event):
        self.requests.append(event.identifier)
        if self.get_statuses:
            status = self.get_statuses.pop(0)
            if status is None:
                event.assoc.abort()
            yield 0 if status == 0 else 1
            yield status, None
            return
        yield len(self.sent)
        for dataset in self.sent:
            yield 0xFF00, dataset

    @contextmanager
    def serve(self, models=(StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet)):
        """The address of the running archive."""
        entity = AE(ae_title="FAULTY")
        entity.require_called_aet = True
        for model in models:
            entity.add_supported_context(model)
        for sop_class in RADIOGRAPH_CLASSES:
            entity.add_supported_context(sop_class, list(SYNTAXES), scu_role=True, scp_role=True)
        handlers = [(evt.EVT_C_FIND, self.find), (evt.EVT_C_GET, self.get)]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        try:
            yield f"dimse://FAULTY@127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
