"""Settings of each objective; a weight of 0 leaves the step as if the objective did not exist."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medprior.settings import Settings

Share = tuple[float, float]
Normaliser = Literal["centering", "sinkhorn"]
Divergence = Literal["kl", "region", "dice", "iou", "bce", "js", "mse"]


class DinoSettings(Settings):
    """Self-distillation; `PretrainSettings.resolved` fills `None` from the cohort's size."""

    weight: float = Field(default=1.0, ge=0)
    prototypes: int | None = Field(default=None, ge=2)
    hidden: int = Field(default=512, ge=8)
    bottleneck: int = Field(default=64, ge=4)
    batch_norm: bool | None = None
    teacher: Normaliser | None = None
    teacher_temperature: float | None = Field(default=None, gt=0)
    student_temperature: float = Field(default=0.1, gt=0)
    centre_momentum: float = Field(default=0.9, ge=0, lt=1)
    teacher_momentum: float | None = Field(default=None, ge=0, lt=1)
    koleo_weight: float = Field(default=0.1, ge=0)


class IbotSettings(Settings):
    """Masked patches (methods 2.2): how many are hidden, and which head scores them.

    Attributes:
        probability: share of the global views with hidden patches.
        ratio: least and largest share of patches hidden in such a view.
        aspect: least height / width of a hidden block; its inverse is the largest.
        separate_head: a head of its own, else DINO's.
        teacher: normalisation of the teacher's scores; DINO's by default.
    """

    weight: float = Field(default=0.0, ge=0)
    probability: float = Field(default=0.5, ge=0, le=1)
    ratio: Share = (0.1, 0.5)
    aspect: float = Field(default=0.3, gt=0, le=1)
    separate_head: bool = False
    teacher: Normaliser | None = None


class SpanSettings(Settings):
    """Attention towards the prior (methods 3).

    Attributes:
        loss: `kl`; `region` with an entropy floor; `dice`, `iou`, `bce`, `js`, `mse`.
        warmup, floor: linear to `weight`, held, from half of the run a cosine to `floor * weight`.
        epsilon: uniform share of the target.
        entropy_floor: `region` keeps the attention's entropy above this share of the prior's.
        visible_share, visible_cover: what a view must show of a structure to count.
        assignment: `fixed`, or `hungarian` after `assign_after` of the run (methods 3.5).
        heads: structure -> head for `fixed`; by default the first, with LIFE the last.
        local_views: also on local views, where their grid is at least 6 x 6.
        mass_penalty: factor of the penalty on assigned heads that look at patches with less than
            half of their attention.
        guard: halve the weight where SPAN's gradient is over half of DINO's (methods 3.6).
    """

    weight: float = Field(default=0.3, ge=0)
    loss: Divergence = "kl"
    warmup: float = Field(default=0.05, ge=0, le=1)
    floor: float = Field(default=1.0, ge=0, le=1)
    epsilon: float = Field(default=0.02, ge=0, lt=1)
    entropy_floor: float = Field(default=0.5, ge=0, le=1)
    visible_share: float = Field(default=0.25, ge=0, le=1)
    visible_cover: float = Field(default=0.02, ge=0, le=1)
    assignment: Literal["fixed", "hungarian"] = "fixed"
    assign_after: float = Field(default=0.01, ge=0, le=1)
    heads: dict[str, int] | None = None
    local_views: bool = False
    mass_penalty: float = Field(default=0.0, ge=0)
    guard: bool = False
    guard_every: int = Field(default=100, ge=1)


class SarSettings(Settings):
    """Spatial entropy of the free heads (methods 4).

    Attributes:
        warmup: linear to `weight` over this share of the run, then a cosine to 0.
        connectivity: 8 as in the paper's code, or 4.
        excess: only what exceeds the entropy of the prior's own regions counts; needs a prior.
    """

    weight: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    connectivity: Literal[4, 8] = 8
    excess: bool = False


class LocaSettings(Settings):
    """Where a patch lies in another view (methods 7).

    Attributes:
        visible: share of the reference's patches that queries see.
        pattern: `consecutive` in raster order, or `random`.
        reference: whose patches: the moving-average teacher's, or the student's own.
        cluster: the second loss, on prototypes; by default on unless iBOT is, which does the same.
    """

    weight: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    visible: float = Field(default=0.2, gt=0, le=1)
    pattern: Literal["consecutive", "random"] = "consecutive"
    reference: Literal["teacher", "student"] = "teacher"
    cluster: bool | None = None
    teacher_temperature: float = Field(default=0.05, gt=0)
    student_temperature: float = Field(default=0.1, gt=0)
