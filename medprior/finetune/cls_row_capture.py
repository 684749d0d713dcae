"""The CLS row that a backbone computes in training, kept for a loss on its attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from medprior.networks.encoder import Encoder, Tokens


class ClsRowCapture:
    """Makes a backbone capture its CLS row whenever it is in training mode, and keeps the latest.

    Args:
        vit: the backbone.
    """

    def __init__(self, vit: Encoder) -> None:
        self._tokens: Tokens | None = None
        vit.register_forward_pre_hook(self._ask, with_kwargs=True)
        vit.register_forward_hook(self._keep)

    def take(self) -> tuple[Tensor, tuple[int, int]]:
        """Scores [B, H, N] and grid of the latest training pass; used up by the call."""
        tokens, self._tokens = self._tokens, None
        assert tokens is not None
        assert tokens.cls_logits is not None
        return tokens.cls_logits, tokens.grid

    def _ask(
        self, vit: Encoder, arguments: tuple[Any, ...], named: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Capture the row in training mode."""
        if not vit.training:
            return None
        given = dict(zip(("capture", "mask"), arguments[1:], strict=False))
        return arguments[:1], {**given, **named, "capture": True}

    def _keep(self, vit: Encoder, arguments: tuple[Any, ...], tokens: Tokens) -> None:
        if vit.training:
            self._tokens = tokens
