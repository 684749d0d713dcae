"""Settings of pretraining, its recipes, and the defaults that depend on the cohort's size."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from medprior.errors import ConfigError
from medprior.networks.vit import ViTSettings
from medprior.pretrain.intensity import IntensitySettings
from medprior.settings import Settings, merged

RECIPES: dict[str, dict[str, Any]] = {
    "dino": {"span": {"weight": 0.0}},
    "span": {"span": {"weight": 0.3}},
}
SMALL_COHORT = 10_000


class CropSettings(Settings):
    """Views of one image: sides in pixels, scales as shares of the image's area."""

    globals_scale: tuple[float, float] = (0.5, 1.0)
    locals_scale: tuple[float, float] = (0.15, 0.5)
    locals: int = Field(default=4, ge=0)
    global_size: int = Field(default=96, ge=16)
    local_size: int = Field(default=48, ge=16)
    flip_p: float = Field(default=0.0, ge=0, le=1)


class DinoSettings(Settings):
    """Self-distillation; `PretrainSettings.resolved` fills `None` from the cohort's size."""

    prototypes: int | None = Field(default=None, ge=2)
    hidden: int = Field(default=512, ge=8)
    bottleneck: int = Field(default=64, ge=4)
    batch_norm: bool | None = None
    teacher: Literal["centering", "sinkhorn"] | None = None
    teacher_temperature: float | None = Field(default=None, gt=0)
    student_temperature: float = Field(default=0.1, gt=0)
    centre_momentum: float = Field(default=0.9, ge=0, lt=1)
    teacher_momentum: float | None = Field(default=None, ge=0, lt=1)
    koleo_weight: float = Field(default=0.1, ge=0)


class SpanSettings(Settings):
    """Attention towards the prior; weight 0 leaves the step as if SPAN did not exist."""

    weight: float = Field(default=0.3, ge=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    floor: float = Field(default=1.0, ge=0, le=1)
    epsilon: float = Field(default=0.02, ge=0, lt=1)
    visible_share: float = Field(default=0.25, ge=0, le=1)
    visible_cover: float = Field(default=0.02, ge=0, le=1)
    heads: dict[str, int] | None = None


class OptimiserSettings(Settings):
    """AdamW with linear warm-up, then cosine to `final_lr`."""

    lr: float = Field(default=1e-3, gt=0)
    final_lr: float = Field(default=1e-6, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    weight_decay: tuple[float, float] = (0.04, 0.2)
    clip: float = Field(default=3.0, gt=0)


class PretrainSettings(Settings):
    """Everything `medprior pretrain` can be told."""

    recipe: Literal["span", "dino"] = "span"
    seed: int = 0
    steps: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    batch: int = Field(default=64, ge=2)
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    window: int = Field(default=20, ge=1)
    checkpoint_every: int = Field(default=200, ge=1)
    resume: bool = True
    network: ViTSettings = ViTSettings()
    crops: CropSettings = CropSettings()
    intensity: IntensitySettings = IntensitySettings()
    dino: DinoSettings = DinoSettings()
    span: SpanSettings = SpanSettings()
    optimiser: OptimiserSettings = OptimiserSettings()

    @model_validator(mode="before")
    @classmethod
    def _recipe(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        recipe = values.get("recipe", "span")
        return merged(RECIPES.get(recipe, {}), values)

    def resolved(self, images: int) -> Self:
        """Fill what depends on the number of training images, in this one place.

        Below 10 000 images: a batch-normalised head, without which the teacher collapses; few
        prototypes and a sharp teacher; and a teacher that turns over at least four times in the
        run, without which a short run exports its random start (measured, see README). Above: the
        published settings.
        """
        small = images < SMALL_COHORT
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
        update: dict[str, Any] = {
            "dino": DinoSettings.checked(found | given),
            "steps": steps,
            "epochs": epochs,
            "batch": batch,
        }
        return self.model_copy(update=update)
