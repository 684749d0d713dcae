"""A fine-tuned model: loading its folder, predicting a cohort or one radiograph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.errors import ConfigError, InputMissing
from medprior.finetune.assembly import Network, build_vit_network
from medprior.finetune.calibration import compute_probabilities
from medprior.finetune.familiarity import (
    FAMILIARITY_PREFIX,
    OutOfDistributionDetector,
    OutOfDistributionScore,
    extract_ood_features,
)
from medprior.finetune.image_grid import keep_largest_components, resample_to_image, threshold_on_image
from medprior.finetune.settings import FinetuneSettings, Task
from medprior.finetune.single_pass import NetworkOutput, run_single_pass
from medprior.geometry import Views, create_whole_image_views
from medprior.networks.architectures import build_cnn, check_weight_shapes
from medprior.networks.attention import compute_attention_maps
from medprior.networks.backbone import load_weights
from medprior.networks.config_checks import BROKEN_CONFIG_ERRORS, broken_config_error, check_network_size
from medprior.networks.convolutional import ConvNet, ConvSettings
from medprior.networks.encoder import Encoder
from medprior.networks.views import crop_views, resample_maps_to_source
from medprior.networks.vit_settings import ViTSettings
from medprior.provenance import read_config

if TYPE_CHECKING:
    from medprior.cohort import Cohort

MODEL_WEIGHTS_FILE = "model.safetensors"
ATTENTION_SIDE_PX = 512
ForwardPass = Callable[[Network, Tensor], NetworkOutput]


@dataclass(frozen=True)
class Prediction:
    """The outputs of a model for one radiograph.

    Attributes:
        probabilities: label -> calibrated probability; empty for segmentation.
        masks: structure -> bool [rows, cols] on the radiograph's grid; empty for classification.
        attention: float32 [H, h, w], attention of the last block's heads over the radiograph's frame,
            longest side at most 512; 1 is the mean over the patches. H is 0 for a CNN.
        familiarity: distance from the training images; None if the model has no detector.
    """

    probabilities: dict[str, float]
    masks: dict[str, NDArray[np.bool_]]
    attention: NDArray[np.float32]
    familiarity: OutOfDistributionScore | None = None


@dataclass(frozen=True)
class Model:
    """A fine-tuned network with its calibration, thresholds and preprocessing.

    Attributes:
        network: in evaluation mode.
        task: classification or segmentation.
        labels: names of the network's outputs, in order: labels or structures.
        size: side of the input view, pixels. source_size: side of the square it is cut from.
        temperature, threshold: float64 [C], chosen on validation.
        heads: structure -> attention head that was pretrained on its prior; may be empty.
        config: the whole `config.json`.
        familiarity: out-of-distribution detector; None if there were too few training images.
    """

    network: Network
    task: Task
    labels: tuple[str, ...]
    size: int
    source_size: int
    temperature: NDArray[np.float64]
    threshold: NDArray[np.float64]
    heads: dict[str, int]
    config: dict[str, Any]
    familiarity: OutOfDistributionDetector | None = None

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures it segments; empty for classification."""
        return self.labels if self.task == "segmentation" else ()

    @property
    def has_attention(self) -> bool:
        """Whether the network has attention; a CNN has none."""
        return not isinstance(self.network, ConvNet)

    @property
    def vit(self) -> Encoder:
        """The fine-tuned backbone.

        Raises:
            ConfigError: the model is a CNN; check `has_attention` first.
        """
        if isinstance(self.network, ConvNet):
            raise ConfigError(
                "a CNN has no Vision Transformer and no attention",
                where=self.network.settings.architecture, fix="check Model.has_attention first",
            )  # fmt: skip
        return self.network.vit

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    def create_views(self, squares: NDArray[np.float32], aspect: NDArray[np.float64]) -> tuple[Tensor, Views]:
        """The network's input, whole views: float32 [B, 1, S, S] in [0, 1], and their geometry.

        Args:
            squares: [B, source_size, source_size], images on the unit square.
            aspect: [B], width / height.
        """
        views = create_whole_image_views(aspect, (self.size, self.size))
        sources = torch.from_numpy(np.array(squares, dtype=np.float32))[:, None].to(self.device)
        return crop_views(sources, views, self.size, torch.arange(len(sources), device=self.device)), views

    def _iterate_views(self, cohort: Cohort, batch: int) -> Iterator[tuple[Tensor, Views]]:
        squares, aspect = cohort.open_squares(self.source_size), cohort.aspect
        for start in range(0, len(cohort), batch):
            part = slice(start, start + batch)
            yield self.create_views(squares[part], aspect[part])

    @torch.inference_mode()
    def predict_batches(self, cohort: Cohort, batch: int = 64) -> Iterator[NDArray[np.float32]]:
        """Predict a cohort, batch by batch in manifest order.

        Yields:
            Classification: calibrated probabilities float32 [B, C]. Segmentation: probabilities
            float32 [B, K, s, s] over the images' unit squares, s = `source_size`.
        """
        for images, views in self._iterate_views(cohort, batch):
            logits = self.network(images).float()
            if self.task == "segmentation":
                yield resample_maps_to_source(logits.sigmoid(), views, self.source_size).cpu().numpy()
            else:
                yield compute_probabilities(logits.cpu().numpy(), self.temperature)

    def predict_cohort(self, cohort: Cohort, batch: int = 64) -> NDArray[np.float32]:
        """All of `predict_batches` in one array, [n, C] or [n, K, s, s]."""
        return np.concatenate(list(self.predict_batches(cohort, batch)))

    @torch.inference_mode()
    def predict_pixels(
        self, pixels: NDArray[np.float32], forward: ForwardPass = run_single_pass, with_attention: bool = True
    ) -> Prediction:
        """Predict one radiograph from one forward pass.

        Args:
            pixels: float32 [rows, cols] in [0, 1], square pixels, air dark.
            forward: runs the network on one view [1, 1, S, S]; a service batches the views of
                several requests in it.
            with_attention: whether attention is given; without, it has no heads.

        Raises:
            ConfigError: `pixels` is no such image.
        """
        validate_pixels(pixels)
        rows, cols = pixels.shape
        square = resize_pixels(pixels, self.source_size, self.source_size)
        images, views = self.create_views(square[None], np.array([cols / rows]))
        output = forward(self.network, images)
        logits, maps = output.logits.float(), output.attention
        if not with_attention:
            maps = maps[:, :0]
        height, width = compute_resized_shape((rows, cols), ATTENTION_SIDE_PX)
        patches = maps.shape[-2] * maps.shape[-1]
        attention = resample_to_image(maps * patches, views, height, width)[0].cpu().numpy()
        familiarity = None
        if self.familiarity is not None:
            familiarity = self.familiarity.assess(extract_ood_features(output.tokens, images))[0]
        if self.task == "segmentation":
            return Prediction({}, self._extract_masks(logits, views, rows, cols), attention, familiarity)
        probabilities = compute_probabilities(logits.cpu().numpy(), self.temperature)[0]
        return Prediction(dict(zip(self.labels, probabilities.tolist(), strict=True)), {}, attention, familiarity)

    def _extract_masks(self, logits: Tensor, views: Views, rows: int, cols: int) -> dict[str, NDArray[np.bool_]]:
        masks = {}
        for name, probability, threshold in zip(self.labels, logits.sigmoid()[0], self.threshold, strict=True):
            mask = threshold_on_image(probability, views, rows, cols, float(threshold))
            masks[name] = keep_largest_components(mask, name)
        return masks

    def attention(self, cohort: Cohort, batch: int = 64) -> NDArray[np.float32]:
        """Attention of every head over the images' unit squares: [n, H, s, s]; H is 0 for a CNN."""
        if not self.has_attention:
            return np.zeros((len(cohort), 0, self.source_size, self.source_size), np.float32)
        maps = [
            resample_maps_to_source(compute_attention_maps(self.vit, images), views, self.source_size).cpu().numpy()
            for images, views in self._iterate_views(cohort, batch)
        ]
        return np.concatenate(maps)


def validate_pixels(pixels: NDArray[np.float32]) -> None:
    """ConfigError unless `pixels` is a finite image [rows, cols] in [0, 1]."""
    fits = pixels.ndim == 2 and min(pixels.shape) > 0 and bool(np.isfinite(pixels).all())
    if not fits or pixels.min() < -1e-3 or pixels.max() > 1 + 1e-3:
        raise ConfigError(
            "not a picture",
            where="pixels",
            expected="finite float32 [rows, cols] in [0, 1]",
            found=f"shape {pixels.shape}",
            fix="read files with medprior.dicom.read_radiograph",
        )


def load_finetuned_model(folder: Path | str, device: str = "cpu") -> Model:
    """Load a model folder; needs no MLflow.

    Raises:
        InputMissing: no finished fine-tuning in `folder`, or weights that are damaged, not finite, or
            of another architecture.
    """
    folder = Path(folder)
    config = read_config(folder, "finetune")
    try:
        return _load_model_folder(folder, config, device)
    except BROKEN_CONFIG_ERRORS as error:
        raise broken_config_error(error, folder.name, "finetune") from None


def build_recorded_network(config: dict[str, Any], outputs: int, tensors: dict[str, Tensor], where: str) -> Network:
    """Build the network that a `config.json` describes, freshly initialised.

    Raises:
        MedpriorError: no such architecture, or one that does not fit `tensors`; raised before
            anything large is allocated.
    """
    task: Task = config["task"]
    settings = FinetuneSettings.from_values(config["settings"], f"{where}: settings")
    if settings.architecture is not None:
        cnn = ConvSettings.from_values(config["network"], f"{where}: network")
        check_weight_shapes(cnn, task, outputs, tensors, where)
        return build_cnn(cnn, task, outputs, settings.dropout)
    shape = ViTSettings.from_values(config["network"], f"{where}: network")
    pyramid = task == "segmentation" and settings.decoder != "linear"
    check_network_size(shape, tensors, where, settings.channels if pyramid else 0)
    return build_vit_network(task, shape, settings, outputs, config["heads"])


def _load_model_folder(folder: Path, config: dict[str, Any], device: str) -> Model:
    tensors = load_weights(folder / MODEL_WEIGHTS_FILE, config["outputs"].get(MODEL_WEIGHTS_FILE))
    names = tuple(config["structures" if config["task"] == "segmentation" else "labels"])
    if not all(16 <= int(config["preprocessing"][key]) <= 8192 for key in ("size", "source_size")):
        raise ValueError("preprocessing size and source_size must lie between 16 and 8192")
    weights = {k: v for k, v in tensors.items() if not k.startswith(FAMILIARITY_PREFIX)}
    network = build_recorded_network(config, len(names), weights, folder.name)
    try:
        familiarity = OutOfDistributionDetector.from_tensors(tensors)
        network.load_state_dict(weights)
    except (RuntimeError, KeyError):
        raise InputMissing(
            "weights do not fit the recorded architecture", where=folder.name, fix="rerun the stage"
        ) from None
    return Model(
        network=network.eval().requires_grad_(False).to(device),
        task=config["task"],
        labels=names,
        size=int(config["preprocessing"]["size"]),
        source_size=int(config["preprocessing"]["source_size"]),
        temperature=np.array([config["calibration"]["temperature"][name] for name in names]),
        threshold=np.array([config["threshold"][name] for name in names]),
        heads=dict(config["heads"]),
        config=config,
        familiarity=familiarity,
    )
