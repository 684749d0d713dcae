"""`medprior doctor`: test what this installation can decode, compute and track."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from medprior.errors import MedpriorError
from medprior.observer import Observer

BYTES_PER_GIB = 2**30
CPU_TORCH_HINT = (
    "torch has CUDA, 4 GB, and no GPU uses it; without it: "
    "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def result_folder(args: argparse.Namespace) -> Path:
    """The current folder; the doctor writes nothing."""
    return Path()


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Print the report.

    Raises:
        MedpriorError: a transfer syntax has a wrong decoder, or none that works.
    """
    report = {name: section() for name, section in REPORT_SECTIONS.items()}
    print(json.dumps(report, indent=2) if args.json else "\n".join(format_doctor_tables(report)))
    trials = report["decoders"]
    wrong = {trial["syntax"] for trial in trials if trial["state"] == "wrong"}
    working = {trial["syntax"] for trial in trials if trial["state"] != "failed"}
    undecodable = wrong | ({trial["syntax"] for trial in trials} - working)
    if undecodable:
        raise MedpriorError(
            "these transfer syntaxes are not decoded right here",
            where="decoders",
            found=", ".join(sorted(undecodable)),
            fix="reinstall with the constraints file",
        )


def describe_machine() -> list[dict[str, Any]]:
    """System, cores, memory and disk."""
    psutil: Any = importlib.import_module("psutil")
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(Path.cwd())
    return [
        {"what": "system", "found": f"{platform.system()} {platform.machine()}"},
        {"what": "cores", "found": str(len(os.sched_getaffinity(0)))},
        {
            "what": "memory",
            "found": f"{memory.available / BYTES_PER_GIB:.1f} of {memory.total / BYTES_PER_GIB:.1f} GiB free",
        },
        {"what": "disk here", "found": f"{disk.free / BYTES_PER_GIB:.1f} GiB free"},
    ]


def list_package_versions() -> list[dict[str, Any]]:
    """Versions of the packages that affect results."""
    from medprior.provenance import collect_versions

    return [{"what": name, "found": version} for name, version in collect_versions().items()]


def list_resources() -> list[dict[str, Any]]:
    """Where the files are that come with medprior."""
    from medprior.resources import find_anatomy_model, find_resource_folder

    finders: dict[str, Callable[[], Path]] = {
        "bundles": lambda: find_resource_folder("bundles"),
        "data manifests": lambda: find_resource_folder("data_manifests"),
        "anatomy model": find_anatomy_model,
    }
    rows = []
    for what, find in finders.items():
        try:
            rows.append({"what": what, "found": str(find())})
        except MedpriorError as error:
            rows.append({"what": what, "found": f"{error.what}; {error.fix}"})
    return rows


def list_devices() -> list[dict[str, Any]]:
    """Devices that torch can use."""
    import torch

    devices = [{"what": "cpu", "found": f"{torch.get_num_threads()} threads"}]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        text = f"{properties.name}, {properties.total_memory / BYTES_PER_GIB:.0f} GiB, {bf16}"
        devices.append({"what": f"cuda:{index}", "found": text})
    if torch.version.cuda and len(devices) == 1:
        devices.append({"what": "hint", "found": CPU_TORCH_HINT})
    return devices


def describe_tracking() -> list[dict[str, Any]]:
    """Whether MLflow can be imported, and the store it writes to."""
    start = time.perf_counter()
    try:
        import mlflow
    except Exception as error:
        return [{"what": "mlflow", "found": f"cannot be imported ({type(error).__name__})"}]
    seconds = time.perf_counter() - start
    store = os.environ.get("MLFLOW_TRACKING_URI")
    return [
        {"what": "mlflow", "found": f"{mlflow.__version__}, imported in {seconds:.1f} s"},
        {"what": "store", "found": "MLFLOW_TRACKING_URI" if store else "sqlite:///mlflow.db"},
    ]


def list_sandbox_barriers() -> list[dict[str, Any]]:
    """What a decoding process that an attacker has taken over cannot do here, each tried."""
    from medprior.workers.confinement_check import check_confinement
    from medprior.workers.messages import MessageError
    from medprior.workers.sandbox import ProcessStartError

    try:
        barriers = check_confinement()
    except (ProcessStartError, MessageError) as error:
        return [{"what": "decoding process", "found": f"does not start ({type(error).__name__})"}]
    return [
        {"what": barrier, "found": "holds" if holds else "does NOT hold here"} for barrier, holds in barriers.items()
    ]


def list_decoder_trials() -> list[dict[str, Any]]:
    """Every transfer syntax with the result of each of its decoders."""
    from medprior.dicom.decoding.decoder_check import try_decoders

    return [
        {
            "syntax": trial.name,
            "decoder": trial.plugin,
            "state": trial.state,
            "ms_per_megapixel": (None if math.isnan(trial.milliseconds) else round(trial.milliseconds, 1)),
        }
        for trial in try_decoders()
    ]


REPORT_SECTIONS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "machine": describe_machine,
    "packages": list_package_versions,
    "devices": list_devices,
    "resources": list_resources,
    "tracking": describe_tracking,
    "sandbox": list_sandbox_barriers,
    "decoders": list_decoder_trials,
}


def format_doctor_tables(report: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The sections as lines of aligned text."""
    for name, rows in report.items():
        yield f"\n{name}"
        cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        for line in cells:
            padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
            yield "  " + "  ".join(padded).rstrip()
    yield "\ndecoders: ms per megapixel; the first correct decoder of each syntax is used"
