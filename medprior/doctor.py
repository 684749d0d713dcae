"""`medprior doctor`: what this installation can do, tried rather than assumed."""

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


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def result_folder(args: argparse.Namespace) -> Path:
    """The doctor writes nothing."""
    return Path()


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Print what was found.

    Raises:
        MedpriorError: a decoder that medprior depends on gives a wrong picture or none.
    """
    found = {name: section() for name, section in REPORT_SECTIONS.items()}
    print(json.dumps(found, indent=2) if args.json else "\n".join(format_doctor_tables(found)))
    broken = sorted({row["syntax"] for row in found["decoders"] if row["state"] == "wrong"})
    helpless = [
        name
        for name in {row["syntax"] for row in found["decoders"]}
        if all(row["state"] == "failed" for row in found["decoders"] if row["syntax"] == name)
    ]
    if broken or helpless:
        raise MedpriorError(
            "these transfer syntaxes are not decoded right here",
            where="decoders",
            found=", ".join(sorted({*broken, *helpless})),
            fix="reinstall with the constraints file",
        )


def describe_machine() -> list[dict[str, Any]]:
    """Processor, memory, disk."""
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
    """Versions that shape results."""
    from medprior.provenance import collect_versions

    return [{"what": name, "found": version} for name, version in collect_versions().items()]


def list_devices() -> list[dict[str, Any]]:
    """What torch can compute on."""
    import torch

    found = [{"what": "cpu", "found": f"{torch.get_num_threads()} threads"}]
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        text = f"{facts.name}, {facts.total_memory / BYTES_PER_GIB:.0f} GiB, {bf16}"
        found.append({"what": f"cuda:{index}", "found": text})
    return found


def describe_tracking() -> list[dict[str, Any]]:
    """Whether MLflow imports, and which store it would write to."""
    start = time.perf_counter()
    try:
        import mlflow
    except Exception as error:
        return [{"what": "mlflow", "found": f"cannot be imported ({type(error).__name__})"}]
    seconds = time.perf_counter() - start
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return [
        {"what": "mlflow", "found": f"{mlflow.__version__}, imported in {seconds:.1f} s"},
        {"what": "store", "found": "MLFLOW_TRACKING_URI" if named else "sqlite:///mlflow.db"},
    ]


def list_decoder_trials() -> list[dict[str, Any]]:
    """Every transfer syntax with every decoder that may read it."""
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
    "tracking": describe_tracking,
    "decoders": list_decoder_trials,
}


def format_doctor_tables(found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The findings as aligned text."""
    for name, rows in found.items():
        yield f"\n{name}"
        cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        for line in cells:
            padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
            yield "  " + "  ".join(padded).rstrip()
    yield "\ndecoders: ms per megapixel; the first right one of each syntax is used"
