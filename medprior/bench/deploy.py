"""The service under load and under attack, and one image on its own; `medprior bench deploy`.

A ViT-S/16 at 224 pixels (Touvron et al. 2021) classifies and another segments, with random weights
in the real model format. Processes of their own serve, and answer single images.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from medprior.bench.deploy_inputs import good_files, hostile_bodies, random_model

REQUESTS, AT_ONCE, WARM_UP = 1000, 16, 160
GOOD_SIDE = 1024
SINGLE = 20
GROWTH_MB, SINGLE_SECONDS, DECODED_SECONDS, SINGLE_MB = 50, 1.0, 0.15, 1536
Body = tuple[str, bytes, str]  # name, content, content type


@dataclass(frozen=True)
class Answered:
    """One request's outcome."""

    name: str
    status: int
    seconds: float
    content: bytes


def bodies() -> list[Body]:
    """Good and hostile bodies, in turn."""
    good = [(n, b, "application/octet-stream") for n, b in good_files(GOOD_SIDE).items()]
    bad = [(name, body, kind) for name, (body, kind) in hostile_bodies().items()]
    return [item for n, one in enumerate(bad) for item in (good[n % len(good)], one)]


def post(url: str, body: Body) -> Answered:
    """Send one body to the service; 0 is the status of a connection that broke."""
    name, content, kind = body
    request = Request(f"{url}v1/predict", content, {"Content-Type": kind}, method="POST")
    start = time.perf_counter()
    try:
        with urlopen(request, timeout=120) as answer:
            status, said = answer.status, answer.read()
    except HTTPError as error:
        status, said = error.code, error.read()
    except OSError:
        status, said = 0, b""
    return Answered(name, status, time.perf_counter() - start, said)


@contextmanager
def served(models: list[str]) -> Iterator[tuple[str, int]]:
    """A running, warm service: its address and process id."""
    command = [sys.executable, "-m", "medprior", "serve", *models, "--port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                log.seek(0)
                raise RuntimeError(f"the service did not start: {log.read()[-500:]}")
            url = line.split()[-1]
            while not ready(url):
                time.sleep(0.2)
            yield url, process.pid
        finally:
            process.terminate()
            print(f"  ended with status {process.wait(60)}, wanted 0")


def ready(url: str) -> bool:
    """Whether the self-test has passed."""
    try:
        with urlopen(f"{url}ready", timeout=10) as answer:
            return bool(answer.status == 200)
    except HTTPError:
        return False


def memory(pid: int) -> dict[str, float]:
    """Resident MiB of a process, and of its descendants together."""
    import psutil as untyped

    psutil: Any = untyped
    root = psutil.Process(pid)
    others = 0.0
    for child in root.children(recursive=True):
        try:
            others += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return {"server": root.memory_info().rss / 2**20, "decoders": others / 2**20}


class Peak(threading.Thread):
    """Follows the largest resident size of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.most, self.running = pid, 0.0, True

    def run(self) -> None:
        """Look twice a second."""
        while self.running:
            self.most = max(self.most, sum(memory(self.pid).values()))
            time.sleep(0.5)


def fired(url: str, wanted: list[Body], count: int) -> list[Answered]:
    """Send `count` of the bodies in turn, 16 at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda n: post(url, wanted[n % len(wanted)]), range(count)))


def load(models: list[str], count: int) -> bool:
    """Load the service with good and hostile bodies; print and judge what it did."""
    wanted = bodies()
    good = wanted[0]
    with served(models) as (url, pid):
        fired(url, wanted, WARM_UP)
        before, small = post(url, good).content, memory(pid)
        peak = Peak(pid)
        peak.start()
        start = time.perf_counter()
        answers = fired(url, wanted, count)
        seconds = time.perf_counter() - start
        peak.running = False
        after, large = post(url, good).content, memory(pid)
    counts = Counter(item.status for item in answers)
    fine = sorted(item.seconds for item in answers if item.status == 200)
    bad = sorted(item.seconds for item in answers if 400 <= item.status < 500)
    growth = large["server"] - small["server"]
    wrong = sorted({a.name for a in answers if not 200 <= a.status < 500})
    expected = sum(wanted[n % len(wanted)][2] == good[2] for n in range(count))
    print(f"{count} requests, {AT_ONCE} at a time, good ones {GOOD_SIDE} x {GOOD_SIDE}:")
    print(f"  statuses {dict(sorted(counts.items()))}; {expected} good; wrong: {wrong or 'none'}")
    print(f"  {count / seconds:.1f} requests/s; good {percentiles(fine)}; bad {percentiles(bad)}")
    print(
        f"  server {small['server']:.0f} MiB after {WARM_UP} requests, {large['server']:.0f} MiB "
        f"after {count} more: growth {growth:.0f}, target < {GROWTH_MB}"
    )
    print(f"  decoders {large['decoders']:.0f} MiB; peak of all {peak.most:.0f} MiB")
    print(f"  answer before and after the same: {before == after}")
    return not wrong and counts[200] == expected and before == after and growth < GROWTH_MB


def percentiles(seconds: list[float]) -> str:
    """Median and 95th percentile of sorted seconds, as milliseconds."""
    if not seconds:
        return "none"
    p95 = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
    return f"p50 {1000 * statistics.median(seconds):.0f} ms, p95 {1000 * p95:.0f} ms"


def single(models: list[str], files: Path) -> dict[str, Any]:
    """Warm latency and memory of one image, in this process; run in a clean one."""
    import resource

    from medprior.deploy import load_model
    from medprior.deploy.service.dynamic_batching import Gathering
    from medprior.dicom import read_image

    options = dict(zip(models[::2], models[1::2], strict=True))
    predictor = load_model(options["--model"], segmenter=options.get("--segmenter"))
    found: dict[str, Any] = {}
    for name in ("jpeg_2000", "uncompressed"):
        data = (files / name).read_bytes()
        found[name] = timed(functools.partial(predictor.predict, data))
    decoded = read_image(files / "uncompressed")
    found["decoded"] = timed(lambda: predictor.read(decoded))
    gathering = Gathering(most=1)
    served = gathering.predictor(predictor)
    found["as served"] = timed(lambda: served.read(decoded))
    gathering.close()
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def timed(work: Any) -> dict[str, float]:
    """Median elapsed and processor seconds of 20 calls, after two to warm up."""
    elapsed, spent = [], []
    for _ in range(SINGLE + 2):
        start, cpu = time.perf_counter(), time.process_time()
        work()
        elapsed.append(time.perf_counter() - start)
        spent.append(time.process_time() - cpu)
    return {"elapsed": statistics.median(elapsed[2:]), "processor": statistics.median(spent[2:])}


def alone(models: list[str], files: Path, what: str) -> None:
    """Print `single`, measured in a process of its own."""
    script = (
        "import json, sys; from pathlib import Path; from medprior.bench.deploy import single; "
        "print(json.dumps(single(json.loads(sys.argv[1]), Path(sys.argv[2]))))"
    )
    command = [sys.executable, "-c", script, json.dumps(models), str(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"one 2048 x 2048 image, warm, median of {SINGLE}, {what}, {os.cpu_count()} cores:")
    for name, target in (
        ("jpeg_2000", SINGLE_SECONDS), ("uncompressed", None), ("decoded", DECODED_SECONDS),
        ("as served", DECODED_SECONDS),
    ):  # fmt: skip
        times = found[name]
        aim = f", target {1000 * target:.0f} ms" if target else ""
        print(
            f"  {name:<13}{1000 * times['elapsed']:6.0f} ms (processor "
            f"{1000 * times['processor']:.0f} ms){aim}"
        )
    print(f"  peak memory  {found['peak_mb']:6.0f} MiB, target {SINGLE_MB} MiB")


def main(count: int | None = None) -> None:
    """Print everything; `MEDPRIOR_BENCH_REQUESTS` changes the number of requests."""
    count = count or int(os.environ.get("MEDPRIOR_BENCH_REQUESTS", REQUESTS))
    with tempfile.TemporaryDirectory(prefix="medprior-") as folder:
        root = Path(folder)
        classifier = str(random_model(root / "classifier", "classification"))
        segmenter = str(random_model(root / "segmenter", "segmentation"))
        both = ["--model", classifier, "--segmenter", segmenter]
        files = root / "files"
        files.mkdir()
        for name, content in good_files(2048, ("uncompressed", "jpeg_2000")).items():
            (files / name).write_bytes(content)
        alone(["--model", classifier], files, "findings")
        alone(both, files, "findings and masks")
        kept = load(both, count)
    print("all kept" if kept else "NOT all kept")
