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

from medprior.bench.deploy_inputs import create_good_files, create_hostile_bodies, create_random_model

REQUEST_COUNT, CONCURRENT_REQUESTS, WARM_UP_REQUESTS = 1000, 16, 160
GOOD_SIDE_PX = 1024
SINGLE_REPEATS = 20
MAX_GROWTH_MIB, MAX_SINGLE_SECONDS, MAX_DECODED_SECONDS, MAX_SINGLE_MIB = 50, 1.0, 0.15, 1536
RequestBody = tuple[str, bytes, str]  # name, content, content type


@dataclass(frozen=True)
class RequestOutcome:
    """One request's outcome."""

    name: str
    status: int
    seconds: float
    content: bytes


def build_request_bodies() -> list[RequestBody]:
    """Good and hostile bodies, in turn."""
    good = [(n, b, "application/octet-stream") for n, b in create_good_files(GOOD_SIDE_PX).items()]
    bad = [(name, body, kind) for name, (body, kind) in create_hostile_bodies().items()]
    return [item for n, one in enumerate(bad) for item in (good[n % len(good)], one)]


def post_body(url: str, body: RequestBody) -> RequestOutcome:
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
    return RequestOutcome(name, status, time.perf_counter() - start, said)


@contextmanager
def run_bench_service(models: list[str]) -> Iterator[tuple[str, int]]:
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
            while not is_service_ready(url):
                time.sleep(0.2)
            yield url, process.pid
        finally:
            process.terminate()
            print(f"  ended with status {process.wait(60)}, wanted 0")


def is_service_ready(url: str) -> bool:
    """Whether the self-test has passed."""
    try:
        with urlopen(f"{url}ready", timeout=10) as answer:
            return bool(answer.status == 200)
    except HTTPError:
        return False


def measure_memory_mib(pid: int) -> dict[str, float]:
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


class PeakMemoryMonitor(threading.Thread):
    """Follows the largest resident size of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.most, self.running = pid, 0.0, True

    def run(self) -> None:
        """Look twice a second."""
        while self.running:
            self.most = max(self.most, sum(measure_memory_mib(self.pid).values()))
            time.sleep(0.5)


def send_requests(url: str, wanted: list[RequestBody], count: int) -> list[RequestOutcome]:
    """Send `count` of the bodies in turn, 16 at a time."""
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        return list(pool.map(lambda n: post_body(url, wanted[n % len(wanted)]), range(count)))


def run_load_test(models: list[str], count: int) -> bool:
    """Load the service with good and hostile bodies; print and judge what it did."""
    wanted = build_request_bodies()
    good = wanted[0]
    with run_bench_service(models) as (url, pid):
        send_requests(url, wanted, WARM_UP_REQUESTS)
        before, small = post_body(url, good).content, measure_memory_mib(pid)
        peak = PeakMemoryMonitor(pid)
        peak.start()
        start = time.perf_counter()
        answers = send_requests(url, wanted, count)
        seconds = time.perf_counter() - start
        peak.running = False
        after, large = post_body(url, good).content, measure_memory_mib(pid)
    counts = Counter(item.status for item in answers)
    fine = sorted(item.seconds for item in answers if item.status == 200)
    bad = sorted(item.seconds for item in answers if 400 <= item.status < 500)
    growth = large["server"] - small["server"]
    wrong = sorted({a.name for a in answers if not 200 <= a.status < 500})
    expected = sum(wanted[n % len(wanted)][2] == good[2] for n in range(count))
    print(f"{count} requests, {CONCURRENT_REQUESTS} at a time, good ones {GOOD_SIDE_PX} x {GOOD_SIDE_PX}:")
    print(f"  statuses {dict(sorted(counts.items()))}; {expected} good; wrong: {wrong or 'none'}")
    print(f"  {count / seconds:.1f} requests/s; good {format_percentiles(fine)}; bad {format_percentiles(bad)}")
    print(
        f"  server {small['server']:.0f} MiB after {WARM_UP_REQUESTS} requests, {large['server']:.0f} MiB "
        f"after {count} more: growth {growth:.0f}, target < {MAX_GROWTH_MIB}"
    )
    print(f"  decoders {large['decoders']:.0f} MiB; peak of all {peak.most:.0f} MiB")
    print(f"  answer before and after the same: {before == after}")
    return not wrong and counts[200] == expected and before == after and growth < MAX_GROWTH_MIB


def format_percentiles(seconds: list[float]) -> str:
    """Median and 95th percentile of sorted seconds, as milliseconds."""
    if not seconds:
        return "none"
    p95 = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
    return f"p50 {1000 * statistics.median(seconds):.0f} ms, p95 {1000 * p95:.0f} ms"


def measure_single_image(models: list[str], files: Path) -> dict[str, Any]:
    """Warm latency and memory of one image, in this process; run in a clean one."""
    import resource

    from medprior.deploy import load_model
    from medprior.deploy.service.dynamic_batching import DynamicBatcher
    from medprior.dicom import read_image

    options = dict(zip(models[::2], models[1::2], strict=True))
    predictor = load_model(options["--model"], segmenter=options.get("--segmenter"))
    found: dict[str, Any] = {}
    for name in ("jpeg_2000", "uncompressed"):
        data = (files / name).read_bytes()
        found[name] = measure_call_seconds(functools.partial(predictor.predict, data))
    decoded = read_image(files / "uncompressed")
    found["decoded"] = measure_call_seconds(lambda: predictor.read(decoded))
    gathering = DynamicBatcher(max_batch=1)
    served = gathering.predictor(predictor)
    found["as served"] = measure_call_seconds(lambda: served.read(decoded))
    gathering.close()
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def measure_call_seconds(work: Any) -> dict[str, float]:
    """Median elapsed and processor seconds of 20 calls, after two to warm up."""
    elapsed, spent = [], []
    for _ in range(SINGLE_REPEATS + 2):
        start, cpu = time.perf_counter(), time.process_time()
        work()
        elapsed.append(time.perf_counter() - start)
        spent.append(time.process_time() - cpu)
    return {"elapsed": statistics.median(elapsed[2:]), "processor": statistics.median(spent[2:])}


def print_single_image(models: list[str], files: Path, what: str) -> None:
    """Print `single`, measured in a process of its own."""
    script = (
        "import json, sys; from pathlib import Path; from medprior.bench.deploy import measure_single_image; "
        "print(json.dumps(measure_single_image(json.loads(sys.argv[1]), Path(sys.argv[2]))))"
    )
    command = [sys.executable, "-c", script, json.dumps(models), str(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"one 2048 x 2048 image, warm, median of {SINGLE_REPEATS}, {what}, {os.cpu_count()} cores:")
    for name, target in (
        ("jpeg_2000", MAX_SINGLE_SECONDS), ("uncompressed", None), ("decoded", MAX_DECODED_SECONDS),
        ("as served", MAX_DECODED_SECONDS),
    ):  # fmt: skip
        times = found[name]
        aim = f", target {1000 * target:.0f} ms" if target else ""
        print(f"  {name:<13}{1000 * times['elapsed']:6.0f} ms (processor {1000 * times['processor']:.0f} ms){aim}")
    print(f"  peak memory  {found['peak_mb']:6.0f} MiB, target {MAX_SINGLE_MIB} MiB")


def main(count: int | None = None) -> None:
    """Print everything; `MEDPRIOR_BENCH_REQUESTS` changes the number of requests."""
    count = count or int(os.environ.get("MEDPRIOR_BENCH_REQUESTS", REQUEST_COUNT))
    with tempfile.TemporaryDirectory(prefix="medprior-") as folder:
        root = Path(folder)
        classifier = str(create_random_model(root / "classifier", "classification"))
        segmenter = str(create_random_model(root / "segmenter", "segmentation"))
        both = ["--model", classifier, "--segmenter", segmenter]
        files = root / "files"
        files.mkdir()
        for name, content in create_good_files(2048, ("uncompressed", "jpeg_2000")).items():
            (files / name).write_bytes(content)
        print_single_image(["--model", classifier], files, "findings")
        print_single_image(both, files, "findings and masks")
        kept = run_load_test(both, count)
    print("all kept" if kept else "NOT all kept")
