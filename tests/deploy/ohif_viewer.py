"""The OHIF viewer from npm over an archive's DICOMweb, on one address of this machine."""

import contextlib
import http.server
import mimetypes
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

FOLDER_VARIABLE = "MEDPRIOR_OHIF"
HOW_TO_INSTALL = "npm pack @ohif/app@3.12.10, unpack it and let MEDPRIOR_OHIF name its folder `package/dist`"
CONFIGURATION = """
window.config = {
  routerBasename: '/', extensions: [], modes: [], showStudyList: true, maxNumberOfWebWorkers: 2,
  showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false, showLoadingIndicator: true,
  disableConfirmationPrompts: true, investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'archive',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'archive',
    configuration: {
      friendlyName: 'archive', name: 'archive', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web',
      wadoUriRoot: '/dicom-web', qidoSupportsIncludeField: false, supportsReject: false, imageRendering: 'wadors',
      thumbnailRendering: 'wadors', enableStudyLazyLoad: true, supportsFuzzyMatching: false,
      supportsWildcard: true, singlepart: 'bulkdata,video', bulkDataURI: { enabled: true },
    },
  }],
};
"""


def find_viewer() -> Path:
    """Folder of the built viewer; the test is skipped without one."""
    folder = Path(os.environ.get(FOLDER_VARIABLE, "-"))
    if not (folder / "index.html").is_file():
        pytest.skip(f"no OHIF viewer here: {HOW_TO_INSTALL}")
    return folder


@contextlib.contextmanager
def run_viewer(viewer: Path, archive_url: str):
    """Address of a server of the viewer's files that hands `/dicom-web` on to the archive.

    Args:
        viewer: folder of the built viewer.
        archive_url: of the archive's own HTTP server.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/dicom-web"):
                self.pass_on()
                return
            path = viewer / self.path.partition("?")[0].lstrip("/")
            if self.path.startswith("/app-config.js"):
                self.answer(200, "text/javascript", CONFIGURATION.encode())
            elif path.is_file():
                self.answer(200, mimetypes.guess_type(path.name)[0] or "application/octet-stream", path.read_bytes())
            else:  # the addresses of its pages
                self.answer(200, "text/html", (viewer / "index.html").read_bytes())

        def pass_on(self) -> None:
            """Ask the archive."""
            headers = {"Accept": self.headers["Accept"], "Host": self.headers["Host"]}
            request = urllib.request.Request(archive_url + self.path, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    self.answer(answer.status, answer.headers["Content-Type"], answer.read())
            except urllib.error.HTTPError as error:
                self.answer(error.code, "text/plain", b"")

        def answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
