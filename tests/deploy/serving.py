"""The service as a process, and a visitor's request to it."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

CANARY = "CANARYDOE"
TOKEN = "correct-horse-battery-staple"


@contextlib.contextmanager
def run_service(model: Path, segmenter: Path | None, log: Path, *options: str, threads: int = 1):
    """Address and process of a server that has passed its self-test."""
    command = [sys.executable, "-m", "medprior", "serve", "--model", str(model), "--port", "0"]
    command += ["--segmenter", str(segmenter)] if segmenter else []
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        url = line.split()[-1]
        deadline = time.monotonic() + 60
        while httpx.get(urlsplit(url)._replace(path="/ready").geturl()).status_code != 200:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield url.partition("?")[0], process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=300)


def post_radiograph(url: str, data: bytes, kind: str = "application/dicom", **params) -> httpx.Response:
    """The answer of `/v1/predict` to a body of that content type."""
    headers = {"Content-Type": kind} if kind else {}
    return httpx.post(url + "v1/predict", content=data, headers=headers, params=params, timeout=60)
