"""Settings of pretraining, and the defaults that depend on the cohort's size."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal, Self

from pydantic import Field, create_model, field_validator, model_validator

from medprior.errors import ConfigError
from medprior.networks.device import CompileChoice, Precision
from medprior.networks.vit_settings import ViTSettings
from medprior.pretrain.objectives.objective_settings import ObjectiveSections
from medprior.pretrain.objectives.registry import list_added_sections
from medprior.pretrain.presets import get_preset_settings
from medprior.pretrain.recipes import RECIPES, build_recipe_settings
from medprior.pretrain.views.intensity import IntensitySettings
from medprior.settings import Settings, merge_mappings

logger = logging.getLogger(__name__)
__all__ = ["RECIPES", "CropSettings", "OptimiserSettings", "PretrainSettings"]


class CropSettings(Settings):
    """Views of one image: sides in pixels, scales as shares of the image's area.

    Attributes:
        globals_scale: least and largest share of the image in one of the two global views.
        locals_scale: the same for a local view.
        locals: number of local views of an image.
        global_size: side of a global view, pixels.
        local_size: side of a local view, pixels.
        flip_p: share of the views that are mirrored. flip_reference: global view 1, LOCA's reference, may be too.
    """

    globals_scale: tuple[float, float] = (0.5, 1.0)
    locals_scale: tuple[float, float] = (0.15, 0.5)
    locals: int = Field(default=4, ge=0)
    global_size: int = Field(default=96, ge=16)
    local_size: int = Field(default=48, ge=16)
    flip_p: float = Field(default=0.0, ge=0, le=1)
    flip_reference: bool = True


class OptimiserSettings(Settings):
    """AdamW with linear warm-up, then cosine to `final_lr`.

    Attributes:
        lr: peak learning rate, before `lr_scaling`.
        lr_scaling: how `lr` grows with the batch from `lr_batch` images on: not, linearly, or with its root.
        lr_batch: images of a step at which `lr` holds as it is.
        final_lr: learning rate at the end of the run.
        warmup: share of the run. warmup_epochs: in its place, in epochs.
        weight_decay: at the start and at the end, a cosine between.
        clip: largest norm of a gradient. clip_by: over the student, each part (backbone, head), or each tensor.
        layer_decay: factor of the learning rate from one layer to the one below. patch_embed_rate: a further factor of
            the patch embedding.
    """

    lr: float = Field(default=1e-3, gt=0)
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    lr_batch: int = Field(default=256, ge=1)
    final_lr: float = Field(default=1e-6, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    warmup_epochs: float | None = Field(default=None, ge=0)
    weight_decay: tuple[float, float] = (0.04, 0.2)
    clip: float = Field(default=3.0, gt=0)
    clip_by: Literal["student", "part", "tensor"] = "student"
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    patch_embed_rate: float = Field(default=1.0, gt=0)

    def scale_rate(self, batch: int) -> float:
        """The peak learning rate of a run with `batch` images in a step."""
        ratio = batch / self.lr_batch
        return self.lr * {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[self.lr_scaling]


class LoadingSettings(Settings):
    """How images reach the device. Nothing here changes results, so that it is not recorded and may differ on resuming.

    Attributes:
        workers: processes that read batches ahead; by default up to 8 on CUDA, else none.
        resident: keep all images in the device's memory; by default on CUDA where they take up at most half of what is
            free.
    """

    workers: int | None = Field(default=None, ge=0)
    resident: bool | None = None


class RunSettings(Settings):
    """Settings of a run but for the objectives' sections.

    Attributes:
        preset: a name of `PRESETS`, the published settings; below what is given, above the recipe.
        recipe: a name of `RECIPES`, or several joined by `+`; by default the preset's, else `span`.
        seed: of every random choice.
        steps: length of the run; a run of more than an epoch ends with a whole one.
        epochs: length of the run where `steps` is not given; by default 100.
        device: `auto`, `cpu` or `cuda`.
        window: steps over which logged values are averaged.
        resume: continue an unfinished run in the same folder.
        network: shape of the Vision Transformer.
        crops: views of an image.
        intensity: random changes of the exposure.
        batch: images of one step over all processes. accumulate: parts it is worked through in.
        init: weights to start from: a backbone's folder, or a file the network can read.
        precision: `fp32` is IEEE float32; `auto` is bfloat16 autocast on a CUDA device that has it, else `fp32`.
        compile: compile the networks' blocks; `auto` does so on a CUDA device with Triton.
        gradient_every: steps between records of each objective's gradient.
        checkpoint_every: steps between checkpoints; None: `checkpoint_seconds` between them.
        checkpoint_seconds: seconds between checkpoints where `checkpoint_every` is None.
        loading: how images reach the device; in no record of the run.
    """

    preset: str | None = None
    recipe: str = "span"
    seed: int = 0
    steps: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    batch: int = Field(default=64, ge=2)
    accumulate: int = Field(default=1, ge=1)
    device: str = "auto"
    precision: Precision = "auto"
    compile: CompileChoice = "auto"
    window: int = Field(default=20, ge=1)
    gradient_every: int = Field(default=200, ge=1)
    checkpoint_every: int | None = Field(default=None, ge=1)
    checkpoint_seconds: float = Field(default=300.0, gt=0)
    resume: bool = True
    init: str | None = None
    network: ViTSettings = ViTSettings()
    crops: CropSettings = CropSettings()
    intensity: IntensitySettings = IntensitySettings()
    loading: LoadingSettings = Field(default=LoadingSettings(), exclude=True)


class PretrainSettings(ObjectiveSections, RunSettings):
    """All settings of `medprior pretrain`: of the run, of each objective, of the optimiser.

    Attributes:
        optimiser: AdamW and its schedules.
    """

    optimiser: OptimiserSettings = OptimiserSettings()

    @classmethod
    def from_values(cls, values: dict[str, Any], where: str = "settings") -> Self:
        """As of `Settings`, with a section for each objective from outside the package."""
        added = {k: (v, v()) for k, v in list_added_sections().items() if k not in cls.model_fields}
        model = create_model(cls.__name__, __base__=cls, **added) if added else cls  # type: ignore[call-overload]
        checked: Self = super(PretrainSettings, model).from_values(values, where)  # type: ignore[misc]
        return checked

    @model_validator(mode="before")
    @classmethod
    def _apply_recipe(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("preset"), str | None):
            return values
        try:
            preset = get_preset_settings(values.get("preset"))
            recipe = build_recipe_settings(str(values.get("recipe", preset.get("recipe", "span"))))
        except ValueError:
            return values  # the field's own validator says so
        return merge_mappings(recipe, merge_mappings(preset, values))

    @field_validator("preset")
    @classmethod
    def _check_preset(cls, preset: str | None) -> str | None:
        get_preset_settings(preset)
        return preset

    @field_validator("recipe")
    @classmethod
    def _check_recipe(cls, recipe: str) -> str:
        build_recipe_settings(recipe)
        return recipe

    def resolve(self, images: int) -> Self:
        """Fill what depends on the number of training images, in this one place.

        Below 10 000 images: a batch-normalised head, without which the teacher collapses; few prototypes and a sharp
        teacher; and a teacher that turns over at least four times in the run, without which a short run exports its
        random start (measured, see README). Above: more prototypes, and DINO's own momentum and temperature. The
        published settings as a whole are presets.

        A run of less than an epoch has exactly `steps`; a longer one has whole epochs, the last one completed, and a
        warning says so.
        """
        batch = min(self.batch, images)
        if batch < 2:
            raise ConfigError("too few training images", expected="2 or more", found=str(images))
        length = max(1, images // batch)
        epochs = self.epochs or 100
        if self.steps is not None:
            length = min(length, self.steps)
            epochs = -(-self.steps // length)
        steps = epochs * length
        if self.steps is not None and steps != self.steps:
            logger.warning("steps=%d: %d are run, as whole epochs of %d steps", self.steps, steps, length)
        masks = self.network.mask_token or self.needs.masks
        network = self.network.model_copy(update={"mask_token": masks})
        update = {"network": network, "steps": steps, "epochs": epochs, "batch": batch}
        return self.resolve_sections(images, steps).model_copy(update=update)

    def compute_warmup_share(self, share: float, epochs: float | None) -> float:
        """Share of the run that `epochs` are, `share` where they are None; resolved settings only."""
        assert self.epochs is not None
        return share if epochs is None else min(1.0, epochs / self.epochs)

    def compute_teacher_temperature(self, step: int) -> float:
        """Softmax temperature of the teacher in step `step` (from 0); resolved settings only.

        Linear from `start_temperature` over `temperature_epochs`, as in DINO's code; there per epoch, here per step.
        """
        assert self.epochs is not None
        assert self.steps is not None
        assert self.dino.teacher_temperature is not None
        end, warmup = self.dino.teacher_temperature, self.dino.temperature_epochs * self.steps / self.epochs
        if self.dino.start_temperature is None or step >= warmup:
            return end
        return self.dino.start_temperature + (end - self.dino.start_temperature) * step / warmup
