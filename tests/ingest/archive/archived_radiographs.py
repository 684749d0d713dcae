"""Folders of radiographs laid out as an archive names them, and the URLs of a real archive that holds them."""

import base64
import urllib.request

from tests.ingest.radiograph_files import encode_radiograph

CALLING_AET = "MEDPRIOR"


def fill_as_archived(folder, count=8, start=0, **elements):
    """A folder with `count` radiographs as STUDY/SERIES/INSTANCE.dcm, two of each patient and study."""
    for number in range(start, start + count):
        study, series = f"1.2.4.{number // 2}", f"1.2.5.{number // 2}"
        path = folder / study / series / f"1.2.3.{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_radiograph(number, SeriesInstanceUID=series, **elements))
    return folder


def list_urls(archive, move_port, query=""):
    """Protocol -> URL of the archive, with the attributes of `query`."""
    dimse = f"dimse://{archive.aet}@127.0.0.1:{archive.port}"
    return {
        "dicomweb": f"dicomweb+{archive.dicomweb_url}" + (f"?{query}" if query else ""),
        "get": dimse + (f"?{query}" if query else ""),
        "move": f"{dimse}?retrieve=move&port={move_port}" + (f"&{query}" if query else ""),
    }


def upload_files(archive, paths):
    """Put files into an archive as they are; `storescu` proposes no compressed syntax by itself."""
    for path in paths:
        request = urllib.request.Request(f"{archive.rest_url}/instances", data=path.read_bytes(), method="POST")
        if archive.users:
            name, password = next(iter(archive.users.items()))
            token = base64.b64encode(f"{name}:{password}".encode()).decode("ascii")
            request.add_header("Authorization", f"Basic {token}")
        urllib.request.urlopen(request, timeout=60).close()
