"""Settings of a comparison and of its arms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from medprior.evaluate.settings import EvaluateSettings
from medprior.settings import Settings


class Arm(Settings):
    """One arm of a comparison.

    Args:
        recipe: recipe of `medprior pretrain`; None: no pretraining, fine-tuned from scratch.
        prior: spatial prior of this arm, instead of that of the comparison.
        pretrain, finetune: settings of this arm that override the shared ones.
    """

    recipe: str | None = "span"
    prior: Path | None = None
    pretrain: dict[str, Any] = Field(default_factory=dict)
    finetune: dict[str, Any] = Field(default_factory=dict)


class CompareSettings(Settings):
    """Settings of `medprior compare`.

    Args:
        seeds: every arm is trained with seeds 0 .. seeds - 1.
        fractions: nested shares of the training patients for probes and fine-tuning.
        evaluate: settings of the evaluation of each run.
        pretrain: settings of `medprior pretrain` shared by all arms, for equal budgets.
        finetune: settings of `medprior finetune` per task; other tasks are left out.
        arms: name -> arm; any other name is a recipe with the comparison's prior.
    """

    seeds: int = Field(default=3, ge=1)
    fractions: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    evaluate: EvaluateSettings = EvaluateSettings()
    pretrain: dict[str, Any] = Field(default_factory=dict)
    finetune: dict[Literal["classification", "segmentation"], dict[str, Any]] = Field(default_factory=dict)
    arms: dict[str, Arm] = Field(default_factory=dict)

    def arm(self, name: str, prior: Path | None) -> Arm:
        """The arm `name`, with the comparison's `prior` if it has none."""
        arm = self.arms.get(name) or Arm(recipe=name)
        return arm if arm.prior else arm.model_copy(update={"prior": prior})

    def on_device(self, device: str) -> CompareSettings:
        """The same comparison with every stage on `device`."""
        update = {
            "evaluate": self.evaluate.model_copy(update={"device": device}),
            "pretrain": self.pretrain | {"device": device},
            "finetune": {task: values | {"device": device} for task, values in self.finetune.items()},
        }
        return self.model_copy(update=update)

    @field_validator("fractions")
    @classmethod
    def _check_fractions(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < value <= 1 for value in values):
            raise ValueError("fractions are shares of the training patients, above 0 up to 1")
        return tuple(sorted(set(values), reverse=True))
