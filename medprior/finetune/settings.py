"""Settings of fine-tuning; the defaults suit a small cohort on a CPU."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from medprior.networks.convolutional import ARCHITECTURE_PATTERN
from medprior.networks.decoders import DecoderKind
from medprior.networks.device import Precision
from medprior.networks.heads import HeadKind
from medprior.networks.vit import ViTSettings
from medprior.pretrain.views.intensity import IntensitySettings
from medprior.settings import Settings

Task = Literal["classification", "segmentation"]
UncertainPolicy = Literal["ignore", "ones", "zeros", "soft"]
# A mask carries more information per image than a label: higher lr, fewer epochs (measured, see README).
SEGMENTATION_DEFAULTS: dict[str, Any] = {"epochs": 15, "batch": 8, "lr": 3e-3}
# An epoch over few images has few steps.
FEW_MASKS_DEFAULTS: dict[str, Any] = {"epochs": 200, "checkpoint_every": 20}


class AugmentSettings(Settings):
    """Mild augmentation of a training image.

    Attributes:
        scale: largest relative change of its size.
        translate: largest shift, as a share of the view.
        stretch: largest relative change of width against height.
        rotate: largest rotation, degrees.
        flip_p: share of the views that are mirrored; 0 by default, as laterality is diagnostic.
        intensity: random changes of the exposure.
    """

    scale: float = Field(default=0.1, ge=0, lt=1)
    translate: float = Field(default=0.05, ge=0, le=0.5)
    stretch: float = Field(default=0.0, ge=0, lt=1)
    rotate: float = Field(default=0.0, ge=0, le=90)
    flip_p: float = Field(default=0.0, ge=0, le=1)
    intensity: IntensitySettings = IntensitySettings(brightness=0.1, contrast=0.25, gamma=0.25, blur_p=0.0)


class FinetuneSettings(Settings):
    """Settings of `medprior finetune`.

    The defaults of `epochs`, `batch` and `lr` are for classification; segmentation has its own.

    Attributes:
        task: `classification` of labels, or `segmentation` of masks.
        seed: of every random choice.
        epochs: passes over the training images.
        batch: images of a step.
        lr: peak learning rate.
        final_lr: learning rate at the end of the run.
        warmup: share of the run in which the learning rate rises.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        drop_path: largest chance that a block's residual branch is left out in training.
        dropout: chance that a feature is left out before the head, in training.
        decoder: kind of the decoder from patch tokens to masks.
        channels: of the decoder.
        dice_weight: of the Dice loss beside cross-entropy, in segmentation.
        augment: random changes of training images.
        device: `auto`, `cpu` or `cuda`.
        precision: of the forward pass: `fp32`, or `bf16` where the device has it.
        workers: processes that read batches ahead; 0 reads in this one.
        checkpoint_every: epochs between checkpoints.
        keep_checkpoints: newest checkpoints that are kept.
        max_skipped: successive steps with a non-finite loss after which the run stops.
        resume: continue an unfinished run in the same folder.
        labels: labels to learn, default all of the cohort. structures: masks to learn, default those
            of `left_lung`, `right_lung`, `heart` or `lungs` that the cohort has.
        network: shape of a network trained from scratch; a backbone has its own.
        architecture: a CNN instead: `densenet121` or a CNN of timm by its name for
            classification, `unet` or `basic_unet` for segmentation. Of `network` it takes `mean`,
            `std` and `image_size`; head, decoder and drop-path are the Vision Transformer's.
        head: `cls`, `cls_mean`, or `pooled`: CLS and one attention-pooled token per head.
        pooled_heads: which heads `pooled` uses: those assigned to a structure, or all.
        size: side of the square view in pixels; default the backbone's.
        source_size: side of the stored squares that views are cut from; default 4/3 of `size`.
        fraction: share of the training patients used; smaller shares are subsets of larger ones.
        uncertain: treatment of a label strictly between 0 and 1.
        balance: weight positives by negatives / positives of the training set, at most 10.
        layer_decay: factor of the learning rate per block below the head; default 0.75 with a
            backbone, 1 from scratch.
        freeze: train the head or decoder only (linear probe).
        sar_weight: of the spatial entropy of unassigned heads, in classification (0.01 in the authors'
            code).
        sar_warmup: share of the run until `sar_weight` is reached.
        sar_connectivity: neighbours of a patch: 8, or 4.
        span_weight: of SPAN's divergence of the assigned heads from a prior, in classification.
        targets: in segmentation, `masks` of the cohort; `prior`: pseudo-masks from a prior, and the masks of
            the annotated images; or `teacher`: pseudo-masks from trained segmenters, and the masks of the cohort.
        masks: number of training patients whose masks may be used, all others being unknown; smaller
            numbers give subsets of larger ones. mask_images: the images themselves, by id.
    """

    task: Task = "classification"
    labels: tuple[str, ...] | None = None
    structures: tuple[str, ...] | None = None
    seed: int = Field(default=0, ge=0)
    epochs: int = Field(default=30, ge=1)
    batch: int = Field(default=16, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    final_lr: float = Field(default=1e-6, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    weight_decay: float = Field(default=0.05, ge=0)
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    clip: float = Field(default=3.0, gt=0)
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    freeze: bool = False
    sar_weight: float = Field(default=0.0, ge=0)
    sar_warmup: float = Field(default=0.1, ge=0, le=1)
    sar_connectivity: Literal[4, 8] = 8
    span_weight: float = Field(default=0.0, ge=0)
    architecture: str | None = Field(default=None, pattern=ARCHITECTURE_PATTERN)
    targets: Literal["masks", "prior", "teacher"] = "masks"
    masks: int | None = Field(default=None, ge=1)
    mask_images: tuple[str, ...] | None = Field(default=None, min_length=1)
    head: HeadKind = "pooled"
    pooled_heads: Literal["assigned", "all"] = "all"
    decoder: DecoderKind = "pyramid"
    channels: int = Field(default=32, ge=4)
    dice_weight: float = Field(default=1.0, ge=0)
    size: int | None = Field(default=None, ge=16)
    source_size: int | None = Field(default=None, ge=16)
    fraction: float = Field(default=1.0, gt=0, le=1)
    uncertain: UncertainPolicy = "ignore"
    balance: bool = False
    augment: AugmentSettings = AugmentSettings()
    network: ViTSettings = Field(default_factory=lambda: ViTSettings.from_values({}))
    device: str = "auto"
    precision: Precision = "auto"
    workers: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=1, ge=1)
    keep_checkpoints: int = Field(default=2, ge=2)
    max_skipped: int = Field(default=10, ge=0)
    resume: bool = True

    @model_validator(mode="before")
    @classmethod
    def _fill_task_defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("task") != "segmentation":
            return values
        limited = values.get("masks") is not None or values.get("mask_images") is not None
        few_masks = limited and values.get("targets", "masks") == "masks"
        return SEGMENTATION_DEFAULTS | (FEW_MASKS_DEFAULTS if few_masks else {}) | values

    @model_validator(mode="after")
    def _check_attention_losses(self) -> Self:
        for name in ("sar_weight", "span_weight"):
            if getattr(self, name) and (self.task == "segmentation" or self.freeze):
                raise ValueError(f"{name} is for classification that trains the backbone; set {name}=0")
        if self.span_weight and self.augment.rotate:
            raise ValueError("span_weight follows maps that are not rotated; set augment.rotate=0")
        return self

    @model_validator(mode="after")
    def _check_masks(self) -> Self:
        if self.task == "classification" and (self.targets != "masks" or self.limits_masks):
            raise ValueError(f"targets={self.targets}, masks and mask_images are for task segmentation")
        if self.masks is not None and self.mask_images is not None:
            raise ValueError("masks says how many, mask_images says which; set one of the two")
        return self

    @model_validator(mode="after")
    def _check_cnn(self) -> Self:
        if self.architecture is None:
            return self
        wrong = [name for name in ("freeze", "sar_weight", "span_weight") if getattr(self, name)]
        if self.layer_decay not in (None, 1.0):
            wrong.append("layer_decay")
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not with architecture={self.architecture}, a CNN")
        return self

    @property
    def needs_prior(self) -> bool:
        """Whether a spatial prior is read."""
        return self.span_weight > 0 or self.targets == "prior"

    @property
    def limits_masks(self) -> bool:
        """Whether `masks` or `mask_images` says which masks of the cohort may be used."""
        return self.masks is not None or self.mask_images is not None

    @property
    def has_few_masks(self) -> bool:
        """Whether no validation mask is known: the chosen masks are trained on, others unknown."""
        return self.targets == "masks" and self.limits_masks

    def for_task(self, task: Task) -> Self:
        """These settings for `task`; unset values take that task's defaults."""
        return self.from_values(self.model_dump(exclude_unset=True) | {"task": task})

    def resolved(self, with_backbone: bool, view_size: int) -> Self:
        """Fill the values that depend on the backbone."""
        size = self.size or view_size
        return self.model_copy(
            update={
                "size": size,
                "source_size": self.source_size or size * 4 // 3,
                "layer_decay": self.layer_decay or (0.75 if with_backbone else 1.0),
            }
        )
