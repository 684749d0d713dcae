"""Logits, tokens and attention of a batch of views from one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medprior.finetune.assembly import Network
from medprior.networks.attention import arrange_attention_maps
from medprior.networks.encoder import Tokens


@dataclass(frozen=True)
class NetworkOutput:
    """The result of one forward pass.

    Shape:
        logits: [B, C] or [B, K, S, S]. tokens: of the backbone, with the CLS row of its last block.
    """

    logits: Tensor
    tokens: Tokens

    def __getitem__(self, index: int) -> NetworkOutput:
        """The output for one image, as a batch of one."""
        part, tokens = slice(index, index + 1), self.tokens
        assert tokens.cls_logits is not None
        assert tokens.cls_mass is not None
        row = tokens.cls_logits[part], tokens.cls_mass[part]
        return NetworkOutput(self.logits[part], Tokens(tokens.cls[part], tokens.patches[part], tokens.grid, *row))

    @property
    def attention(self) -> Tensor:
        """Attention [B, H, rows, columns] of the last block's heads; H is 0 for a CNN."""
        return arrange_attention_maps(self.tokens)


@torch.inference_mode()
def run_single_pass(network: Network, images: Tensor) -> NetworkOutput:
    """Run a network in evaluation mode on images [B, 1, S, S] in [0, 1]."""
    return NetworkOutput(*network.forward_with_tokens(images))
