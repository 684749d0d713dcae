"""Masks of the anatomy model on request: `python -m medprior.deploy.inference.mask_worker FD`.

The drawing page starts it, so that *Suggest* finds the model loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.registry.load import load_model
from medprior.errors import MedpriorError
from medprior.workers.request_process import RequestAnswer, answer_requests


class MaskWorker:
    """Answers requests for the masks of radiographs."""

    @cached_property
    def predictor(self) -> Predictor:
        """The anatomy model."""
        return load_model()

    def answer(self, facts: dict[str, Any], arrays: list[NDArray[Any]]) -> Iterator[RequestAnswer]:
        """The masks bool [rows, cols] of one radiograph.

        Args:
            facts: none.
            arrays: the bytes of its file, uint8 [n].

        Yields:
            Their `names`, and the `flags` of the prediction.

        Raises:
            MedpriorError: the model is missing, or the file is no radiograph.
        """
        prediction = self.predictor.predict(arrays[0].tobytes())
        yield {"names": list(prediction.masks), "flags": list(prediction.flags)}, list(prediction.masks.values())


def main() -> None:
    """Load the model, then answer requests until the drawing page ends."""
    worker = MaskWorker()
    with suppress(MedpriorError):  # the first request raises it again
        assert worker.predictor
    answer_requests(int(sys.argv[1]), worker.answer)


if __name__ == "__main__":
    main()
