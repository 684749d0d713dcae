import torch

from medprior.finetune.sar import SupervisedSar
from tests.finetune.conftest import build_classifier, tiny


def test_evaluation_is_left_as_it_was():
    network = build_classifier().eval()
    images = torch.rand(2, 1, 64, 64)
    before = network(images)
    SupervisedSar(network.vit, tiny(sar_weight=0.01), [])
    assert torch.equal(network(images), before)
    assert network.vit(images).cls_logits is None
    assert network.train().vit(images).cls_logits is not None
