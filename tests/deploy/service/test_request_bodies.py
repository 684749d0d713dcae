"""Radiographs out of the bodies of requests."""

import asyncio
import tracemalloc

import httpx
import pytest
from starlette.requests import Request

from medprior.bench.deploy_inputs import create_good_files
from medprior.deploy.service.request_bodies import (
    RequestBodyLimiter,
    extract_instances,
    extract_radiograph,
    parse_multipart,
)
from medprior.pages.problem import Problem
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


def request_of(*chunks: bytes, headers=()) -> Request:
    """A request whose body arrives in these chunks."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return messages.pop(0)

    return Request({"type": "http", "method": "POST", "path": "/", "headers": list(headers)}, receive)


def test_one_body_may_exceed_the_memory_and_a_second_one_waits():
    memory = RequestBodyLimiter(10)

    async def ask() -> None:
        async with memory.read_body(request_of(b"12345678", b"9012")) as body:
            assert (body, memory.held_bytes) == (b"123456789012", 12)
            with pytest.raises(Problem) as caught:
                async with memory.read_body(request_of(b"1")):
                    pass
            assert (caught.value.status_code, caught.value.code) == (503, "busy")
            assert caught.value.headers == {"Retry-After": "2"}
        assert memory.held_bytes == 0

    asyncio.run(ask())


def test_a_form_counts_twice_because_its_file_lies_beside_it():
    memory = RequestBodyLimiter(10)
    form = [(b"content-type", b"multipart/form-data; boundary=x")]

    async def ask() -> None:
        async with memory.read_body(request_of(b"1234", headers=form)):
            assert memory.held_bytes == 8
            with pytest.raises(Problem, match="503"):
                async with memory.read_body(request_of(b"12", headers=form)):
                    pass
        assert memory.held_bytes == 0

    asyncio.run(ask())


def test_parsing_a_form_copies_its_file_once():
    file = bytes(8 * 2**20)
    body = b'--x\r\nContent-Disposition: form-data; filename="a"\r\n\r\n' + file + b"\r\n--x--\r\n"
    tracemalloc.start()
    try:
        assert extract_radiograph(body, "multipart/form-data; boundary=x") == file
        assert tracemalloc.get_traced_memory()[1] < 1.5 * len(file)
    finally:
        tracemalloc.stop()


def test_bodies_together_may_fill_the_memory_and_not_exceed_it():
    memory = RequestBodyLimiter(10)

    async def ask() -> None:
        async with memory.read_body(request_of(b"123456")):
            async with memory.read_body(request_of(b"12", b"34")):
                assert memory.held_bytes == 10
            with pytest.raises(Problem):
                async with memory.read_body(request_of(b"12", b"345")):
                    pass
            assert memory.held_bytes == 6  # the bytes of the refused body are given back

    asyncio.run(ask())


FORM = 'multipart/form-data; boundary="x"'


def multipart(*parts: bytes, end: bytes = b"--x--\r\n") -> bytes:
    """A body of these parts (headers, empty line, content) with the boundary `x`."""
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + end


def test_the_file_of_a_form_is_found_among_its_fields():
    field = b'Content-Disposition: form-data; name="note"\r\n\r\nfilename=no'
    file = b'content-disposition: form-data; name="f"; filename="a.dcm"\r\n\r\nDICM\r\n\x00'
    assert extract_radiograph(multipart(field, file), FORM) == b"DICM\r\n\x00"
    starred = file.replace(b'filename="a.dcm"', b"filename*=utf-8''a.dcm")
    assert extract_radiograph(multipart(starred, field), FORM) == b"DICM\r\n\x00"
    for parts in ((field,), (file, starred)):
        with pytest.raises(Problem, match="exactly one file"):
            extract_radiograph(multipart(*parts), FORM)


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        ("", True),
        ("Application/DICOM; transfer-syntax=*", True),
        (" image/png ", True),
        ("image/jpeg", True),
        ("application/octet-stream", True),
        ("application/dicom+json", False),
        ("image/gif", False),
    ],
)
def test_bodies_of_a_known_type_are_taken_as_they_are(kind, accepted):
    if accepted:
        assert extract_radiograph(b"body", kind) == b"body"
        return
    with pytest.raises(Problem) as caught:
        extract_radiograph(b"body", kind)
    assert (caught.value.status_code, caught.value.code) == (415, "content_type")


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (multipart(b"\r\na"), "multipart/related", "without its boundary"),
        (multipart(b"\r\na"), f"multipart/related; boundary={'b' * 71}", "without its boundary"),
        (multipart(b"\r\na", end=b""), FORM, "cut or empty"),
        (b"--x--\r\n", FORM, "cut or empty|broken"),
        (b"nothing", FORM, "broken"),
        (multipart(*[b"\r\na"] * 65), FORM, "more than 64 parts"),
        (multipart(b"A: " + b"v" * 4097 + b"\r\n\r\na"), FORM, "too long"),
        (multipart(b"".join(b"A%d: v\r\n" % n for n in range(20)) + b"\r\na"), FORM, "too long|broken"),
    ],
)
def test_broken_multipart_bodies_are_refused(body, kind, words):
    with pytest.raises(Problem, match=words) as caught:
        parse_multipart(body, kind)
    assert (caught.value.status_code, caught.value.code) == (400, "malformed_request")


def test_64_parts_with_headers_of_4096_bytes_are_read():
    parts = parse_multipart(multipart(*[b"A-B: " + b"v" * 4096 + b"\r\n\r\nc"] * 64), FORM)
    assert len(parts) == 64
    assert parts[63].headers == {"a-b": "v" * 4096}
    assert bytes(parts[63].data) == b"c"


def test_every_instance_of_a_store_request_is_dicom():
    related = 'multipart/related; type="application/dicom"; boundary=x'
    typed, plain = b"Content-Type: Application/DICOM; a=b\r\n\r\none", b"\r\ntwo"
    assert extract_instances(multipart(typed, plain), related) == [b"one", b"two"]
    for body, kind in ((multipart(typed, b"Content-Type: text/plain\r\n\r\nx"), related), (multipart(typed), FORM)):
        with pytest.raises(Problem) as caught:
            extract_instances(body, kind)
        assert (caught.value.status_code, caught.value.code) == (415, "content_type")
