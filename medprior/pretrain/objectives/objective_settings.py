"""Settings of each objective; a weight of 0 leaves the step as if the objective did not exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from medprior.networks.vit_settings import ViTSettings
from medprior.pretrain.objectives.head_assignment import assign_heads, check_free_heads
from medprior.settings import Settings

SMALL_COHORT_IMAGES = 10_000
Share = tuple[float, float]
Normaliser = Literal["centering", "sinkhorn"]
Divergence = Literal["kl", "region", "dice", "iou", "bce", "js", "mse"]


class ObjectiveSettings(Settings):
    """An objective's section of the settings, and what it asks of the run before it is built."""

    weight: float = Field(default=0.0, ge=0)

    @property
    def prior_reader(self) -> str | None:
        """What reads a spatial prior, in the words of an error message; None where nothing does."""
        return None

    @property
    def masks_views(self) -> bool:
        """Whether patches of the student's global views are masked."""
        return False

    @property
    def needs_shared_head(self) -> bool:
        """Whether it reads the projection head of student and teacher."""
        return False

    @property
    def scores_cls(self) -> bool:
        """Whether it reads that head's scores of CLS, `NetworkOutputs.scores`."""
        return False

    def check_sections(self, sections: Mapping[str, Settings]) -> None:
        """ValueError where it does not go together with the other sections."""

    def resolved(self, sections: Mapping[str, Settings], images: int, steps: int) -> Self:
        """With what depends on the cohort's size, or on other sections (those before: resolved)."""
        return self

    def initial_heads(self, names: Sequence[str], network: ViTSettings) -> list[int]:
        """Head of each structure of the prior, -1 where it is assigned later; empty for none."""
        return []


class DinoSettings(ObjectiveSettings):
    """Self-distillation; `resolved` fills `None` from the cohort's size."""

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

    @property
    def needs_shared_head(self) -> bool:
        """DINO scores CLS with it."""
        return self.weight > 0

    @property
    def scores_cls(self) -> bool:
        """DINO compares them."""
        return self.weight > 0

    def resolved(self, sections: Mapping[str, Settings], images: int, steps: int) -> Self:
        """Fill `None`; see `PretrainSettings.resolved`."""
        small = images < SMALL_COHORT_IMAGES
        defaults = {
            "prototypes": 256 if small else 8192,
            "batch_norm": small,
            "teacher": "centering",
            "teacher_temperature": 0.02 if small else 0.04,
            "teacher_momentum": max(0.5, min(0.99, 1 - 9 / steps)) if small else 0.996,
        }
        return self.checked(defaults | {k: v for k, v in self.model_dump().items() if v is not None})


class IbotSettings(ObjectiveSettings):
    """Masked patches (methods 2.2): how many are hidden, and which head scores them.

    Attributes:
        probability: share of the global views with hidden patches.
        ratio: least and largest share of patches hidden in such a view.
        aspect: least height / width of a hidden block; its inverse is the largest.
        separate_head: a head of its own, else DINO's.
        teacher: normalisation of the teacher's scores; DINO's by default.
    """

    probability: float = Field(default=0.5, ge=0, le=1)
    ratio: Share = (0.1, 0.5)
    aspect: float = Field(default=0.3, gt=0, le=1)
    separate_head: bool = False
    teacher: Normaliser | None = None

    @property
    def masks_views(self) -> bool:
        """The masked patches are what iBOT predicts."""
        return self.weight > 0

    @property
    def needs_shared_head(self) -> bool:
        """Unless it has a head of its own."""
        return self.weight > 0 and not self.separate_head

    def resolved(self, sections: Mapping[str, Settings], images: int, steps: int) -> Self:
        """The teacher's normalisation is DINO's by default."""
        dino = sections["dino"]
        assert isinstance(dino, DinoSettings)
        return self.model_copy(update={"teacher": self.teacher or dino.teacher})


class SpanSettings(ObjectiveSettings):
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

    @property
    def prior_reader(self) -> str | None:
        """SPAN always does."""
        return "SPAN" if self.weight else None

    def initial_heads(self, names: Sequence[str], network: ViTSettings) -> list[int]:
        """Heads by `assignment`; ConfigError where the network has too few."""
        if not self.weight:
            return []
        if self.assignment == "hungarian":
            check_free_heads(len(names), network.heads)
            return [-1] * len(names)
        return list(assign_heads(names, network.heads, self.heads, life=network.life).values())


class SarSettings(ObjectiveSettings):
    """Spatial entropy of the free heads (methods 4).

    Attributes:
        warmup: linear to `weight` over this share of the run, then a cosine to 0.
        connectivity: 8 as in the paper's code, or 4.
        excess: only what exceeds the entropy of the prior's own regions counts; needs a prior.
    """

    warmup: float = Field(default=0.1, ge=0, le=1)
    connectivity: Literal[4, 8] = 8
    excess: bool = False

    @property
    def prior_reader(self) -> str | None:
        """With `excess`."""
        return "sar.excess" if self.weight and self.excess else None


class LocaSettings(ObjectiveSettings):
    """Where a patch lies in another view (methods 7).

    Attributes:
        visible: share of the reference's patches that queries see.
        pattern: `consecutive` in raster order, or `random`.
        reference: whose patches: the moving-average teacher's, or the student's own.
        cluster: the second loss, on prototypes; by default on unless iBOT is, which does the same.
    """

    warmup: float = Field(default=0.05, ge=0, le=1)
    visible: float = Field(default=0.2, gt=0, le=1)
    pattern: Literal["consecutive", "random"] = "consecutive"
    reference: Literal["teacher", "student"] = "teacher"
    cluster: bool | None = None
    teacher_temperature: float = Field(default=0.05, gt=0)
    student_temperature: float = Field(default=0.1, gt=0)

    def check_sections(self, sections: Mapping[str, Settings]) -> None:
        """ValueError where the student's own patches would be a masked reference."""
        ibot = sections["ibot"]
        assert isinstance(ibot, IbotSettings)
        if self.weight and ibot.weight and self.reference == "student":
            raise ValueError(
                "loca.reference=student and ibot.weight > 0: the student's reference is masked; "
                "use loca.reference=teacher"
            )

    def resolved(self, sections: Mapping[str, Settings], images: int, steps: int) -> Self:
        """The cluster loss is on by default unless iBOT is."""
        ibot = sections["ibot"]
        assert isinstance(ibot, IbotSettings)
        return self.model_copy(update={"cluster": ibot.weight == 0 if self.cluster is None else self.cluster})


class ObjectiveSections(Settings):
    """The sections of the built-in objectives, and what all sections together ask of a run."""

    dino: DinoSettings = DinoSettings()
    ibot: IbotSettings = IbotSettings()
    span: SpanSettings = SpanSettings()
    sar: SarSettings = SarSettings()
    loca: LocaSettings = LocaSettings()

    @property
    def sections(self) -> dict[str, ObjectiveSettings]:
        """Every objective's section by its key, also those from outside the package."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in fields.items() if isinstance(value, ObjectiveSettings)}

    @model_validator(mode="after")
    def _check_sections(self) -> Self:
        sections = self.sections
        if not any(section.weight for section in sections.values()):
            raise ValueError("every objective has weight 0; there is nothing to learn")
        for section in sections.values():
            section.check_sections(sections)
        return self

    def resolve_sections(self, images: int, steps: int) -> dict[str, ObjectiveSettings]:
        """`sections`, each resolved for a number of training images and of steps."""
        sections = self.sections
        for name, section in sections.items():
            sections[name] = section.resolved(sections, images, steps)
        return sections

    def initial_heads(self, names: Sequence[str], network: ViTSettings) -> list[int]:
        """Heads of the first section that assigns some; empty where none does."""
        assigned = (section.initial_heads(names, network) for section in self.sections.values())
        return next((heads for heads in assigned if heads), [])

    @property
    def prior_readers(self) -> list[str]:
        """What reads a spatial prior, in the words of an error message."""
        return [section.prior_reader for section in self.sections.values() if section.prior_reader]

    @property
    def needs_prior(self) -> bool:
        """Whether an objective reads a spatial prior."""
        return bool(self.prior_readers)

    @property
    def masks_views(self) -> bool:
        """Whether an objective masks patches of the student's global views."""
        return any(section.masks_views for section in self.sections.values())

    @property
    def needs_shared_head(self) -> bool:
        """Whether an objective reads the projection head of student and teacher."""
        return any(section.needs_shared_head for section in self.sections.values())

    @property
    def scores_cls(self) -> bool:
        """Whether an objective reads the shared head's scores of CLS."""
        return any(section.scores_cls for section in self.sections.values())

    @property
    def teacher_momentum(self) -> float:
        """Momentum of the teacher at the start of the run; resolved settings only."""
        assert self.dino.teacher_momentum is not None
        return self.dino.teacher_momentum

    @property
    def uniform_entropy(self) -> float:
        """Entropy of a teacher that uses all prototypes alike: ln K, nats."""
        return float(np.log(self.dino.prototypes or 1))
