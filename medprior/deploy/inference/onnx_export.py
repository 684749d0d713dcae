"""A model as one ONNX file: network, calibration and what a caller must do before it."""

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

from medprior.deploy.registry import package
from medprior.errors import MedpriorError
from medprior.finetune.model import Model, load_model
from medprior.phantom import render
from medprior.provenance import atomic

OPSET = 18
TOLERANCE = 1e-4
INPUT, OUTPUT = "image", "probability"


class Answering(nn.Module):
    """A network whose answer is probabilities, as `Model` gives them.

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
class Agreement:
    """How near the exported model is to PyTorch.

    Attributes:
        largest: the largest absolute difference of a probability.
        images: views it was looked for on.
    """

    largest: float
    images: int


def export_onnx(folder: Path | str, out: Path | str) -> Agreement:
    """Write a model folder as ONNX and check it against PyTorch with onnxruntime.

    The file takes `image`, float32 [N, 1, S, S] in [0, 1]: the whole radiograph, air dark, its
    longer side filling the view, zero padded (the metadata entry `medprior` says the rest), and
    answers `probability`, calibrated, [N, C] or [N, K, S, S].

    Args:
        folder: model folder of `medprior finetune`.
        out: the file to write; nothing is written if the check fails.

    Raises:
        MedpriorError: no whole model, the exporter is not installed, or the answers differ by more
            than 1e-4.
    """
    folder, out = Path(folder), Path(out)
    package.checked(folder)
    model = load_model(folder)
    network = Answering(model).eval()
    data = with_metadata(onnx_bytes(network, model.size), metadata(model, folder))
    agreement = compared(network, data, views(model.size))
    if not agreement.largest <= TOLERANCE:
        raise MedpriorError(
            "the exported model answers differently",
            where=str(out), expected=f"within {TOLERANCE:g} of PyTorch",
            found=f"{agreement.largest:.2g}", fix="use the model folder itself",
        )  # fmt: skip
    with atomic(out) as temporary:
        temporary.write_bytes(data)
    return agreement


def onnx_bytes(network: nn.Module, size: int) -> bytes:
    """ONNX of a network for views of one size and batches of any."""
    example = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    buffer = io.BytesIO()
    options: dict[str, Any] = {
        "input_names": [INPUT],
        "output_names": [OUTPUT],
        "opset_version": OPSET,
        "dynamo": True,
        "verbose": False,
        "dynamic_shapes": ({0: torch.export.Dim("batch", min=1)},),
    }
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(network, (example,), **options)
    except ImportError as error:
        raise missing(error) from None
    program.save(buffer)
    return buffer.getvalue()


def with_metadata(data: bytes, facts: dict[str, Any]) -> bytes:
    """The same file with `facts` as its metadata entry `medprior`, JSON."""
    try:
        import onnx
    except ImportError as error:
        raise missing(error) from None
    model = onnx.load_from_string(data)
    entry = model.metadata_props.add()
    entry.key, entry.value = "medprior", json.dumps(facts, sort_keys=True)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def metadata(model: Model, folder: Path) -> dict[str, Any]:
    """What a caller must know: names, thresholds, preprocessing, and which model it is."""
    shape = model.config["network"]
    return {
        "task": model.task,
        "names": list(model.labels),
        "threshold": dict(zip(model.labels, model.threshold.tolist(), strict=True)),
        "preprocessing": {
            **model.config["preprocessing"],
            "polarity": "air dark, bone bright (MONOCHROME1 inverted)",
            "normalisation": f"inside: (x - {shape['mean']}) / {shape['std']}",
        },
        "model_digest": package.models_digest({"model": folder}),
        "intended_use": "research; not a medical device",
    }


def views(size: int, count: int = 4) -> NDArray[np.float32]:
    """Views to compare on, [2 * count, 1, size, size] in [0, 1]: noise, and generated chests."""
    noise = np.random.default_rng(0).random((count, size, size), dtype=np.float32)
    chests = np.stack([render(seed, size=size).pixels[:size, :size] for seed in range(count)])
    framed = np.zeros((count, size, size), np.float32)
    framed[:, : chests.shape[1], : chests.shape[2]] = chests
    return np.concatenate([noise, framed])[:, None].clip(0, 1)


def compared(network: nn.Module, data: bytes, images: NDArray[np.float32]) -> Agreement:
    """The largest difference between PyTorch and onnxruntime on `images`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise missing(error) from None
    runtime: Any = onnxruntime  # it does not declare what it exports
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT], {INPUT: images})
    with torch.inference_mode():
        wanted = network(torch.from_numpy(images)).numpy()
    return Agreement(float(np.abs(np.asarray(found) - wanted).max()), len(images))


def missing(error: ImportError) -> MedpriorError:
    """The error for an exporter that is not installed."""
    return MedpriorError(
        f"the exporter is not installed ({error.name})",
        where="medprior export",
        fix="pip install 'medprior[export]'",
    )
