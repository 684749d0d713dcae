"""Preview of an annotation transferred to a few other patients."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from medprior.annotate.annotation import Annotation
from medprior.annotate.page.rendering import encode_picture_png, overlay_map_contours
from medprior.annotate.sources import find_same_pixels
from medprior.annotate.typicality import select_varied_images
from medprior.cohort import Cohort
from medprior.errors import MedpriorError

Transfer = Callable[[Path, tuple[str, ...], Path], None]
PREVIEW_PATIENTS = 6
LONGEST_SIDE_PX = 480
TRANSFER_TIMEOUT_SECONDS = 900
DOUBT_REASONS = {
    "registration": "the two pictures hardly match",
    "disagreement": "the examples disagree",
    "empty": "a structure is missing",
    "lung_ratio": "the lungs differ unusually in size",
    "heart_ratio": "the heart's width is unusual",
}


def create_subprocess_transfer(cohort: Path) -> Transfer:
    """A transfer that runs `medprior prior --method registered` in a separate process."""

    def transfer(annotation: Path, image_ids: tuple[str, ...], out: Path) -> None:
        """Write the prior of `image_ids` to `out`; raises MedpriorError where the command fails."""
        argv = [
            sys.executable, "-m", "medprior", "prior", str(cohort), str(out),
            "--annotation", str(annotation), "--method", "registered",
            "--only", ",".join(image_ids), "--workers", "1", "--no-tracking",
        ]  # fmt: skip
        try:
            process = subprocess.run(
                argv, capture_output=True, text=True, timeout=TRANSFER_TIMEOUT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            what = f"the transfer took longer than {TRANSFER_TIMEOUT_SECONDS} s"
            raise MedpriorError(what, where="medprior prior") from None
        if process.returncode:
            is_refusal = process.returncode == MedpriorError.exit_code
            last_line = process.stderr.strip().splitlines()[-1:] if is_refusal else []
            raise MedpriorError(" ".join(last_line) or "it failed", where="transfer preview")

    return transfer


@dataclass(frozen=True)
class TransferPanel:
    """The transferred annotation on one other patient.

    Attributes:
        image_id: image of the cohort.
        doubt: reasons why the maps are doubtful; '' where there are none.
        picture: PNG with the contours.
    """

    image_id: str
    doubt: str
    picture: bytes = field(repr=False)


@dataclass(frozen=True)
class TransferState:
    """State of the transfer: `none`, `running`, `done` or `failed`."""

    state: str = "none"
    message: str = ""
    panels: tuple[TransferPanel, ...] = ()


class TransferPreview:
    """Transfers the latest annotation in a background thread, one at a time.

    Args:
        cohort: cohort of the other patients.
        transfer: makes the prior of an annotation for a few images.
    """

    def __init__(self, cohort: Cohort, transfer: Transfer) -> None:
        self._cohort, self._transfer = cohort, transfer
        self._pool = ThreadPoolExecutor(1, "carrying")
        self._lock, self._latest_number = threading.Lock(), 0
        self._state = TransferState()

    @property
    def state(self) -> TransferState:
        """The state of the latest transfer."""
        with self._lock:
            return self._state

    def start(self, annotation: Annotation, folder: Path) -> None:
        """Start the transfer of an annotation saved in `folder`, and return at once."""
        with self._lock:
            self._latest_number += 1
            number = self._latest_number
            self._state = TransferState("running", "The drawing is being carried over.")
        self._pool.submit(self._run, number, annotation, folder)

    def close(self) -> None:
        """Cancel pending transfers."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, number: int, annotation: Annotation, folder: Path) -> None:
        if number != self._latest_number:
            return
        try:
            state = TransferState("done", "", self._render_panels(annotation, folder))
        except MedpriorError as error:
            state = TransferState("failed", str(error))
        except Exception as error:
            # A bug: the page gets the exception class only, since messages may hold paths.
            state = TransferState("failed", f"an unforeseen error ({type(error).__name__})")
        with self._lock:
            if number == self._latest_number:
                self._state = state

    def _render_panels(self, annotation: Annotation, folder: Path) -> tuple[TransferPanel, ...]:
        image_ids = select_varied_images(self._cohort, PREVIEW_PATIENTS, find_same_images(self._cohort, annotation))
        if not image_ids:
            raise MedpriorError("the cohort has no other patient to show", where="transfer preview")
        with tempfile.TemporaryDirectory(prefix="medprior-annotate-") as temporary:
            out = Path(temporary) / "prior"
            self._transfer(folder, image_ids, out)
            names = json.loads((out / "prior.json").read_text(encoding="utf-8"))["names"]
            maps = np.load(out / "per_image.npy", allow_pickle=False)
            table = pd.read_parquet(out / "per_image.parquet")
        doubts = table["doubt"].tolist() if "doubt" in table else [""] * len(table)
        panels = []
        for index, (image_id, trust) in enumerate(zip(table.image_id, table.trust, strict=True)):
            layers = dict(zip(names, maps[index].astype(np.float32) / 255, strict=True))
            image = overlay_map_contours(self._cohort.pixels(image_id), layers, LONGEST_SIDE_PX)
            panels.append(
                TransferPanel(str(image_id), format_doubt(str(doubts[index]), float(trust)), encode_picture_png(image))
            )
        return tuple(panels)


def format_doubt(doubt: str, trust: float) -> str:
    """Reasons why maps are doubtful, from the `doubt` and `trust` columns of a prior."""
    codes = [code for code in re.split(r"[^a-z_]+", doubt) if code]
    if trust < 1 and not codes:
        codes = ["registration"]
    return "; ".join(DOUBT_REASONS.get(code, code.replace("_", " ")) for code in codes)


def find_same_images(cohort: Cohort, annotation: Annotation) -> frozenset[str]:
    """Images of the cohort with the id or the pixels of the annotated one."""
    manifest = cohort.manifest
    is_same = (manifest.image_id == annotation.image_id) | find_same_pixels(cohort, annotation)
    return frozenset(manifest.image_id[is_same].tolist())
