"""Label transfer: registers examples to images and fuses, corrects and softens their maps."""

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
# Share of the blur for one example; on 40 validation images of the Shenzhen set Dice and pixel-AP
# are both higher with it (our choice).
FUSED_BLUR_FACTOR = 0.5


@dataclass(frozen=True)
class LabelTransfer:
    """Transfers the structures of one or more examples to images.

    The first examples are annotated images; the others are intermediate ones with transferred
    structures. Each is registered to the image; their maps are fused, corrected where there is a
    corrector, and softened.

    Attributes:
        examples: at least one.
        transformation: `affine` or `deformable`.
        settings: of the prior.
        names: structure of each map.
        annotated: number of annotated examples.
        corrector: fitted to several annotated images, or None.
    """

    examples: tuple[Example, ...]
    transformation: RegistrationStatus
    settings: PriorSettings
    names: tuple[str, ...]
    annotated: int = 1
    corrector: Corrector | None = None

    def __call__(self, pictures: Picture) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
        """Maps of each picture and the record of its registration.

        Args:
            pictures: float32 [b, n, n] on unit squares of `registration.size`.

        Returns:
            uint8 [b, K, size, size], 255 = 1; one record per picture.
        """
        with threadpool_limits(1):
            results = [self._transfer_picture(np.asarray(picture)) for picture in pictures]
        return np.stack([maps for maps, _ in results]), [record for _, record in results]

    def transfer_labels(
        self, picture: Picture, examples: Sequence[Example]
    ) -> tuple[Picture, list[Registration], Picture]:
        """Fused maps [K, s, s], all registrations, and the maps of each used example [R, K, s, s].

        Annotated examples are always used, intermediate ones where their registration succeeds.
        """
        size = self.settings.size
        registrations = [
            register_example(picture, e, self.transformation, self.settings.registration) for e in examples
        ]
        used = [
            (registration, example)
            for index, (registration, example) in enumerate(zip(registrations, examples, strict=True))
            if index < self.annotated or registration.status == self.transformation
        ]
        layers = np.stack([r.deformation.sample(e.coverage, size) for r, e in used])
        matches = [compute_local_match(picture, e, r, size) for r, e in used] if len(used) > 1 else []
        return fuse_label_maps(layers, matches), registrations, layers

    def _transfer_picture(self, picture: Picture) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        coverage, registrations, layers = self.transfer_labels(picture, self.examples)
        if self.corrector is not None:
            coverage = self.corrector(picture, coverage)
        # Fused maps are soft already: a wide blur would only round off corners.
        blur = self.settings.softness * (FUSED_BLUR_FACTOR if len(layers) > 1 else 1.0)
        soft = soften_maps(coverage, blur)
        best = max(registrations[: self.annotated], key=lambda registration: registration.local_correlation)
        record = self._record(best) | {
            "heard": len(layers),
            "disagreement": round(compute_disagreement(layers), 6),
        }
        doubts = list_doubt_reasons(record, soft, self.names)
        if doubts and record["trust"] == 1:
            record["trust"] = 0.5
        return np.rint(soft * 255).astype(np.uint8), record | {"doubt": ",".join(doubts)}

    def _record(self, registration: Registration) -> dict[str, Any]:
        return {
            "status": registration.status,
            "trust": TRUST_BY_STATUS.get((self.transformation, registration.status), 0.0),
            "local": round(registration.local_correlation, 6),
            "correlation": round(registration.correlation, 6),
            "gain": round(registration.gain, 6),
        }
