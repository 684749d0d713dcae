"""A DICOMweb service on loopback with faults that a real archive shows only at times."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOUNDARY = "part7"


class WebService:
    """Holds one instance; `faults` decide what goes wrong. A context manager.

    Args:
        content: bytes of the instance.
        context: TLS context of the server.
    """

    def __init__(self, content, context=None):
        self.content, self.faults, self.requests = content, [], []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.build_handler())
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def build_handler(service):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                service.requests.append((self.path, dict(self.headers)))
                fault = service.faults.pop(0) if service.faults else {}
                if "status" in fault:
                    self.answer(fault["status"], "text/plain", b"", fault.get("headers", {}))
                elif "page" in fault:
                    self.answer(200, "text/html", b"<html>sign in</html>")
                elif "instances/" in self.path:
                    self.send_instance(fault)
                else:
                    self.answer(200, "application/dicom+json", json.dumps(service.find(self.path)).encode())

            def answer(self, status, media_type, body, headers=()):
                self.send_response(status)
                for name, value in {"Content-Type": media_type, "Content-Length": len(body), **dict(headers)}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body)

            def send_instance(self, fault):
                if fault.get("plain"):
                    self.answer(200, "application/dicom", service.content)
                    return
                head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
                body = head + service.content + f"\r\n--{BOUNDARY}--\r\n".encode()
                body = body[: fault.get("cut", len(body))]
                self.send_response(200)
                self.send_header("Content-Type", f'multipart/related; type="application/dicom"; boundary={BOUNDARY}')
                # A cut body is shorter than announced, or ends a chunk that never closes.
                self.send_header("Content-Length", str(len(body) + fault.get("missing", 0)))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = bool(fault)

        return Handler

    def find(self, path):
        """Matches of a search; `offset` is ignored, as by some services."""
        if path.startswith("/dicom-web/studies?"):
            return [{"0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}} for number in range(3)]
        if "/series?" in path:
            modality = {"vr": "CS", "Value": ["DX"]}
            return [{"0020000E": {"vr": "UI", "Value": ["1.3"]}, "00080060": modality, "00180015": {"vr": "CS"}}]
        return [
            {
                "00080018": {"vr": "UI", "Value": ["1.4"]},
                "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.1"]},
            }
        ]
