"""Settings of an evaluation."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from medprior.settings import Settings


class EvaluateSettings(Settings):
    """How evidence is gathered; the defaults suit a test split of up to some ten thousand images.

    Args:
        seed: of the bootstrap, the selection subset and the random-weights network.
        resamples: bootstrap draws of patients.
        map_size: side of the unit squares that maps and masks are compared on, pixels.
        batch: images per forward pass.
        selection_images: at most so many validation images choose heads and thresholds of maps.
        ece_bins: bins of the reliability diagram.
        probe: also judge frozen features by k-NN and a linear probe.
        probe_images: at most so many training images for the probes.
        neighbours: k of the k-NN probe.
        inverse_penalties: values of C the linear probe chooses from on validation.
        device: `auto`, `cpu` or `cuda`.
    """

    seed: int = Field(default=0, ge=0)
    resamples: int = Field(default=1000, ge=2)
    map_size: int = Field(default=128, ge=16)
    batch: int = Field(default=64, ge=1)
    selection_images: int = Field(default=200, ge=1)
    ece_bins: int = Field(default=15, ge=2)
    probe: bool = True
    probe_images: int = Field(default=5000, ge=2)
    neighbours: int = Field(default=20, ge=1)
    inverse_penalties: tuple[float, ...] = Field(
        default=(0.001, 0.01, 0.1, 1.0, 10.0), min_length=1
    )
    device: str = "auto"


class CompareSettings(Settings):
    """How recipes are put side by side.

    Args:
        seeds: every recipe is pretrained with seeds 0 .. seeds - 1.
        fractions: shares of the training patients the probes may use; nested.
        evaluate: how each run is judged.
        pretrain: settings of `medprior pretrain` shared by all recipes, so that budgets are equal.
    """

    seeds: int = Field(default=3, ge=1)
    fractions: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    evaluate: EvaluateSettings = EvaluateSettings()
    pretrain: dict[str, Any] = Field(default_factory=dict)

    @field_validator("fractions")
    @classmethod
    def _shares(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < value <= 1 for value in values):
            raise ValueError("fractions are shares of the training patients, above 0 up to 1")
        return tuple(sorted(set(values), reverse=True))
