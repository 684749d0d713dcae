"""Transfers annotations to images of one cohort on request: `python -m medprior.priors.transfer_worker COHORT FD`.

The drawing page starts it, so that a saved drawing finds imports done. Maps are those of `build_prior` with the method
`registered`; images are registered in a pool of processes, and each is answered as soon as it and those before it are.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.annotate.typicality import SQUARE_SIZE_PX
from medprior.cohort import Cohort
from medprior.priors.build import build_own_maps, build_transfer, load_annotations
from medprior.priors.doubtful_images import suggest_next_examples
from medprior.priors.prior import ANNOTATED_STATUS, UINT8_MAX
from medprior.priors.settings import PriorSettings
from medprior.workers.request_process import RequestAnswer, answer_requests

MAX_POOL_PROCESSES = 6


class TransferWorker:
    """Answers transfer requests for one cohort.

    Args:
        path: folder of the cohort.
        pool: registers its images.
    """

    def __init__(self, path: Path, pool: Executor) -> None:
        self.path, self.pool, self.settings = path, pool, PriorSettings()

    @cached_property
    def cohort(self) -> Cohort:
        """The images."""
        return Cohort.open(self.path)

    def answer(self, facts: dict[str, Any], arrays: list[NDArray[Any]]) -> Iterator[RequestAnswer]:
        """The maps of each image uint8 [K, s, s], 255 = 1, in the order of the request, then what to annotate next.

        Args:
            facts: `annotations`, folders; `image_ids`.
            arrays: none.

        Yields:
            `image_id`, `names` of the maps, `trust`, `doubt`, `local`, `is_annotated`; at last `next`, the id or None.

        Raises:
            MedpriorError: an annotation or an image is missing, or the annotations are of different structures.
        """
        part = self.cohort.select(facts["image_ids"])
        annotations = load_annotations([Path(folder) for folder in facts["annotations"]], self.settings.method)
        transfer = build_transfer(annotations, self.settings)
        own_maps = build_own_maps(part, annotations, self.settings)
        squares = part.open_squares(self.settings.registration.size)
        records = []
        pictures = [np.asarray(squares[[row]]) for row in range(len(part))]
        for image_id, (maps, (record,)) in zip(part.image_ids, self.pool.map(transfer, pictures), strict=True):
            is_annotated = image_id in own_maps
            if is_annotated:
                maps = np.rint(own_maps[image_id] * UINT8_MAX).astype(np.uint8)[None]
                record |= {"trust": 1.0, "status": ANNOTATED_STATUS, "doubt": ""}
            records.append({"image_id": image_id, **record})
            facts = {key: record[key] for key in ("trust", "doubt", "local")}
            yield {"image_id": image_id, "names": transfer.names, "is_annotated": is_annotated} | facts, [maps[0]]
        annotated = np.stack([annotation.square(SQUARE_SIZE_PX) for annotation in annotations])
        offers = suggest_next_examples(part, annotated, pd.DataFrame(records), self.settings.seed)
        yield {"next": offers[0]["image_id"] if offers else None}, []


def import_registration() -> None:
    """Import what a registration needs, in a process of the pool before its first image."""
    import SimpleITK  # noqa: F401
    import skimage.exposure  # noqa: F401


def main() -> None:
    """Answer requests until the drawing page ends."""
    path, descriptor = sys.argv[1:]
    count = min(MAX_POOL_PROCESSES, len(os.sched_getaffinity(0)))
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads and locks of this process
    with ProcessPoolExecutor(count, mp_context=context, initializer=import_registration) as pool:
        for _ in range(count):
            pool.submit(import_registration)
        answer_requests(int(descriptor), TransferWorker(Path(path), pool).answer)


if __name__ == "__main__":
    main()
