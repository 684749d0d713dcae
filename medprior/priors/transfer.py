"""Examples carried onto a batch of images: the work of one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from medprior.priors.correction import Corrector
from medprior.priors.doubtful_images import list_doubt_reasons
from medprior.priors.fusion import compute_disagreement, compute_local_match, fuse_label_maps
from medprior.priors.registration import Example, Registration, RegistrationStatus, register_example
from medprior.priors.settings import PriorSettings
from medprior.priors.soft_maps import soften_maps

Picture = NDArray[np.float32]
TRUST_BY_STATUS: dict[tuple[RegistrationStatus, RegistrationStatus], float] = {
    ("affine", "affine"): 1.0,
    ("deformable", "deformable"): 1.0,
    ("deformable", "affine"): 0.5,
}
# Of the blur of one example's maps; Dice and pixel-AP were both higher with it on 40 validation
# images of the Shenzhen set (our choice).
FUSED_BLUR_FACTOR = 0.5


@dataclass(frozen=True)
class LabelTransfer:
    """Carries the structures of one or more examples onto images.

    The first examples are annotated images; others are images that were given their structures
    before (stepping stones). Each is registered to the image, what they say is fused, corrected
    where there is a corrector, and softened.

    Attributes:
        examples: at least one.
        rung: `affine` or `deformable`.
        settings: of the prior.
        names: structure of each map.
        annotated: how many of the examples are annotated.
        corrector: learnt from several annotated images, or None.
    """

    examples: tuple[Example, ...]
    rung: RegistrationStatus
    settings: PriorSettings
    names: tuple[str, ...]
    annotated: int = 1
    corrector: Corrector | None = None

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

    def carried(self, picture: Picture, examples: Sequence[Example]) -> tuple[Picture, list[Registration], Picture]:
        """Fused maps [K, s, s], the registrations, and what each example heard says [R, K, s, s].

        A stone that could not be matched has nothing to say; an annotated image always has.
        """
        size = self.settings.size
        found = [register_example(picture, e, self.rung, self.settings.registration) for e in examples]
        heard = [
            (registration, example)
            for index, (registration, example) in enumerate(zip(found, examples, strict=True))
            if index < self.annotated or registration.status == self.rung
        ]
        layers = np.stack([r.deformation.sample(e.coverage, size) for r, e in heard])
        matches = [compute_local_match(picture, e, r, size) for r, e in heard] if len(heard) > 1 else []
        return fuse_label_maps(layers, matches), found, layers

    def _one(self, picture: Picture) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        coverage, found, layers = self.carried(picture, self.examples)
        if self.corrector is not None:
            coverage = self.corrector(picture, coverage)
        # What several say, or a corrector, is soft already: a wide blur only wears corners off.
        blur = self.settings.softness * (FUSED_BLUR_FACTOR if len(layers) > 1 else 1.0)
        soft = soften_maps(coverage, blur)
        best = max(found[: self.annotated], key=lambda registration: registration.local)
        record = self._record(best) | {
            "heard": len(layers),
            "disagreement": round(compute_disagreement(layers), 6),
        }
        doubts = list_doubt_reasons(record, soft, self.names)
        if doubts and record["trust"] == 1:
            record["trust"] = 0.5
        return np.rint(soft * 255).astype(np.uint8), record | {"doubt": ",".join(doubts)}

    def _record(self, found: Registration) -> dict[str, Any]:
        return {
            "status": found.status,
            "trust": TRUST_BY_STATUS.get((self.rung, found.status), 0.0),
            "local": round(found.local, 6),
            "correlation": round(found.correlation, 6),
            "gain": round(found.gain, 6),
        }
