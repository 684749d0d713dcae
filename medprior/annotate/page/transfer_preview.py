"""Preview of the annotations transferred to a few other patients."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medprior.annotate.annotation import Annotation
from medprior.annotate.page.drawing_session import SavedExample
from medprior.annotate.page.rendering import encode_picture_png, overlay_map_contours
from medprior.annotate.page.transfer_process import TransferredMaps
from medprior.annotate.sources import find_same_pixels
from medprior.annotate.typicality import select_varied_images
from medprior.cohort import Cohort
from medprior.errors import MedpriorError

Transfer = Callable[[Sequence[Path], tuple[str, ...], Callable[[TransferredMaps], None]], str | None]
PREVIEW_PATIENTS = 6
LONGEST_SIDE_PX = 480
ENLARGED_SIDE_PX = 1400


@dataclass(frozen=True)
class TransferPanel:
    """The transferred annotation on one other patient, and its PNG with the contours."""

    result: TransferredMaps
    picture: bytes = field(repr=False)


@dataclass(frozen=True)
class TransferState:
    """State of the transfer.

    Attributes:
        state: `none`, `running`, `done` or `failed`.
        message: what is happening or went wrong, or ''.
        count: number of patients.
        panels: of the patients that are done.
        next_id: image that is worth annotating next, known in the end; None where there is none.
    """

    state: str = "none"
    message: str = ""
    count: int = 0
    panels: tuple[TransferPanel, ...] = ()
    next_id: str | None = None


class TransferPreview:
    """Transfers the latest annotations in a background thread, one set at a time; panels appear as they are done.

    Args:
        cohort: cohort of the other patients.
        transfer: as `TransferProcess`, which transfers annotations to a few images.
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
        results: list[TransferredMaps] = []
        self._transfer(annotations, (image_id,), results.append)
        return results[0]

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
            # Without the first annotated image only, so that a correction is shown on the same patients as before.
            same = find_same_images(self._cohort, examples[0].annotation)
            image_ids = select_varied_images(self._cohort, PREVIEW_PATIENTS, same)
            if not image_ids:
                raise MedpriorError("the cohort has no other patient to show", where="transfer preview")
            self._update(number, count=len(image_ids))
            folders = [example.folder for example in examples]
            next_id = self._transfer(folders, image_ids, lambda result: self._add_panel(number, result))
            self._update(number, state="done", message="", next_id=next_id)
        except MedpriorError as error:
            self._update(number, state="failed", message=str(error))
        except Exception as error:
            # A bug: the page gets the exception class only, since messages may hold paths.
            self._update(number, state="failed", message=f"an unforeseen error ({type(error).__name__})")

    def _add_panel(self, number: int, result: TransferredMaps) -> None:
        panel = TransferPanel(result, self._render(result, LONGEST_SIDE_PX))
        self._update(number, panels=(*self.state.panels, panel))

    def _update(self, number: int, **changes: Any) -> None:
        with self._lock:
            if number == self._latest_number:
                self._state = replace(self._state, **changes)

    def _render(self, result: TransferredMaps, longest: int) -> bytes:
        return encode_picture_png(overlay_map_contours(self._cohort.pixels(result.image_id), result.maps, longest))


def find_same_images(cohort: Cohort, annotation: Annotation) -> frozenset[str]:
    """Images of the cohort with the id or the pixels of the annotated one."""
    manifest = cohort.manifest
    is_same = (manifest.image_id == annotation.image_id) | find_same_pixels(cohort, annotation)
    return frozenset(manifest.image_id[is_same].tolist())
