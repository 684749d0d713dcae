"""Captures the CLS attention row of a backbone in training, for a loss on its attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from medprior.networks.encoder import Encoder, Tokens


class ClsRowCapture:
    """Forward hooks that keep a backbone's latest CLS row in training mode.

    Args:
        vit: the backbone.
    """

    def __init__(self, vit: Encoder) -> None:
        self._tokens: Tokens | None = None
        vit.register_forward_pre_hook(self._request_capture, with_kwargs=True)
        vit.register_forward_hook(self._keep_tokens)

    def take(self) -> tuple[Tensor, tuple[int, int]]:
        """Scores [B, H, N] and grid of the latest training pass; each pass is taken once."""
        tokens, self._tokens = self._tokens, None
        assert tokens is not None
        assert tokens.cls_logits is not None
        return tokens.cls_logits, tokens.grid

    def _request_capture(
        self, vit: Encoder, arguments: tuple[Any, ...], options: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Set `capture` in training mode."""
        if not vit.training:
            return None
        positional = dict(zip(("capture", "mask"), arguments[1:], strict=False))
        return arguments[:1], {**positional, **options, "capture": True}

    def _keep_tokens(self, vit: Encoder, arguments: tuple[Any, ...], tokens: Tokens) -> None:
        if vit.training:
            self._tokens = tokens
