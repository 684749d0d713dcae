"""The network of student and teacher: which heads it has, and for which stacks it computes what."""

import torch

from medprior.pretrain.network import PretrainNetwork

from .multi_crops import WITHOUT_DINO, tiny

STACKS = [torch.rand(2, 1, 48, 48), torch.rand(3, 1, 24, 24)]


def network_of(**changes):
    torch.manual_seed(0)
    return PretrainNetwork(tiny(**changes)).eval()


def test_scores_are_of_all_stacks_in_order():
    network = network_of(dino={"batch_norm": False})
    tokens, scores = network(STACKS, 0)
    assert [x.grid for x in tokens] == [(6, 6), (3, 3)]
    assert scores.shape == (5, 32)
    torch.testing.assert_close(scores[:2], network.head(tokens[0].cls))
    torch.testing.assert_close(scores[2:], network.head(tokens[1].cls))


def test_the_cls_row_is_computed_for_the_first_stacks_only():
    network = network_of()
    for rows in range(3):
        tokens, _ = network(STACKS, rows)
        assert [x.cls_logits is not None for x in tokens] == [rows > 0, rows > 1]


def test_masks_are_of_the_first_stack():
    network = network_of(recipe="ibot")
    masked = torch.zeros(2, 36, dtype=torch.bool)
    masked[0, :9] = True
    plain, _ = network(STACKS, 0)
    hidden, _ = network(STACKS, 0, masked)
    assert not torch.allclose(plain[0].cls[0], hidden[0].cls[0])
    torch.testing.assert_close(plain[0].cls[1], hidden[0].cls[1])
    torch.testing.assert_close(plain[1].cls, hidden[1].cls)


def test_a_head_where_an_objective_reads_it_and_scores_where_dino_does():
    assert network_of(recipe="span", **WITHOUT_DINO).head is None
    assert network_of(recipe="span", **WITHOUT_DINO)(STACKS, 0)[1] is None
    masking = network_of(recipe="ibot", **WITHOUT_DINO)
    assert masking.head is not None
    assert masking(STACKS, 0)[1] is None
    assert network_of(recipe="ibot", ibot={"separate_head": True}, **WITHOUT_DINO).head is None


def test_the_second_half_of_the_first_stack_may_be_encoded_from_few_patches():
    network = network_of(recipe="loca-alone")
    kept = torch.tensor([[0, 7, 35]])
    whole, _ = network(STACKS, 0)
    tokens, _ = network(STACKS, 0, None, kept)
    torch.testing.assert_close(tokens[0].patches[0], whole[0].patches[0])
    torch.testing.assert_close(tokens[1].cls, whole[1].cls)
    torch.testing.assert_close(tokens[0].patches[1:], network.backbone(STACKS[0][1:], kept=kept).patches)
    assert not torch.allclose(tokens[0].cls[1], whole[0].cls[1])
