"""A fine-tuned model on disk, and what it says of a cohort or of one radiograph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medprior.cohort import Cohort
from medprior.dicom.resample import fitted, resized
from medprior.errors import ConfigError, InputMissing
from medprior.finetune.assembly import Network, assembled
from medprior.finetune.calibration import probabilities
from medprior.finetune.familiarity import PREFIX, Familiar, Familiarity, described
from medprior.finetune.native import over_image, plausible
from medprior.finetune.one_pass import OncePassed
from medprior.finetune.settings import FinetuneSettings, Task
from medprior.geometry import Views, whole
from medprior.networks.architectures import build_cnn, refuse_other_weights
from medprior.networks.attention import attention_maps
from medprior.networks.backbone import load_weights
from medprior.networks.claims import FAULTS, broken_record, refuse_larger
from medprior.networks.convolutional import ConvNet, ConvSettings
from medprior.networks.encoder import Encoder
from medprior.networks.shape import ViTSettings
from medprior.networks.views import cut, lay_back
from medprior.provenance import read_config

WEIGHTS = "model.safetensors"
ATTENTION_SIDE = 512


@dataclass(frozen=True)
class Prediction:
    """What a model says of one radiograph.

    Attributes:
        probabilities: label -> calibrated probability; empty for segmentation.
        masks: structure -> bool [rows, cols] on the radiograph's grid; empty for classification.
        attention: float32 [H, h, w], where each head of the last block looks, over the radiograph's
            frame with its longest side at most 512; 1 is the mean over the patches. A CNN has none:
            H is 0.
        familiar: how far it is from the training images; None where the model does not know.
    """

    probabilities: dict[str, float]
    masks: dict[str, NDArray[np.bool_]]
    attention: NDArray[np.float32]
    familiar: Familiar | None = None


@dataclass(frozen=True)
class Model:
    """A fine-tuned network and all that is needed to use it.

    Attributes:
        network: in evaluation mode.
        task: classification or segmentation.
        labels: names of the network's outputs, in order: labels or structures.
        size: side of the view it sees, pixels. source_size: side of the square it is cut from.
        temperature, threshold: float64 [C], chosen on validation.
        heads: structure -> attention head that was pretrained on its prior; may be empty.
        config: the whole `config.json`.
        familiarity: tells pictures far from the training images; None where too few were there.
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
    familiarity: Familiarity | None = None

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures it segments; empty for classification."""
        return self.labels if self.task == "segmentation" else ()

    @property
    def attends(self) -> bool:
        """Whether it has attention to look at; a CNN has none."""
        return not isinstance(self.network, ConvNet)

    @property
    def vit(self) -> Encoder:
        """The fine-tuned backbone.

        Raises:
            ConfigError: the model is a CNN; ask `attends` first.
        """
        if isinstance(self.network, ConvNet):
            raise ConfigError(
                "a CNN has no Vision Transformer and no attention",
                where=self.network.settings.architecture, fix="ask Model.attends first",
            )  # fmt: skip
        return self.network.vit

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def view(
        self, squares: NDArray[np.float32], aspect: NDArray[np.float64]
    ) -> tuple[Tensor, Views]:
        """The whole views the network sees: float32 [B, 1, S, S] in [0, 1], and their geometry.

        Args:
            squares: [B, source_size, source_size], images on the unit square.
            aspect: [B], width / height.
        """
        views = whole(aspect, (self.size, self.size))
        sources = torch.from_numpy(np.array(squares, dtype=np.float32))[:, None].to(self.device)
        return cut(sources, views, self.size, torch.arange(len(sources))), views

    @torch.inference_mode()
    def batches(self, cohort: Cohort, batch: int = 64) -> Iterator[NDArray[np.float32]]:
        """The predictions of a cohort, batch by batch in manifest order.

        Yields:
            Classification: calibrated probabilities float32 [B, C]. Segmentation: probabilities
            float32 [B, K, s, s] over the images' unit squares, s = `source_size`.
        """
        squares, aspect = cohort.squares(self.source_size), cohort.aspect
        for start in range(0, len(cohort), batch):
            part = slice(start, start + batch)
            images, views = self.view(squares[part], aspect[part])
            logits = self.network(images).float()
            if self.task == "segmentation":
                yield lay_back(logits.sigmoid(), views, self.source_size).cpu().numpy()
            else:
                yield probabilities(logits.cpu().numpy(), self.temperature)

    def predict_cohort(self, cohort: Cohort, batch: int = 64) -> NDArray[np.float32]:
        """All of `batches` in one array, [n, C] or [n, K, s, s]."""
        return np.concatenate(list(self.batches(cohort, batch)))

    @torch.inference_mode()
    def predict_pixels(self, pixels: NDArray[np.float32]) -> Prediction:
        """Read one radiograph.

        Args:
            pixels: float32 [rows, cols] in [0, 1], square pixels, air dark.

        Raises:
            ConfigError: no such picture.
        """
        checked(pixels)
        rows, cols = pixels.shape
        square = resized(pixels, self.source_size, self.source_size)
        images, views = self.view(square[None], np.array([cols / rows]))
        # A service puts a stand-in of its own in the network's place.
        own = isinstance(self.network, torch.nn.Module)
        network = OncePassed(self.network) if own else self.network
        vit = cast(Encoder, network.vit)  # or what stands for one
        logits = network(images).float()
        maps = attention_maps(vit, images)
        height, width = fitted((rows, cols), ATTENTION_SIDE)
        patches = maps.shape[-2] * maps.shape[-1]
        looked = over_image(maps * patches, views, height, width)[0].cpu().numpy()
        familiar = None
        if self.familiarity is not None:
            familiar = self.familiarity.familiar(described(vit, images))[0]
        if self.task == "segmentation":
            return Prediction({}, self._masks(logits, views, rows, cols), looked, familiar)
        shares = probabilities(logits.cpu().numpy(), self.temperature)[0]
        chances = dict(zip(self.labels, shares.tolist(), strict=True))
        return Prediction(chances, {}, looked, familiar)

    def _masks(
        self, logits: Tensor, views: Views, rows: int, cols: int
    ) -> dict[str, NDArray[np.bool_]]:
        found = over_image(logits.sigmoid(), views, rows, cols)[0].cpu().numpy()
        return {
            name: plausible(found[k] >= self.threshold[k], name)
            for k, name in enumerate(self.labels)
        }

    def attention(self, cohort: Cohort, batch: int = 64) -> NDArray[np.float32]:
        """Attention of every head over the images' unit squares: [n, H, s, s]; H 0 of a CNN."""
        if not self.attends:
            return np.zeros((len(cohort), 0, self.source_size, self.source_size), np.float32)
        squares, aspect = cohort.squares(self.source_size), cohort.aspect
        found = []
        for start in range(0, len(cohort), batch):
            part = slice(start, start + batch)
            images, views = self.view(squares[part], aspect[part])
            maps = attention_maps(self.vit, images)
            found.append(lay_back(maps, views, self.source_size).cpu().numpy())
        return np.concatenate(found)


def checked(pixels: NDArray[np.float32]) -> None:
    """ConfigError unless `pixels` is a finite picture [rows, cols] in [0, 1]."""
    fits = pixels.ndim == 2 and min(pixels.shape) > 0 and bool(np.isfinite(pixels).all())
    if not fits or pixels.min() < -1e-3 or pixels.max() > 1 + 1e-3:
        raise ConfigError(
            "not a picture",
            where="pixels",
            expected="finite float32 [rows, cols] in [0, 1]",
            found=f"shape {pixels.shape}",
            fix="read files with medprior.dicom.read_radiograph",
        )


def load_model(folder: Path | str, device: str = "cpu") -> Model:
    """Load a model folder; needs no MLflow.

    Raises:
        InputMissing: no finished fine-tuning there, weights that are damaged, not finite, or of
            another architecture.
    """
    folder = Path(folder)
    config = read_config(folder, "finetune")
    try:
        return _loaded(folder, config, device)
    except FAULTS as error:
        raise broken_record(error, folder.name, "finetune") from None


def recorded(
    config: dict[str, Any], outputs: int, tensors: dict[str, Tensor], where: str
) -> Network:
    """The network that a `config.json` describes, freshly initialised.

    Raises:
        MedpriorError: no such architecture, or one that `tensors` are not of; then nothing large
            was allocated.
    """
    task: Task = config["task"]
    settings = FinetuneSettings.checked(config["settings"], f"{where}: settings")
    if settings.architecture is not None:
        made = ConvSettings.checked(config["network"], f"{where}: network")
        refuse_other_weights(made, task, outputs, tensors, where)
        return build_cnn(made, task, outputs, settings.dropout)
    shape = ViTSettings.checked(config["network"], f"{where}: network")
    pyramid = task == "segmentation" and settings.decoder == "pyramid"
    refuse_larger(shape, tensors, where, settings.channels if pyramid else 0)
    return assembled(task, shape, settings, outputs, config["heads"])


def _loaded(folder: Path, config: dict[str, Any], device: str) -> Model:
    tensors = load_weights(folder / WEIGHTS, config["outputs"].get(WEIGHTS))
    names = tuple(config["structures" if config["task"] == "segmentation" else "labels"])
    if not all(16 <= int(config["preprocessing"][key]) <= 8192 for key in ("size", "source_size")):
        raise ValueError("no size of a view")
    own = {k: v for k, v in tensors.items() if not k.startswith(PREFIX)}
    network = recorded(config, len(names), own, folder.name)
    try:
        familiarity = Familiarity.from_tensors(tensors)
        network.load_state_dict(own)
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
