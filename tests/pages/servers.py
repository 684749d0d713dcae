"""A small real server in a process of its own, guarded like every page."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx

SCRIPT = """
import asyncio, json, sys
from starlette.requests import Request
from medprior.pages.access import AccessSettings
from medprior.pages.app import create_page_app
from medprior.pages.serving import open_listener, serve_app

access = AccessSettings.from_values(json.loads(sys.argv[1]))
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
        process.communicate(timeout=300)


TOKEN = "correct-horse-battery-staple"


def code(response: httpx.Response) -> str:
    """The code of an error, whose body holds nothing but code and message."""
    assert set(response.json()) == {"code", "message"}
    return response.json()["code"]
