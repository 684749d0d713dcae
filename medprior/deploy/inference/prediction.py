"""The prediction for one radiograph, and its JSON record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from medprior.deploy.inference.finding_evidence import FindingEvidence
    from medprior.deploy.inference.finding_locations import FindingBox
    from medprior.dicom.derived.native_grid import NativeGrid
    from medprior.finetune.familiarity import OutOfDistributionScore
    from medprior.metrics.cardiothoracic_ratio import CardiothoracicRatio

RECORD_DIGITS = 6
FindingCall = Literal["present", "below", "none"]


def round_boxes(boxes: Iterable[FindingBox]) -> list[list[float]]:
    """Boxes as JSON values, to a tenth of a pixel."""
    return [[round(side, 1) for side in box] for box in boxes]


@dataclass(frozen=True)
class RadiographPrediction:
    """What the models predict for one radiograph.

    Attributes:
        pixels: float32 [rows, columns] in [0, 1], the radiograph as the models saw it.
        pixel_sha256: digest of the decoded stored pixels.
        findings: label -> calibrated probability.
        thresholds: label -> probability from which on the finding counts as present.
        evidence: label -> how well the model tells it; only labels for which that was measured.
        masks: structure -> bool [rows, columns], at the radiograph's own size.
        attention: structure, or `all_heads` -> float32 [h, w] over the radiograph's frame; 1 is the
            mean over the patches.
        cardiothoracic: the ratio and its lines, if heart and lungs were segmented.
        facts: view, spacing and spacing kind; nothing that identifies the patient.
        flags: reasons to doubt the image or the answer.
        model_digest: sha256 that identifies the models.
        familiar: distance from the training images; None if no model can measure it.
        native: maps pixels to the grid of the DICOM file; None for any other source.
        boxes: label -> boxes (left, top, right, bottom) in pixels where the model looks for a finding that it calls
            present; only labels for which the hit rate of such boxes was measured.
    """

    pixels: NDArray[np.float32]
    pixel_sha256: str
    model_digest: str
    findings: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, FindingEvidence] = field(default_factory=dict)
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    attention: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    cardiothoracic: CardiothoracicRatio | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    familiar: OutOfDistributionScore | None = None
    native: NativeGrid | None = None
    boxes: dict[str, tuple[FindingBox, ...]] = field(default_factory=dict)

    def present_labels(self) -> list[str]:
        """Labels whose probability reaches their threshold, the most certain first."""
        present = [name for name, p in self.findings.items() if p >= self.thresholds[name]]
        return sorted(present, key=lambda name: -self.findings[name])

    def call_finding(self, label: str) -> FindingCall:
        """What the model says of a label: nothing where its AUC may be that of chance."""
        evidence = self.evidence.get(label)
        if evidence is not None and not evidence.beats_chance:
            return "none"
        return "present" if self.findings[label] >= self.thresholds[label] else "below"

    def build_evidence_record(self, label: str) -> dict[str, Any]:
        """Evidence of a finding and what follows from it, as JSON values; empty without evidence."""
        if label not in self.evidence:
            return {}
        return {"call": self.call_finding(label), "evidence": self.evidence[label].record()}

    def record(self) -> dict[str, Any]:
        """The prediction without its images, as JSON values."""
        rows, columns = self.pixels.shape
        findings = {
            name: {
                "probability": round(p, RECORD_DIGITS),
                "threshold": round(self.thresholds[name], RECORD_DIGITS),
                "present": p >= self.thresholds[name],
            }
            | self.build_evidence_record(name)
            | ({"boxes": round_boxes(self.boxes[name])} if name in self.boxes else {})
            for name, p in self.findings.items()
        }
        return {
            "status": "ok",
            "findings": findings,
            "cardiothoracic_ratio": build_ratio_record(self.cardiothoracic, self.facts.get("spacing_mm")),
            "structures": sorted(self.masks),
            "rows": rows,
            "columns": columns,
            **self.facts,
            "familiarity": self.familiar.record() if self.familiar else None,
            "flags": list(self.flags),
            "pixel_sha256": self.pixel_sha256,
            "model_digest": self.model_digest,
        }


def build_ratio_record(
    ratio: CardiothoracicRatio | None, spacing_mm: tuple[float, float] | None = None
) -> dict[str, Any] | None:
    """A cardiothoracic ratio as JSON values.

    Args:
        ratio: the measurement.
        spacing_mm: row and column spacing of the measured pixels, which are square.

    Returns:
        The lines in pixel coordinates (x, y), and the diameters in mm where the spacing is known.
    """
    if ratio is None:
        return None
    x0, x1, y = ratio.thorax
    heart_px = ratio.heart[1][0] - ratio.heart[0][0]
    diameters = {"heart_mm": heart_px * spacing_mm[1], "thorax_mm": (x1 - x0) * spacing_mm[1]} if spacing_mm else {}
    return {
        "value": round(ratio.ratio, RECORD_DIGITS),
        "heart_line": [list(end) for end in ratio.heart],
        "thorax_line": [[x0, y], [x1, y]],
        "plausible": ratio.plausible,
    } | {name: round(diameter, 1) for name, diameter in diameters.items()}
