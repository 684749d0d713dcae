"""Settings of the promotion gate."""

from __future__ import annotations

from pydantic import Field

from medprior.settings import Settings


class GateSettings(Settings):
    """Bounds of the gate; all defaults are our choice.

    Args:
        margin: the lower end of the 95 % interval of the paired difference (mAUC, or mean Dice)
            must lie above -margin.
        ece_margin: most by which the calibration error may exceed the champion's.
        ece_most: largest calibration error of a first champion.
        least_auc: bound below the whole interval of a first champion's mAUC.
        least_dice: the same for mean Dice.
        resamples: bootstrap draws of patients.
        seed: of the draws.
        device: `auto`, `cpu` or `cuda`.
        allow_preprocessing: a challenger may see images of another size.
        allow_labels: a challenger may have other labels or structures; the shared ones are compared.
    """

    margin: float = Field(default=0.01, ge=0, le=1)
    ece_margin: float = Field(default=0.02, ge=0, le=1)
    ece_most: float = Field(default=0.25, gt=0, le=1)
    least_auc: float = Field(default=0.5, ge=0, lt=1)
    least_dice: float = Field(default=0.5, ge=0, lt=1)
    resamples: int = Field(default=2000, ge=100)
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    allow_preprocessing: bool = False
    allow_labels: bool = False
