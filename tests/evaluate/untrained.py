"""Networks with random weights in the shape of fine-tuned models, for tests of what is around them."""

import numpy as np
import torch

from medprior.finetune.model import Model
from medprior.networks import VisionTransformer
from medprior.networks.architectures import build_cnn
from medprior.networks.convolutional import ConvSettings
from medprior.networks.decoders import Segmenter
from medprior.networks.heads import Classifier
from tests.evaluate.conftest import SMALL


def build_untrained_model(labels, head="cls", task="classification", heads=None):
    """A model of 32 x 32 pixel views; `head` is a classifier's head, or a CNN's architecture."""
    torch.manual_seed(0)
    if head not in ("cls", "cls_mean", "pooled"):
        network = build_cnn(ConvSettings(architecture=head), task, len(labels))
    elif task == "segmentation":
        network = Segmenter(VisionTransformer(SMALL), len(labels), "linear")
    else:
        network = Classifier(VisionTransformer(SMALL), len(labels), head)
        torch.nn.init.normal_(network.linear.weight)
    count = len(labels)
    return Model(
        network.eval(), task, tuple(labels), 32, 48, np.ones(count), np.full(count, 0.5), dict(heads or {}), {}
    )
