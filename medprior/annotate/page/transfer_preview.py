"""What a drawing does: carried over to a few other patients, shown as pictures."""

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


def create_command_transfer(cohort: Path) -> Transfer:
    """Carries an annotation over by `medprior prior --method registered`, in its own process."""

    def transfer(annotation: Path, image_ids: tuple[str, ...], out: Path) -> None:
        """Write the prior of `image_ids` to `out`; MedpriorError where the command refuses."""
        line = [
            sys.executable, "-m", "medprior", "prior", str(cohort), str(out),
            "--annotation", str(annotation), "--method", "registered",
            "--only", ",".join(image_ids), "--workers", "1", "--no-tracking",
        ]  # fmt: skip
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=TRANSFER_TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise MedpriorError("it took too long", where="medprior prior") from None
        if done.returncode:
            refused = done.returncode == MedpriorError.exit_code
            said = done.stderr.strip().splitlines()[-1:] if refused else []
            raise MedpriorError(" ".join(said) or "it failed", where="carrying over")

    return transfer


@dataclass(frozen=True)
class TransferPanel:
    """One other patient with the drawing carried over.

    Attributes:
        image_id: of the cohort.
        doubt: why to look twice, in words; '' where nothing speaks against it.
        picture: PNG with the contours.
    """

    image_id: str
    doubt: str
    picture: bytes = field(repr=False)


@dataclass(frozen=True)
class TransferState:
    """How far it has come: `none`, `running`, `done` or `failed`."""

    state: str = "none"
    message: str = ""
    panels: tuple[TransferPanel, ...] = ()


class TransferPreview:
    """Carries the latest drawing over, one at a time, beside the page.

    Args:
        cohort: whose patients.
        transfer: makes a prior of an annotation for a few images.
    """

    def __init__(self, cohort: Cohort, transfer: Transfer) -> None:
        self._cohort, self._transfer = cohort, transfer
        self._pool = ThreadPoolExecutor(1, "carrying")
        self._lock, self._latest = threading.Lock(), 0
        self._carried = TransferState()

    @property
    def carried(self) -> TransferState:
        """The state of the latest drawing."""
        with self._lock:
            return self._carried

    def start(self, annotation: Annotation, folder: Path) -> None:
        """Begin anew with an annotation that was saved to `folder`; returns at once."""
        with self._lock:
            self._latest += 1
            number = self._latest
            self._carried = TransferState("running", "The drawing is being carried over.")
        self._pool.submit(self._run, number, annotation, folder)

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, number: int, annotation: Annotation, folder: Path) -> None:
        if number != self._latest:
            return
        try:
            found = TransferState("done", "", self._panels(annotation, folder))
        except MedpriorError as error:
            found = TransferState("failed", str(error))
        except Exception as error:
            # A bug: its kind is for the page, its words may hold paths.
            found = TransferState("failed", f"an unforeseen error ({type(error).__name__})")
        with self._lock:
            if number == self._latest:
                self._carried = found

    def _panels(self, annotation: Annotation, folder: Path) -> tuple[TransferPanel, ...]:
        chosen = select_varied_images(self._cohort, PREVIEW_PATIENTS, find_same_images(self._cohort, annotation))
        if not chosen:
            raise MedpriorError("the cohort has no other patient to show", where="carrying over")
        with tempfile.TemporaryDirectory(prefix="medprior-annotate-") as place:
            out = Path(place) / "prior"
            self._transfer(folder, chosen, out)
            names = json.loads((out / "prior.json").read_text(encoding="utf-8"))["names"]
            maps = np.load(out / "per_image.npy", allow_pickle=False)
            table = pd.read_parquet(out / "per_image.parquet")
        doubts = table["doubt"].tolist() if "doubt" in table else [""] * len(table)
        panels = []
        for row, (image_id, trust) in enumerate(zip(table.image_id, table.trust, strict=True)):
            layers = dict(zip(names, maps[row].astype(np.float32) / 255, strict=True))
            image = overlay_map_contours(self._cohort.pixels(image_id), layers, LONGEST_SIDE_PX)
            panels.append(
                TransferPanel(str(image_id), format_doubt(str(doubts[row]), float(trust)), encode_picture_png(image))
            )
        return tuple(panels)


def format_doubt(doubt: str, trust: float) -> str:
    """Why maps are doubtful, from a prior's `doubt` and `trust` columns."""
    words = [word for word in re.split(r"[^a-z_]+", doubt) if word]
    if trust < 1 and not words:
        words = ["registration"]
    return "; ".join(DOUBT_REASONS.get(word, word.replace("_", " ")) for word in words)


def find_same_images(cohort: Cohort, annotation: Annotation) -> frozenset[str]:
    """Images of the cohort that are the annotated one, by name or by their pixels."""
    manifest = cohort.manifest
    same = manifest.image_id == annotation.image_id
    if annotation.pixel_sha256:
        same |= manifest.pixel_sha256 == annotation.pixel_sha256
    return frozenset(manifest.image_id[same].tolist())
