"""Settings of pretraining, and the defaults that depend on the cohort's size."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from medprior.errors import ConfigError
from medprior.networks.vit_settings import ViTSettings
from medprior.pretrain.objectives.objective_settings import (
    DinoSettings,
    IbotSettings,
    LocaSettings,
    SarSettings,
    SpanSettings,
)
from medprior.pretrain.recipes import RECIPES, build_recipe_settings
from medprior.pretrain.views.intensity import IntensitySettings
from medprior.settings import Settings, merge_mappings

__all__ = ["RECIPES", "CropSettings", "OptimiserSettings", "PretrainSettings"]
SMALL_COHORT_IMAGES = 10_000


class CropSettings(Settings):
    """Views of one image: sides in pixels, scales as shares of the image's area."""

    globals_scale: tuple[float, float] = (0.5, 1.0)
    locals_scale: tuple[float, float] = (0.15, 0.5)
    locals: int = Field(default=4, ge=0)
    global_size: int = Field(default=96, ge=16)
    local_size: int = Field(default=48, ge=16)
    flip_p: float = Field(default=0.0, ge=0, le=1)


class OptimiserSettings(Settings):
    """AdamW with linear warm-up, then cosine to `final_lr`."""

    lr: float = Field(default=1e-3, gt=0)
    final_lr: float = Field(default=1e-6, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    weight_decay: tuple[float, float] = (0.04, 0.2)
    clip: float = Field(default=3.0, gt=0)


class PretrainSettings(Settings):
    """Everything `medprior pretrain` can be told.

    Attributes:
        recipe: a name of `RECIPES`, or several joined by `+`.
        batch: images of one step over all processes. accumulate: parts it is worked through in.
        init: weights to start from: a backbone's folder, or a file the network can read.
        gradient_every: steps between records of each objective's gradient.
    """

    recipe: str = "span"
    seed: int = 0
    steps: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    batch: int = Field(default=64, ge=2)
    accumulate: int = Field(default=1, ge=1)
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    window: int = Field(default=20, ge=1)
    gradient_every: int = Field(default=200, ge=1)
    checkpoint_every: int = Field(default=200, ge=1)
    resume: bool = True
    init: str | None = None
    network: ViTSettings = ViTSettings()
    crops: CropSettings = CropSettings()
    intensity: IntensitySettings = IntensitySettings()
    dino: DinoSettings = DinoSettings()
    ibot: IbotSettings = IbotSettings()
    span: SpanSettings = SpanSettings()
    sar: SarSettings = SarSettings()
    loca: LocaSettings = LocaSettings()
    optimiser: OptimiserSettings = OptimiserSettings()

    @model_validator(mode="before")
    @classmethod
    def _apply_recipe(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        try:
            added = build_recipe_settings(str(values.get("recipe", "span")))
        except ValueError:
            return values  # the field's own validator says so
        return merge_mappings(added, values)

    @field_validator("recipe")
    @classmethod
    def _known(cls, recipe: str) -> str:
        build_recipe_settings(recipe)
        return recipe

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        objectives = (self.dino, self.ibot, self.span, self.sar, self.loca)
        if not any(each.weight for each in objectives):
            raise ValueError("every objective has weight 0; there is nothing to learn")
        if self.loca.weight and self.ibot.weight and self.loca.reference == "student":
            raise ValueError(
                "loca.reference=student and ibot.weight > 0: the student's reference is masked; "
                "use loca.reference=teacher"
            )
        return self

    @property
    def needs_prior(self) -> bool:
        """Whether an objective reads a spatial prior."""
        return self.span.weight > 0 or (self.sar.weight > 0 and self.sar.excess)

    def resolved(self, images: int) -> Self:
        """Fill what depends on the number of training images, in this one place.

        Below 10 000 images: a batch-normalised head, without which the teacher collapses; few
        prototypes and a sharp teacher; and a teacher that turns over at least four times in the
        run, without which a short run exports its random start (measured, see README). Above: the
        published settings.
        """
        small = images < SMALL_COHORT_IMAGES
        batch = min(self.batch, images)
        if batch < 2:
            raise ConfigError("too few training images", expected="2 or more", found=str(images))
        length = max(1, images // batch)
        epochs = self.epochs or 100
        if self.steps is not None:
            epochs = -(-self.steps // length)
        steps = epochs * length
        found = {
            "prototypes": 256 if small else 8192,
            "batch_norm": small,
            "teacher": "centering",
            "teacher_temperature": 0.02 if small else 0.04,
            "teacher_momentum": max(0.5, min(0.99, 1 - 9 / steps)) if small else 0.996,
        }
        given = {k: v for k, v in self.dino.model_dump().items() if v is not None}
        masks = self.network.mask_token or self.ibot.weight > 0
        cluster = self.ibot.weight == 0 if self.loca.cluster is None else self.loca.cluster
        dino = DinoSettings.checked(found | given)
        update: dict[str, Any] = {
            "dino": dino,
            "ibot": self.ibot.model_copy(update={"teacher": self.ibot.teacher or dino.teacher}),
            "loca": self.loca.model_copy(update={"cluster": cluster}),
            "network": self.network.model_copy(update={"mask_token": masks}),
            "steps": steps,
            "epochs": epochs,
            "batch": batch,
        }
        return self.model_copy(update=update)
