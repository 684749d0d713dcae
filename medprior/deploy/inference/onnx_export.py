"""Exports a model as one ONNX file: network, calibration, and metadata on the preprocessing."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medprior.deploy.inference.model_folder import compute_models_digest, read_checked_config
from medprior.errors import MedpriorError
from medprior.finetune.model import Model, load_finetuned_model
from medprior.phantom import render_phantom
from medprior.provenance import atomic_write

ONNX_OPSET = 18
MAX_PROBABILITY_DIFFERENCE = 1e-4
INPUT_NAME, OUTPUT_NAME = "image", "probability"


class ProbabilityNetwork(nn.Module):
    """A network that returns probabilities, as `Model` does.

    Classification logits are divided by their temperature; segmentation maps are sigmoids.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        scale = torch.as_tensor(model.temperature, dtype=torch.float32)
        classify = model.task == "classification"
        self.register_buffer("scale", scale if classify else torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities [B, C] or [B, K, S, S] of views [B, 1, S, S] in [0, 1]."""
        return torch.sigmoid(self.network(images).float() / self.scale)


@dataclass(frozen=True)
class OnnxAgreement:
    """How closely the exported model agrees with PyTorch.

    Attributes:
        max_difference: the largest absolute difference of a probability.
        image_count: views that were compared.
    """

    max_difference: float
    image_count: int


def export_onnx(folder: Path | str, out: Path | str) -> OnnxAgreement:
    """Write a model folder as ONNX and check it against PyTorch with onnxruntime.

    The file takes `image`, float32 [N, 1, S, S] in [0, 1]: the whole radiograph, air dark, its
    longer side filling the view, zero padded (the metadata entry `medprior` has the details). It
    returns `probability`, calibrated, [N, C] or [N, K, S, S].

    Args:
        folder: model folder of `medprior finetune`.
        out: the file to write; nothing is written if the check fails.

    Raises:
        MedpriorError: the model is not whole, the exporter is not installed, or the probabilities
            differ by more than 1e-4.
    """
    folder, out = Path(folder), Path(out)
    read_checked_config(folder)
    model = load_finetuned_model(folder)
    network = ProbabilityNetwork(model).eval()
    data = add_onnx_metadata(convert_to_onnx(network, model.size), build_onnx_metadata(model, folder))
    agreement = compare_with_onnxruntime(network, data, create_test_views(model.size))
    if not agreement.max_difference <= MAX_PROBABILITY_DIFFERENCE:
        raise MedpriorError(
            "the exported model answers differently",
            where=str(out), expected=f"within {MAX_PROBABILITY_DIFFERENCE:g} of PyTorch",
            found=f"{agreement.max_difference:.2g}", fix="use the model folder itself",
        )  # fmt: skip
    with atomic_write(out) as temporary:
        temporary.write_bytes(data)
    return agreement


def convert_to_onnx(network: nn.Module, size: int) -> bytes:
    """Convert a network to ONNX for views of one size and batches of any size."""
    example = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    buffer = io.BytesIO()
    options: dict[str, Any] = {
        "input_names": [INPUT_NAME],
        "output_names": [OUTPUT_NAME],
        "opset_version": ONNX_OPSET,
        "dynamo": True,
        "verbose": False,
        "dynamic_shapes": ({0: torch.export.Dim("batch", min=1)},),
    }
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(network, (example,), **options)
    except ImportError as error:
        raise exporter_missing_error(error) from None
    program.save(buffer)
    return buffer.getvalue()


def add_onnx_metadata(data: bytes, metadata: dict[str, Any]) -> bytes:
    """Add `metadata` to an ONNX file as JSON, under the key `medprior`."""
    try:
        import onnx
    except ImportError as error:
        raise exporter_missing_error(error) from None
    model = onnx.load_from_string(data)
    entry = model.metadata_props.add()
    entry.key, entry.value = "medprior", json.dumps(metadata, sort_keys=True)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def build_onnx_metadata(model: Model, folder: Path) -> dict[str, Any]:
    """What a caller needs: names, thresholds, preprocessing, and the digest of the model."""
    network = model.config["network"]
    return {
        "task": model.task,
        "names": list(model.labels),
        "threshold": dict(zip(model.labels, model.threshold.tolist(), strict=True)),
        "preprocessing": {
            **model.config["preprocessing"],
            "polarity": "air dark, bone bright (MONOCHROME1 inverted)",
            "normalisation": f"inside: (x - {network['mean']}) / {network['std']}",
        },
        "model_digest": compute_models_digest({"model": folder}),
        "intended_use": "research; not a medical device",
    }


def create_test_views(size: int, count: int = 4) -> NDArray[np.float32]:
    """Views for the comparison, [2 * count, 1, size, size] in [0, 1]: noise, and phantom chests."""
    noise = np.random.default_rng(0).random((count, size, size), dtype=np.float32)
    chests = np.stack([render_phantom(seed, size=size).pixels[:size, :size] for seed in range(count)])
    framed = np.zeros((count, size, size), np.float32)
    framed[:, : chests.shape[1], : chests.shape[2]] = chests
    return np.concatenate([noise, framed])[:, None].clip(0, 1)


def compare_with_onnxruntime(network: nn.Module, data: bytes, images: NDArray[np.float32]) -> OnnxAgreement:
    """The largest difference between PyTorch and onnxruntime on `images`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise exporter_missing_error(error) from None
    runtime: Any = onnxruntime  # onnxruntime has no type declarations
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run([OUTPUT_NAME], {INPUT_NAME: images})
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    return OnnxAgreement(float(np.abs(np.asarray(probabilities) - expected).max()), len(images))


def exporter_missing_error(error: ImportError) -> MedpriorError:
    """The error for an exporter that is not installed."""
    return MedpriorError(
        f"the exporter is not installed ({error.name})",
        where="medprior export",
        fix="pip install 'medprior[export]'",
    )
