"""Time from handing a radiograph to the reading page until its answer is there.

    python -m tests.deploy.measure_page [--times 20] [--side 2048]

`medprior serve` with the anatomy model, in Chromium on the same machine; the file is uncompressed DICOM. The browser's
time runs from the request's start to the answer's last byte, upload and download included; the server's from the last
byte of the upload to the whole answer.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from medprior.bench.deploy import create_good_files
from medprior.resources import find_anatomy_model
from tests.chromium import chromium
from tests.deploy.read_examples import read_on_page
from tests.deploy.serving import run_service

WARM_UP = 3
LIST_DURATIONS = """
return performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/v1/predict"))
  .map((entry) => entry.duration);
"""


def sum_answer_seconds(url):
    """Seconds that the server has spent on answers."""
    text = httpx.get(url + "metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    (seconds,) = [sample.value for sample in samples if sample.name == "medprior_service_answer_seconds_sum"]
    return seconds


def format_times(milliseconds):
    """Median with least and greatest."""
    return f"{statistics.median(milliseconds):.0f} ms [{min(milliseconds):.0f}, {max(milliseconds):.0f}]"


def main():
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--side", type=int, default=2048)
    args = parser.parse_args()
    server = []
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "radiograph.dcm"
        file.write_bytes(create_good_files(args.side, ("uncompressed",))["uncompressed"])
        service = run_service(find_anatomy_model(), None, Path(temporary) / "log", threads=2)
        with service as (url, _), chromium(1280, 720) as browser:
            browser.get(url)
            for _ in range(WARM_UP + args.times):
                before = sum_answer_seconds(url)
                assert read_on_page(browser, file)[0] == "read"
                server.append(1000 * (sum_answer_seconds(url) - before))
            durations = browser.execute_script(LIST_DURATIONS)
    print(f"browser {format_times(durations[WARM_UP:])}, server {format_times(server[WARM_UP:])}, n {args.times}")


if __name__ == "__main__":
    main()
