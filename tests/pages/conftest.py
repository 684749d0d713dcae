"""A small real server in a process of its own, guarded like every page."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

SCRIPT = """
import asyncio, json, sys
from starlette.requests import Request
from medprior.pages.access import AccessSettings
from medprior.pages.app import create_page_app
from medprior.pages.serving import open_listener, serve_app

access = AccessSettings.checked(json.loads(sys.argv[1]))
app = create_page_app("test", access)

@app.get("/health")
async def health() -> dict:
    return {"alive": True}

@app.get("/number")
async def number(n: int) -> dict:
    return {"n": n}

@app.post("/echo")
async def echo(request: Request) -> dict:
    return {"bytes": len(await request.body())}

@app.post("/form")
async def form(request: Request) -> dict:
    async with request.form() as fields:
        return {"fields": len(fields)}

@app.get("/slow")
async def slow() -> dict:
    await asyncio.sleep(1.5)
    return {"slept": True}

@app.get("/bug")
async def bug() -> dict:
    raise ValueError("DOE^JOHN")

serve_app(app, access, open_listener(access))
"""


@contextmanager
def running(**access):
    """Port and process of a server; its stderr is kept for the end."""
    settings = json.dumps({"port": 0} | access)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        yield url, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def plain():
    """Address of a server without a token that takes bodies of 64 KiB within a second."""
    with running(max_bytes=65536, body_seconds=1, header_seconds=1) as (url, _):
        yield url


TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def locked():
    """Address of a server with a token."""
    with running(token=TOKEN, names=["reading.example"]) as (url, _):
        yield url.partition("?")[0]
