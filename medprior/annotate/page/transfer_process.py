"""Transfers annotations to images of a cohort in a process of the priors stage, which this room does not import."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.workers.request_process import RequestProcess

WORKER_MODULE = "medprior.priors.transfer_worker"
DOUBT_REASONS = {
    "registration": "the two pictures hardly match",
    "disagreement": "the examples disagree",
    "empty": "a structure is missing",
    "lung_ratio": "the lungs differ unusually in size",
    "heart_ratio": "the heart's width is unusual",
}


@dataclass(frozen=True)
class TransferredMaps:
    """The structures of the annotations on one other image.

    Attributes:
        image_id: image of the cohort.
        maps: structure -> float32 [h, h] in [0, 1] over the image.
        doubt: reasons why the maps are doubtful; '' where there are none.
        match: local correlation of the registered images, at most 1.
        is_annotated: whether the maps are the image's own annotation.
    """

    image_id: str
    maps: dict[str, NDArray[np.float32]] = field(repr=False)
    doubt: str = ""
    match: float = 1.0
    is_annotated: bool = False


class TransferProcess:
    """Transfers annotations in a process that waits with its imports done; thread-safe, one request at a time.

    Args:
        cohort: folder of the images.
    """

    def __init__(self, cohort: Path) -> None:
        self._process = RequestProcess(WORKER_MODULE, [str(cohort)], "transfer")

    def __call__(
        self,
        annotations: Sequence[Path],
        image_ids: tuple[str, ...],
        on_result: Callable[[TransferredMaps], None],
    ) -> str | None:
        """Transfer annotations to images, and call `on_result` for each, in their order, as soon as it is done.

        Returns:
            The image that is worth annotating next, None where there is none.

        Raises:
            MedpriorError: the transfer is refused or fails.
        """
        next_ids: list[str | None] = []

        def receive(facts: dict[str, Any], arrays: list[NDArray[Any]]) -> None:
            """Pass on the maps of one image, or keep the last answer."""
            if "next" in facts:
                next_ids.append(facts["next"])
            else:
                on_result(parse_transferred_maps(facts, arrays[0]))

        request = {"annotations": [str(folder) for folder in annotations], "image_ids": list(image_ids)}
        self._process.request(request, receive)
        return next_ids[0]

    def close(self) -> None:
        """End the process."""
        self._process.close()


def parse_transferred_maps(facts: dict[str, Any], maps: NDArray[np.uint8]) -> TransferredMaps:
    """One answer of the process; `maps` is uint8 [K, h, h], 255 = 1."""
    layers = maps.astype(np.float32) / 255
    return TransferredMaps(
        image_id=facts["image_id"],
        maps=dict(zip(facts["names"], layers, strict=True)),
        doubt=format_doubt(facts["doubt"], facts["trust"]),
        match=round(facts["local"], 2),
        is_annotated=facts["is_annotated"],
    )


def format_doubt(doubt: str, trust: float) -> str:
    """Reasons why maps are doubtful, from the `doubt` and `trust` of a prior."""
    codes = [code for code in re.split(r"[^a-z_]+", doubt) if code]
    if trust < 1 and not codes:
        codes = ["registration"]
    return "; ".join(DOUBT_REASONS.get(code, code.replace("_", " ")) for code in codes)
