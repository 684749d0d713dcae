"""Examples carried onto a batch of images: the work of one process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from medprior.priors.registered import Example, Registration, Status, register
from medprior.priors.settings import PriorSettings
from medprior.priors.soft import softened

Picture = NDArray[np.float32]
TRUST: dict[tuple[Status, Status], float] = {
    ("affine", "affine"): 1.0,
    ("deformable", "deformable"): 1.0,
    ("deformable", "affine"): 0.5,
}


@dataclass(frozen=True)
class Transfer:
    """Carries the structures of one or more examples onto images.

    The first example is the annotated image; others are images that were given its structures
    before (stepping stones). Each is registered to the image, and the mean of what they say is
    softened.

    Attributes:
        examples: at least one.
        rung: `affine` or `deformable`.
        settings: of the prior.
    """

    examples: tuple[Example, ...]
    rung: Status
    settings: PriorSettings

    def __call__(self, pictures: Picture) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
        """Maps of each picture and what its registration gave.

        Args:
            pictures: float32 [b, n, n] on unit squares of `registration.size`.

        Returns:
            uint8 [b, K, size, size], 255 = 1; one record per picture.
        """
        with threadpool_limits(1):
            results = [self._one(np.asarray(picture)) for picture in pictures]
        return np.stack([maps for maps, _ in results]), [record for _, record in results]

    def _one(self, picture: Picture) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        found = [
            register(picture, example, self.rung, self.settings.registration)
            for example in self.examples
        ]
        # A stone that could not be matched has nothing to say; the annotation always has.
        heard = [
            (registration, example)
            for index, (registration, example) in enumerate(zip(found, self.examples, strict=True))
            if index == 0 or registration.status == self.rung
        ]
        coverage = np.mean(
            [r.deformation.sample(e.coverage, self.settings.size) for r, e in heard], axis=0
        )
        soft = softened(coverage, self.settings.softness)
        record = self._record(found[0]) | {"heard": len(heard)}
        return np.rint(soft * 255).astype(np.uint8), record

    def _record(self, found: Registration) -> dict[str, Any]:
        return {
            "status": found.status,
            "trust": TRUST.get((self.rung, found.status), 0.0),
            "local": round(found.local, 6),
            "correlation": round(found.correlation, 6),
            "gain": round(found.gain, 6),
        }
