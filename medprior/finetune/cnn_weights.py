"""Weights of published CNNs from a local file, for images of one channel; nothing is downloaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from medprior.errors import ConfigError
from medprior.finetune.settings import Task
from medprior.networks.architectures import DENSENET, build_cnn
from medprior.networks.backbone import load_weights
from medprior.networks.convolutional import ConvSettings
from medprior.networks.weight_conversion import fold_channels
from medprior.networks.weight_layouts import HEAD_PREFIXES, Tensors
from medprior.networks.weights import default_normalisation, refuse_pickles

CNN_HEAD_PREFIXES = (*HEAD_PREFIXES, "class_layers.", "last_linear.")
# torchvision and timm name the layers of a dense layer without MONAI's `layers`.
DENSE_LAYER = re.compile(r"(denselayer\d+)\.(norm|conv)([12])\.")
OPTIONAL_SUFFIX = "num_batches_tracked"  # older files lack it; it does not change a prediction
MAX_LISTED_NAMES = 3


@dataclass(frozen=True)
class CnnWeights:
    """Weights that a CNN starts from.

    Attributes:
        tensors: name in `ConvNet.body` -> value, all but the layers whose shape follows the number of outputs.
        mean: of the grey levels in [0, 1] that the network's input is normalised with.
        std: standard deviation of the same.
        left_out: names in the file that were not used: its classifier, and what lies outside the network.
    """

    tensors: Tensors
    mean: float
    std: float
    left_out: tuple[str, ...]


def load_cnn_weights(path: Path, settings: ConvSettings, task: Task) -> CnnWeights:
    """Read the weights of `settings.architecture` as timm, torchvision, MONAI or medprior saves them.

    Weights for three channels become weights for one that give the same features of a grey image, but near the border,
    where the padding of the three channels differs. Statistics come from `settings` where they were set or the file is
    of one channel, from a model of medprior itself, else from timm's record of the architecture or ImageNet.

    Args:
        path: a safetensors file.
        settings: of the CNN; `mean` and `std` count only where they are given.
        task: the network's.

    Raises:
        ConfigError: a pickle, another architecture, or statistics that cannot be folded into one channel.
        InputMissing: no such file, or a damaged one.
    """
    refuse_pickles(path)
    stored = load_weights(path, None)
    network, expected = build_headless_body(settings, task)
    stem = next(name for name, shape in expected.items() if len(shape) == 4)
    renamed = {
        (DENSE_LAYER.sub(r"\1.layers.\2\3.", name) if settings.architecture == DENSENET else name): name
        for name in stored
    }
    prefix = find_network_prefix(renamed, stem, settings.architecture, path.name)
    inner = {new.removeprefix(prefix): old for new, old in renamed.items() if new.startswith(prefix)}
    tensors = {name: stored[inner[name]].float() for name in expected if name in inner}
    channels = tensors[stem].shape[1] if tensors[stem].ndim == 4 else 1
    mean, std = choose_statistics(settings, stored, prefix, channels)
    folded = fold_stem_to_one_channel(tensors, stem, network, (mean, std), path.name)
    known = set(network.state_dict())  # with the layers that follow the number of outputs
    surplus = [name for name in inner if name not in known and not name.startswith(CNN_HEAD_PREFIXES)]
    check_tensors_fit(folded, expected, surplus, settings.architecture, path.name)
    used = {inner[name] for name in tensors}
    left_out = tuple(sorted(name for name in stored if name not in used))
    return CnnWeights(folded, sum(mean) / len(mean), sum(std) / len(std), left_out)


def build_headless_body(settings: ConvSettings, task: Task) -> tuple[nn.Module, dict[str, torch.Size]]:
    """The CNN without memory, and the shapes of its tensors that do not follow the number of outputs."""
    with torch.device("meta"):
        two, three = (build_cnn(settings, task, outputs).body for outputs in (2, 3))
    others = three.state_dict()
    shapes = {name: value.shape for name, value in two.state_dict().items() if others[name].shape == value.shape}
    return two, shapes


def find_network_prefix(names: dict[str, str], stem: str, architecture: str, where: str) -> str:
    """The prefix of the network's names (`module.`, `body.`, ...), found at its first convolution.

    Raises:
        ConfigError: no such convolution.
    """
    prefixes = sorted((name.removesuffix(stem) for name in names if f".{name}".endswith(f".{stem}")), key=len)
    if not prefixes:
        raise ConfigError(
            f"no weights of {architecture}", where=where, expected=f"a tensor {stem}, as of timm or MONAI",
            found=", ".join(sorted(names)[:MAX_LISTED_NAMES]) or "no tensors",
            fix="set architecture to the network that they were made for, or leave it out for a Vision Transformer",
        )  # fmt: skip
    return prefixes[0]


def choose_statistics(
    settings: ConvSettings, stored: Tensors, prefix: str, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the file's channels, one value each where they are equal."""
    defaults: tuple[tuple[float, ...], tuple[float, ...]] = (settings.mean,), (settings.std,)
    if prefix == "body." and "mean" in stored and "std" in stored:  # a model of medprior
        defaults = (float(stored["mean"]),), (float(stored["std"]),)
    elif channels > 1:
        defaults = default_normalisation("timm", settings.architecture)
    given = settings.model_fields_set
    return (
        (settings.mean,) if "mean" in given else defaults[0],
        (settings.std,) if "std" in given else defaults[1],
    )


def fold_stem_to_one_channel(
    tensors: Tensors, stem: str, network: nn.Module, statistics: tuple[tuple[float, ...], tuple[float, ...]], where: str
) -> Tensors:
    """`tensors` with a first convolution of one channel.

    The channels' different means become its bias, else they move the mean of the batch norm behind it.

    Raises:
        ConfigError: neither is there, or the convolution standardises its weights, which a sum over channels changes.
    """
    layer = stem.removesuffix(".weight")
    if tensors[stem].ndim != 4 or tensors[stem].shape[1] == 1:
        return tensors
    if "Std" in type(network.get_submodule(layer)).__name__:
        raise ConfigError(
            "weights of three channels cannot become weights of one", where=where,
            expected="a plain first convolution", found="one that standardises its weights",
            fix="take another architecture",
        )  # fmt: skip
    weight, offset, _ = fold_channels(tensors[stem], *statistics, where)
    folded = tensors | {stem: weight}
    norms = (name for name, value in tensors.items() if name.endswith("running_mean") and len(value) == len(offset))
    norm = next(norms, None)
    if f"{layer}.bias" in tensors:
        folded[f"{layer}.bias"] = (tensors[f"{layer}.bias"].double() + offset).float()
    elif norm is not None:
        folded[norm] = (tensors[norm].double() - offset).float()
    elif bool(offset.abs().max() > 0):
        raise ConfigError(
            "the channels' statistics cannot become those of one channel", where=where,
            expected="a bias or a batch norm at the first convolution",
            fix="give one mean and std for all: network.mean=0.5 network.std=0.25",
        )  # fmt: skip
    return folded


def check_tensors_fit(
    tensors: Tensors, expected: dict[str, torch.Size], surplus: list[str], architecture: str, where: str
) -> None:
    """ConfigError naming what is missing, left over (`surplus`) or of another shape."""
    faults = {
        "missing": [n for n in expected if n not in tensors and not n.endswith(OPTIONAL_SUFFIX)],
        "left over": surplus,
        "of another shape": [
            f"{n} {list(tensors[n].shape)} for {list(shape)}"
            for n, shape in expected.items()
            if n in tensors and tensors[n].shape != shape
        ],
    }
    if any(faults.values()):
        listed = [f"{len(v)} {k} ({', '.join(v[:MAX_LISTED_NAMES])}, ...)" for k, v in faults.items() if v]
        raise ConfigError(
            f"weights do not fit {architecture}: {'; '.join(listed)}", where=where,
            fix="set architecture to the network that they were made for",
        )  # fmt: skip
