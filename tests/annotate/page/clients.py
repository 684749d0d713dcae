"""Test clients of the drawing page, and what they send."""

import io

from fastapi.testclient import TestClient
from PIL import Image
from pydantic import SecretStr

from medprior.annotate.page.app import create_drawing_app
from medprior.dicom import read_image
from medprior.pages.access import AccessSettings

TOKEN = "a token of enough characters"


def read_radiograph_bytes(data):
    """The reader of opened files, in this process."""
    return read_image(io.BytesIO(data))


def png(values):
    """Grey levels as PNG."""
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def client_of(session, preview=None, suggestions=None):
    """A client of the page of this session, with its token."""
    access = AccessSettings(token=SecretStr(TOKEN), max_bytes=2**20)
    client = TestClient(
        create_drawing_app(session, preview, access, suggestions=suggestions), base_url="http://127.0.0.1:8080"
    )
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    return client


def drawing_of(key, **contours):
    """The body of a save: one contour per structure."""
    parts = [{"name": name, "contours": [points]} for name, points in contours.items()]
    return {"picture": key, "structures": parts, "author": "someone"}
