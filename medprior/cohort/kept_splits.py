"""Keeps the splits of a published cohort; refuses what would move images between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort.columns import SPLITS
from medprior.cohort.splits import TRAIN_VAL, assign_patient_splits
from medprior.errors import MedpriorError
from medprior.provenance import read_config


@dataclass(frozen=True)
class PatientSplitRule:
    """How images without an official split are split; see `assign_patient_splits`."""

    seed: int
    fractions: tuple[float, float, float]

    def record(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"seed": self.seed, "fractions": list(self.fractions)}


def read_published_config(folder: Path) -> dict[str, Any]:
    """`config.json` of the cohort in `folder`; empty where it is unfinished."""
    return read_config(folder, "ingest") if (folder / "config.json").is_file() else {}


@dataclass(frozen=True)
class PublishedSplits:
    """Splits of a published cohort; images with equal pixels share one.

    Attributes:
        by_image: image_id -> split.
        by_pixels: pixel_sha256 -> split, for images that have another id now.
    """

    by_image: Mapping[str, str] = field(default_factory=dict)
    by_pixels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, rule: PatientSplitRule) -> PublishedSplits:
        """Those of the cohort in `folder`; none where it is unfinished or was split by another rule."""
        if read_published_config(folder).get("split_rule") != rule.record():
            return cls()
        frame = pd.read_parquet(folder / "manifest.parquet", columns=["image_id", "pixel_sha256", "split"])
        splits = frame.split.tolist()
        return cls(
            dict(zip(frame.image_id.tolist(), splits, strict=True)),
            dict(zip(frame.pixel_sha256.tolist(), splits, strict=True)),
        )

    def find(self, image_id: str, pixel_sha256: str) -> str | None:
        """The published split of an image, also under an earlier id; None for a new image."""
        return self.by_image.get(image_id) or self.by_pixels.get(pixel_sha256)


@dataclass(frozen=True)
class SplitRequest:
    """What decides the splits of a cohort's images.

    Attributes:
        rule: how images are split that nothing else decides.
        published: splits of the cohort as it was published before.
        given: splits by image_id that come before everything else.
        changed_official: images whose official split was corrected; for them it comes before the published split.
        resplit: let official splits and the rule decide anew, whatever was published.
    """

    rule: PatientSplitRule
    published: PublishedSplits = field(default_factory=PublishedSplits)
    given: Mapping[str, str | None] = field(default_factory=dict)
    changed_official: Collection[str] = ()
    resplit: bool = False

    def assign(
        self,
        image_ids: Sequence[str],
        patient_ids: Sequence[str],
        pixel_hashes: Sequence[str],
        official: Sequence[str | None],
        labels: NDArray[np.float64] | None = None,
    ) -> NDArray[np.str_]:
        """Splits that share no patient and no pixels; one value, or row, of each argument per image.

        Raises:
            MedpriorError: an image would leave its published split; not with `resplit` or `given`.
        """
        known = [self.published.find(*pair) for pair in zip(image_ids, pixel_hashes, strict=True)]
        wanted = [
            self.given[image_id] if image_id in self.given else self._choose_split(image_id, split, published)
            for image_id, split, published in zip(image_ids, official, known, strict=True)
        ]
        splits = assign_patient_splits(patient_ids, pixel_hashes, self.rule.fractions, self.rule.seed, wanted, labels)
        if not self.resplit and not self.given:
            moves = [
                (str(old), str(new), patient_id)
                for old, new, patient_id in zip(known, splits.tolist(), patient_ids, strict=True)
                if old is not None and old != new
            ]
            refuse_moves(moves)
        return splits

    def _choose_split(self, image_id: str, official: str | None, published: str | None) -> str | None:
        is_new = image_id not in self.published.by_image
        if self.resplit or published is None:
            return official
        if official in SPLITS and (is_new or image_id in self.changed_official):
            return official
        if official == TRAIN_VAL and published == "test" and image_id in self.changed_official:
            return official
        return published


def refuse_moves(moves: Sequence[tuple[str, str, str]]) -> None:
    """Raise MedpriorError where there are moves (old split, new split, patient_id)."""
    if moves:
        counts = Counter(f"{old} to {new}" for old, new, _ in moves)
        raise MedpriorError(
            f"{len(moves)} image(s) of {len({patient for *_, patient in moves})} patient(s) would change their split",
            where="splits",
            expected="every image in the split in which it was published",
            found=", ".join(f"{count} from {name}" for name, count in sorted(counts.items())),
            fix="undo the change of patient ids or official splits, or split anew with --resplit; models trained on"
            " this cohort have then seen images of the new val and test splits",
        )
