import pytest
import torch

from medprior.finetune.cls_row_capture import ClsRowCapture
from medprior.finetune.sar import SupervisedSar
from medprior.networks import ViTSettings, build_encoder
from tests.finetune.conftest import build_classifier, tiny


def test_evaluation_is_left_as_it_was():
    network = build_classifier().eval()
    images = torch.rand(2, 1, 64, 64)
    before = network(images)
    SupervisedSar(network.vit, tiny(sar_weight=0.01), [])
    assert torch.equal(network(images), before)
    assert network.vit(images).cls_logits is None
    assert network.train().vit(images).cls_logits is not None


def test_the_row_of_a_training_pass_is_taken_once():
    vit = build_classifier().vit.train()
    capture = ClsRowCapture(vit)
    images = torch.rand(3, 1, 64, 64)
    vit(images)
    tokens = vit(images)
    scores, grid = capture.take()
    assert scores is tokens.cls_logits
    assert (scores.shape, grid) == ((3, 6, 64), (8, 8))
    with pytest.raises(AssertionError):
        capture.take()


def test_an_evaluation_pass_neither_gives_nor_replaces_a_row():
    vit = build_classifier().vit
    capture = ClsRowCapture(vit)
    vit.train()(torch.rand(2, 1, 64, 64))
    vit.eval()(torch.rand(5, 1, 64, 64), capture=True)
    assert len(capture.take()[0]) == 2


def test_further_arguments_of_a_pass_are_kept():
    settings = ViTSettings.from_values({"width": 24, "depth": 1, "heads": 3, "image_size": 32, "mask_token": True})
    vit = build_encoder(settings).train()
    images, mask = torch.rand(1, 1, 32, 32), torch.zeros(1, 16, dtype=torch.bool)
    mask[0, 3] = True
    wanted = vit(images, mask=mask).patches
    assert not torch.equal(wanted, vit(images).patches)
    capture = ClsRowCapture(vit)
    for further, options in (((False, mask), {}), ((), {"capture": False, "mask": mask}), ((), {"mask": mask})):
        tokens = vit(images, *further, **options)
        assert torch.equal(tokens.patches, wanted)
        assert torch.equal(capture.take()[0], tokens.cls_logits)
