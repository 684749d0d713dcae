"""Radiographs out of the bodies of requests."""

import httpx

from medprior.bench.deploy_inputs import create_good_files
from tests.deploy.serving import CANARY, post_radiograph


def test_forms_octets_and_pictures(server, dicom):
    data = dicom.read_bytes()
    want = post_radiograph(server, data).json()
    for kind in ("application/octet-stream", "", "application/dicom; transfer-syntax=*"):
        assert post_radiograph(server, data, kind).json() == want
    form = httpx.post(server + "v1/predict", files={"file": (f"{CANARY}.dcm", data)}, data={"note": "x"})
    assert form.json() == want
    picture = post_radiograph(server, create_good_files(192, ("png",))["png"], "image/png")
    assert picture.status_code == 200
    two = [("file", ("a", data)), ("file", ("b", data))]
    assert httpx.post(server + "v1/predict", files=two).status_code == 400
    assert httpx.post(server + "v1/predict", files={"file": data[:0]}).status_code == 400
