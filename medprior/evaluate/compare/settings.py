"""Settings of a comparison and of its arms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from medprior.evaluate.settings import EvaluateSettings
from medprior.settings import Settings


class Arm(Settings):
    """One side of a comparison, where a recipe's name does not say it all.

    Args:
        recipe: recipe of `medprior pretrain`; None: no pretraining, fine-tuned from scratch.
        prior: spatial prior of this arm, instead of the comparison's.
        pretrain, finetune: settings of this arm over those that all arms share.
    """

    recipe: str | None = "span"
    prior: Path | None = None
    pretrain: dict[str, Any] = Field(default_factory=dict)
    finetune: dict[str, Any] = Field(default_factory=dict)


class CompareSettings(Settings):
    """How recipes are put side by side.

    Args:
        seeds: every arm is trained with seeds 0 .. seeds - 1.
        fractions: shares of the training patients that probes and fine-tuning may use; nested.
        evaluate: how each run is judged.
        pretrain: settings of `medprior pretrain` shared by all arms, so that budgets are equal.
        finetune: settings of `medprior finetune` per task; a task that is not named is not done.
        arms: name -> arm; a name that is not here is a recipe with the comparison's prior.
    """

    seeds: int = Field(default=3, ge=1)
    fractions: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    evaluate: EvaluateSettings = EvaluateSettings()
    pretrain: dict[str, Any] = Field(default_factory=dict)
    finetune: dict[Literal["classification", "segmentation"], dict[str, Any]] = Field(default_factory=dict)
    arms: dict[str, Arm] = Field(default_factory=dict)

    def arm(self, name: str, prior: Path | None) -> Arm:
        """The arm called `name`; `prior` is the comparison's."""
        arm = self.arms.get(name) or Arm(recipe=name)
        return arm if arm.prior else arm.model_copy(update={"prior": prior})

    @field_validator("fractions")
    @classmethod
    def _check_fractions(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < value <= 1 for value in values):
            raise ValueError("fractions are shares of the training patients, above 0 up to 1")
        return tuple(sorted(set(values), reverse=True))
