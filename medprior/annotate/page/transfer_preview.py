"""Preview of the annotations transferred to a few other patients."""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.annotate.annotation import Annotation
from medprior.annotate.page.drawing_session import SavedExample
from medprior.annotate.page.rendering import encode_picture_png, overlay_map_contours
from medprior.annotate.page.stage_process import run_stage_command
from medprior.annotate.sources import find_same_pixels
from medprior.annotate.typicality import select_varied_images
from medprior.cohort import Cohort
from medprior.errors import MedpriorError

Transfer = Callable[[Sequence[Path], tuple[str, ...], Path], None]
PREVIEW_PATIENTS = 6
LONGEST_SIDE_PX = 480
ENLARGED_SIDE_PX = 1400
ANNOTATED_STATUS = "annotated"
DOUBT_REASONS = {
    "registration": "the two pictures hardly match",
    "disagreement": "the examples disagree",
    "empty": "a structure is missing",
    "lung_ratio": "the lungs differ unusually in size",
    "heart_ratio": "the heart's width is unusual",
}


def create_subprocess_transfer(cohort: Path) -> Transfer:
    """A transfer that runs `medprior prior --method registered` in a separate process."""

    def transfer(annotations: Sequence[Path], image_ids: tuple[str, ...], out: Path) -> None:
        """Write the prior of `image_ids` to `out`; raises MedpriorError where the command fails."""
        sources = [word for folder in annotations for word in ("--annotation", str(folder))]
        options = ["--method", "registered", "--only", ",".join(image_ids), "--workers", "1", "--no-tracking"]
        run_stage_command(["prior", str(cohort), str(out), *sources, *options], "transfer preview")

    return transfer


@dataclass(frozen=True)
class TransferredMaps:
    """The structures of the annotations on one other image.

    Attributes:
        image_id: image of the cohort.
        maps: structure -> float32 [h, h] in [0, 1] over the image.
        doubt: reasons why the maps are doubtful; '' where there are none.
        match: local correlation of the registered images, at most 1.
        is_annotated: whether the maps are the image's own annotation.
        is_next: whether this image is the one worth annotating next.
    """

    image_id: str
    maps: dict[str, NDArray[np.float32]] = field(repr=False)
    doubt: str = ""
    match: float = 1.0
    is_annotated: bool = False
    is_next: bool = False


def transfer_to_images(
    transfer: Transfer, annotations: Sequence[Path], image_ids: tuple[str, ...]
) -> tuple[TransferredMaps, ...]:
    """The maps of each image, in the order of the cohort.

    Raises:
        MedpriorError: the transfer fails.
    """
    with tempfile.TemporaryDirectory(prefix="medprior-annotate-") as temporary:
        out = Path(temporary) / "prior"
        transfer(annotations, image_ids, out)
        record = json.loads((out / "prior.json").read_text(encoding="utf-8"))
        maps = np.load(out / "per_image.npy", allow_pickle=False)
        table = pd.read_parquet(out / "per_image.parquet")
    next_id = next((offer["image_id"] for offer in record.get("next", ())), None)
    return tuple(
        TransferredMaps(
            image_id=str(row["image_id"]),
            maps=dict(zip(record["names"], layers.astype(np.float32) / 255, strict=True)),
            doubt=format_doubt(str(row["doubt"]), float(row["trust"])),
            match=round(float(row["local"]), 2),
            is_annotated=bool(row["status"] == ANNOTATED_STATUS),
            is_next=bool(row["image_id"] == next_id),
        )
        for layers, row in zip(maps, table.to_dict("records"), strict=True)
    )


@dataclass(frozen=True)
class TransferPanel:
    """The transferred annotation on one other patient, and its PNG with the contours."""

    result: TransferredMaps
    picture: bytes = field(repr=False)


@dataclass(frozen=True)
class TransferState:
    """State of the transfer: `none`, `running`, `done` or `failed`."""

    state: str = "none"
    message: str = ""
    panels: tuple[TransferPanel, ...] = ()


class TransferPreview:
    """Transfers the latest annotations in a background thread, one set at a time.

    Args:
        cohort: cohort of the other patients.
        transfer: makes the prior of annotations for a few images.
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

    def start(self, examples: Sequence[SavedExample]) -> None:
        """Start the transfer of saved annotations, and return at once."""
        with self._lock:
            self._latest_number += 1
            number = self._latest_number
            self._state = TransferState("running", "The drawing is being carried over.")
        self._pool.submit(self._run, number, tuple(examples))

    def close(self) -> None:
        """Cancel pending transfers."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def transfer_to(self, image_id: str, annotations: Sequence[Path]) -> TransferredMaps:
        """The annotations transferred to one image, at once.

        Raises:
            MedpriorError: the transfer fails.
        """
        return transfer_to_images(self._transfer, annotations, (image_id,))[0]

    def render_enlarged(self, number: int) -> bytes:
        """A panel of the latest transfer as a large PNG.

        Raises:
            IndexError: there is no such panel.
        """
        return self._render(self.state.panels[number].result, ENLARGED_SIDE_PX)

    def _run(self, number: int, examples: tuple[SavedExample, ...]) -> None:
        if number != self._latest_number:
            return
        try:
            state = TransferState("done", "", self._render_panels(examples))
        except MedpriorError as error:
            state = TransferState("failed", str(error))
        except Exception as error:
            # A bug: the page gets the exception class only, since messages may hold paths.
            state = TransferState("failed", f"an unforeseen error ({type(error).__name__})")
        with self._lock:
            if number == self._latest_number:
                self._state = state

    def _render_panels(self, examples: tuple[SavedExample, ...]) -> tuple[TransferPanel, ...]:
        # Without the first annotated image only, so that a correction is shown on the same patients as before.
        same = find_same_images(self._cohort, examples[0].annotation)
        image_ids = select_varied_images(self._cohort, PREVIEW_PATIENTS, same)
        if not image_ids:
            raise MedpriorError("the cohort has no other patient to show", where="transfer preview")
        results = transfer_to_images(self._transfer, [example.folder for example in examples], image_ids)
        return tuple(TransferPanel(result, self._render(result, LONGEST_SIDE_PX)) for result in results)

    def _render(self, result: TransferredMaps, longest: int) -> bytes:
        return encode_picture_png(overlay_map_contours(self._cohort.pixels(result.image_id), result.maps, longest))


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
