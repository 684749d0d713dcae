"""Capture fused attention without changing the module that calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from medprior.networks.encoder import AttentionCallback
from medprior.networks.vit import attend_with_callback, compute_cls_scores


class AttentionCaptureMode(TorchFunctionMode):
    """Context that captures the queries and keys of every call of fused attention.

    Queries and keys come after norms and rotary embedding, independent of the module. Attention masks are not for
    encoders and are refused.

    Args:
        row: keep the CLS row of the last call in `self.row`, float32 [B, H, T], on the graph.
        watch: receives the attention matrix, which then replaces the fused kernel.
    """

    def __init__(self, row: bool, watch: AttentionCallback | None) -> None:
        super().__init__()
        self._capture_row, self._watch = row, watch
        self.row: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Pass every call on, after capturing attention."""
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        q, k, v = args
        if kwargs.get("attn_mask") is not None or kwargs.get("is_causal"):
            raise ValueError("attn_mask and is_causal are not supported when capturing attention")
        if self._capture_row:
            self.row = compute_cls_scores(q, k)
        if self._watch is not None:
            return attend_with_callback(q, k, v, self._watch)
        return func(*args, **kwargs)
