"""Schedules over a run: functions of progress in [0, 1]."""

from __future__ import annotations

import math


def cosine_schedule(start: float, end: float, progress: float) -> float:
    """Half a cosine from `start` at progress 0 to `end` at 1."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2


def warmup_cosine_schedule(peak: float, end: float, warmup: float, progress: float) -> float:
    """Linear from 0 to `peak` over the first `warmup` of the run, then a cosine to `end`."""
    if progress < warmup:
        return peak * progress / warmup
    return cosine_schedule(peak, end, (progress - warmup) / max(1 - warmup, 1e-9))


def warmup_hold_schedule(peak: float, floor: float, warmup: float, progress: float) -> float:
    """Linear from 0 to `peak`, held to half of the run, then a cosine to `floor * peak`."""
    if progress < warmup:
        return peak * progress / warmup
    return cosine_schedule(peak, floor * peak, (progress - 0.5) * 2)
