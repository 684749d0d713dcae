"""Real servers for tests: started on a free port, waited for, and ended with their children."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

GIVEN_PORTS: set[int] = set()
"""Ports that this process has handed out: none is given twice."""


def free_port() -> int:
    """A port that is free, and below those that the system gives to outgoing connections."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            if port not in GIVEN_PORTS:
                GIVEN_PORTS.add(port)
                return port


@contextlib.contextmanager
def running(
    command: list[str], ready: str, folder: Path, seconds: float = 120, **environment: str
) -> Iterator[subprocess.Popen]:
    """The process, once GET `ready` answers; its output goes to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # uvicorn
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **environment,
    }
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=settings, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(ready, timeout=2).close()
                break
            said = log.read_text(errors="replace")[-2000:]
            assert process.poll() is None, f"{command[0]} ended: {said}"
            assert time.monotonic() < deadline, f"{command[0]} did not start: {said}"
            time.sleep(0.25)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=20)


@contextlib.contextmanager
def mlflow_server(backend: str, folder: Path, *options: str, **environment: str) -> Iterator[str]:
    """`mlflow server` over a backend store; yields its URI."""
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend,
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *options,
    ]  # fmt: skip
    with running(command, f"http://127.0.0.1:{port}/health", folder, **environment):
        yield f"http://127.0.0.1:{port}"
