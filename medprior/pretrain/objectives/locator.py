"""LOCA's head: locates query patches in a reference of which few patches are visible."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class Locator(nn.Module):
    """One cross-attention block, a norm and a linear classifier over positions.

    Source: LOCA's code (scenic, `projects/loca/vit.py`): pre-norm on queries and on keys and values, attention, MLP,
    residuals, then LayerNorm and Linear.

    Args:
        width: D. heads: of the attention. positions: number of cells of the reference.
    """

    def __init__(self, width: int, heads: int, positions: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query = nn.LayerNorm(width, eps=1e-6)
        self.norm_context = nn.LayerNorm(width, eps=1e-6)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classify = nn.Linear(width, positions)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Scores of positions [B, Q, P] of queries [B, Q, D] that attend to context [B, C, D]."""
        q = rearrange(self.query(self.norm_query(queries)), "b q (h d) -> b h q d", h=self.heads)
        both = self.key_value(self.norm_context(context))
        k, v = rearrange(both, "b c (two h d) -> two b h c d", two=2, h=self.heads)
        context_values = rearrange(F.scaled_dot_product_attention(q, k, v), "b h q d -> b q (h d)")
        x = queries + self.project(context_values)
        x = x + self.mlp(self.norm_mlp(x))
        scores: Tensor = self.classify(self.norm(x))
        return scores
