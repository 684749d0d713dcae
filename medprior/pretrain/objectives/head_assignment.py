"""Assignment of the last block's heads to the structures of the prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from medprior.errors import ConfigError
from medprior.networks.device import send_to_device


def assign_heads(
    names: Sequence[str], heads: int, head_map: Mapping[str, int] | None, *, life: bool = False
) -> dict[str, int]:
    """Structure name -> head index, in the prior's order.

    Without `head_map`, structures take heads 0, 1, ...; with LIFE the last ones, which see the widest neighbourhood. At
    least half of the heads stay free for the self-distillation. All our choice.

    Raises:
        ConfigError: more structures than half the heads, an unknown structure or head, or one head for two structures.
    """
    if head_map is None:
        check_free_heads(len(names), heads)
        first = heads - len(names) if life else 0
        return {name: first + index for index, name in enumerate(names)}
    unknown = sorted(set(head_map) - set(names))
    outside = sorted({head for head in head_map.values() if not 0 <= head < heads})
    shared = len(set(head_map.values())) < len(head_map)
    missing = sorted(set(names) - set(head_map))
    if unknown or outside or shared or missing:
        raise ConfigError(
            "the head map does not fit", where="span.heads",
            expected=f"one head in 0..{heads - 1} for each of {', '.join(names)}",
            found=", ".join(f"{k}: {v}" for k, v in head_map.items()) or "nothing",
        )  # fmt: skip
    return {name: head_map[name] for name in names}


def check_free_heads(structures: int, heads: int) -> None:
    """ConfigError unless at least half of the heads stay free."""
    if 2 * structures > heads:
        raise ConfigError(
            "too many structures for the network's heads",
            where="network.heads", expected=f"at least {2 * structures}", found=str(heads),
            fix="raise network.heads, or name span.heads yourself",
        )  # fmt: skip


def find_best_assignment(cost: Tensor) -> list[int]:
    """The head of each structure, such that the summed cost [K, H] is least (Hungarian method)."""
    from scipy.optimize import linear_sum_assignment

    _, heads = linear_sum_assignment(cost.detach().double().cpu().numpy())
    return [int(head) for head in heads]


def select_heads(scores: Tensor, heads: Sequence[int]) -> Tensor:
    """The heads of scores [B, H, N], float32 [B, len(heads), N]; a list as an index would make the host wait."""
    return scores[:, send_to_device(torch.tensor(list(heads), dtype=torch.long), scores.device)]
