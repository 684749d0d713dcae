"""`medprior bench deploy`: the service under valid and hostile load, and latency of one image.

One ViT-S/16 at 224 pixels (Touvron et al. 2021) classifies and another segments, both with random
weights in the real model format. The service and the single images run in separate processes.
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

from medprior.bench.cold_start import print_cold_start
from medprior.bench.deploy_inputs import create_good_files, create_hostile_bodies, create_random_model

REQUEST_COUNT, CONCURRENT_REQUESTS, WARM_UP_REQUESTS = 1000, 16, 160
GOOD_SIDE_PX = 1024
SINGLE_REPEATS = 20
MAX_GROWTH_MIB, MAX_SINGLE_SECONDS, MAX_DECODED_SECONDS, MAX_SINGLE_MIB = 50, 1.0, 0.15, 1536
RequestBody = tuple[str, bytes, str]  # name, content, content type


@dataclass(frozen=True)
class RequestOutcome:
    """Response to one request."""

    name: str
    status: int
    seconds: float
    content: bytes


def build_request_bodies() -> list[RequestBody]:
    """Good and hostile bodies, alternating."""
    good = [(n, b, "application/octet-stream") for n, b in create_good_files(GOOD_SIDE_PX).items()]
    bad = [(name, body, kind) for name, (body, kind) in create_hostile_bodies().items()]
    return [item for n, hostile in enumerate(bad) for item in (good[n % len(good)], hostile)]


def post_body(url: str, body: RequestBody) -> RequestOutcome:
    """Send one body to the service; a broken connection has status 0."""
    name, content, kind = body
    request = Request(f"{url}v1/predict", content, {"Content-Type": kind}, method="POST")
    start = time.perf_counter()
    try:
        with urlopen(request, timeout=120) as response:
            status, response_body = response.status, response.read()
    except HTTPError as error:
        status, response_body = error.code, error.read()
    except OSError:
        status, response_body = 0, b""
    return RequestOutcome(name, status, time.perf_counter() - start, response_body)


@contextmanager
def run_bench_service(models: list[str]) -> Iterator[tuple[str, int]]:
    """A running, ready service: its address and process id."""
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
        with urlopen(f"{url}ready", timeout=10) as response:
            return bool(response.status == 200)
    except HTTPError:
        return False


def measure_memory_mib(pid: int) -> dict[str, float]:
    """Resident MiB of a process, and the sum over its descendants."""
    import psutil as untyped

    psutil: Any = untyped
    root = psutil.Process(pid)
    descendants = 0.0
    for child in root.children(recursive=True):
        try:
            descendants += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return {"server": root.memory_info().rss / 2**20, "decoders": descendants / 2**20}


class PeakMemoryMonitor(threading.Thread):
    """Records the largest resident size of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_mib, self.running = pid, 0.0, True

    def run(self) -> None:
        """Measure twice a second."""
        while self.running:
            self.peak_mib = max(self.peak_mib, sum(measure_memory_mib(self.pid).values()))
            time.sleep(0.5)


def send_requests(url: str, bodies: list[RequestBody], count: int) -> list[RequestOutcome]:
    """Send `count` of the bodies in turn, `CONCURRENT_REQUESTS` at a time."""
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        return list(pool.map(lambda n: post_body(url, bodies[n % len(bodies)]), range(count)))


def run_load_test(models: list[str], count: int) -> bool:
    """Load the service with good and hostile bodies; print the results and return whether they pass."""
    bodies = build_request_bodies()
    good = bodies[0]
    with run_bench_service(models) as (url, pid):
        send_requests(url, bodies, WARM_UP_REQUESTS)
        before, memory_before = post_body(url, good).content, measure_memory_mib(pid)
        peak = PeakMemoryMonitor(pid)
        peak.start()
        start = time.perf_counter()
        outcomes = send_requests(url, bodies, count)
        seconds = time.perf_counter() - start
        peak.running = False
        after, memory_after = post_body(url, good).content, measure_memory_mib(pid)
    counts = Counter(item.status for item in outcomes)
    good_seconds = sorted(item.seconds for item in outcomes if item.status == 200)
    bad_seconds = sorted(item.seconds for item in outcomes if 400 <= item.status < 500)
    growth = memory_after["server"] - memory_before["server"]
    wrong = sorted({a.name for a in outcomes if not 200 <= a.status < 500})
    expected = sum(bodies[n % len(bodies)][2] == good[2] for n in range(count))
    print(f"{count} requests, {CONCURRENT_REQUESTS} at a time, good ones {GOOD_SIDE_PX} x {GOOD_SIDE_PX}:")
    print(f"  statuses {dict(sorted(counts.items()))}; {expected} good; wrong: {wrong or 'none'}")
    print(
        f"  {count / seconds:.1f} requests/s; good {format_percentiles(good_seconds)}; "
        f"bad {format_percentiles(bad_seconds)}"
    )
    print(
        f"  server {memory_before['server']:.0f} MiB after {WARM_UP_REQUESTS} requests, "
        f"{memory_after['server']:.0f} MiB after {count} more: growth {growth:.0f}, target < {MAX_GROWTH_MIB}"
    )
    print(f"  decoders {memory_after['decoders']:.0f} MiB; peak of all {peak.peak_mib:.0f} MiB")
    print(f"  answer before and after the same: {before == after}")
    return not wrong and counts[200] == expected and before == after and growth < MAX_GROWTH_MIB


def format_percentiles(seconds: list[float]) -> str:
    """Median and 95th percentile of sorted seconds, as milliseconds."""
    if not seconds:
        return "none"
    p95 = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
    return f"p50 {1000 * statistics.median(seconds):.0f} ms, p95 {1000 * p95:.0f} ms"


def measure_single_image(models: list[str], files: Path) -> dict[str, Any]:
    """Warm latency and memory of one image, measured in this process, which must be a new one."""
    import resource

    from medprior.deploy import load_model
    from medprior.deploy.service.dynamic_batching import DynamicBatcher
    from medprior.dicom import read_image

    options = dict(zip(models[::2], models[1::2], strict=True))
    predictor = load_model(options["--model"], segmenter=options.get("--segmenter"))
    results: dict[str, Any] = {}
    for name in ("jpeg_2000", "uncompressed"):
        data = (files / name).read_bytes()
        results[name] = measure_call_seconds(functools.partial(predictor.predict, data))
    decoded = read_image(files / "uncompressed")
    results["decoded"] = measure_call_seconds(lambda: predictor.predict_radiograph(decoded))
    batcher = DynamicBatcher(max_batch=1)
    served = batcher.predictor(predictor)
    results["as served"] = measure_call_seconds(lambda: served.predict_radiograph(decoded))
    batcher.close()
    results["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return results


def measure_call_seconds(call: Any) -> dict[str, float]:
    """Median elapsed and processor seconds of `SINGLE_REPEATS` calls, after two to warm up."""
    elapsed, processor = [], []
    for _ in range(SINGLE_REPEATS + 2):
        start, cpu = time.perf_counter(), time.process_time()
        call()
        elapsed.append(time.perf_counter() - start)
        processor.append(time.process_time() - cpu)
    return {"elapsed": statistics.median(elapsed[2:]), "processor": statistics.median(processor[2:])}


def print_single_image(models: list[str], files: Path, tasks: str) -> None:
    """Print `measure_single_image`, run in a separate process."""
    script = (
        "import json, sys; from pathlib import Path; from medprior.bench.deploy import measure_single_image; "
        "print(json.dumps(measure_single_image(json.loads(sys.argv[1]), Path(sys.argv[2]))))"
    )
    command = [sys.executable, "-c", script, json.dumps(models), str(files)]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    results = json.loads(completed.stdout.splitlines()[-1])
    print(f"one 2048 x 2048 image, warm, median of {SINGLE_REPEATS}, {tasks}, {os.cpu_count()} cores:")
    for name, target in (
        ("jpeg_2000", MAX_SINGLE_SECONDS), ("uncompressed", None), ("decoded", MAX_DECODED_SECONDS),
        ("as served", MAX_DECODED_SECONDS),
    ):  # fmt: skip
        times = results[name]
        limit = f", target {1000 * target:.0f} ms" if target else ""
        print(f"  {name:<13}{1000 * times['elapsed']:6.0f} ms (processor {1000 * times['processor']:.0f} ms){limit}")
    print(f"  peak memory  {results['peak_mb']:6.0f} MiB, target {MAX_SINGLE_MIB} MiB")


def main(count: int | None = None) -> None:
    """Print all measurements; `MEDPRIOR_BENCH_REQUESTS` sets the number of requests."""
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
        print_cold_start(files / "uncompressed", Path(segmenter))
        print_single_image(["--model", segmenter], files, "masks")
        print_single_image(["--model", classifier], files, "findings")
        print_single_image(both, files, "findings and masks")
        passed = run_load_test(both, count)
    print("all kept" if passed else "NOT all kept")
