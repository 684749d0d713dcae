"""Settings of each objective; a weight of 0 leaves the step as if the objective did not exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from medprior.networks.vit_settings import ViTSettings
from medprior.pretrain.objectives.head_assignment import assign_heads, check_free_heads
from medprior.settings import Settings

SMALL_COHORT_IMAGES = 10_000
HEAD_FIELDS = ("prototypes", "hidden", "bottleneck", "batch_norm", "prototype_init")
Share = tuple[float, float]
Normaliser = Literal["centering", "sinkhorn"]
PrototypeInit = Literal["normal", "uniform", "unit"]
Divergence = Literal["kl", "region", "dice", "iou", "bce", "js", "mse"]


class ObjectiveNeeds(NamedTuple):
    """What an objective needs of a run.

    Attributes:
        prior: name of the objective or option that needs a prior, as errors print it; empty if none.
        masks: patches of the student's global views are masked.
        head: the projection head that student and teacher share. scores: its scores of CLS.
    """

    prior: str = ""
    masks: bool = False
    head: bool = False
    scores: bool = False


class ObjectiveSettings(Settings):
    """An objective's section of the settings, and what it asks of the run before it is built.

    Attributes:
        weight: of the objective in the loss; 0 leaves it out.
    """

    active_needs: ClassVar[ObjectiveNeeds] = ObjectiveNeeds()
    weight: float = Field(default=0.0, ge=0)

    @property
    def needs(self) -> ObjectiveNeeds:
        """What a run must offer; with a weight of 0 nothing."""
        return self.active_needs if self.weight else ObjectiveNeeds()

    def check_sections(self, run: ObjectiveSections) -> None:
        """ValueError where the section contradicts another one."""

    def resolve(self, run: ObjectiveSections, images: int, steps: int) -> Self:
        """The section with its defaults for a run whose sections before this one are resolved."""
        return self

    def initial_heads(self, names: Sequence[str], network: ViTSettings) -> list[int]:
        """Head of each structure of the prior, -1 where it is assigned later; empty for none."""
        return []


class DinoSettings(ObjectiveSettings):
    """Self-distillation; `resolve` fills `None` from the cohort's size.

    Attributes:
        prototypes: number of prototypes; by default 256, from 10 000 images on 8192.
        hidden: channels of the hidden layers of the projection head.
        bottleneck: channels of its last layer before the prototypes.
        batch_norm: batch normalisation in the head; by default on below 10 000 images.
        teacher: normalisation of the teacher's scores; by default centring.
        temperature_epochs: epochs over which the teacher's temperature changes.
        student_temperature: softmax temperature of the student.
        centre_momentum: momentum of the centre of the teacher's scores.
        teacher_momentum: momentum of the teacher at the start; by default from the run's length, 0.996 from 10 000
            images on.
        koleo_weight: of KoLeo, which spreads the features of a batch.
        prototype_init: normal with deviation 0.02; uniform up to 1 / sqrt(bottleneck), PyTorch's for a linear layer and
            so DINO's; or normal rows of length 1. Scores do not depend on lengths, the step of AdamW does.
        freeze_epochs: epochs at the start in which the prototypes stay.
        teacher_temperature: from `temperature_epochs` on. start_temperature: in step 0, None for the same.
    """

    active_needs = ObjectiveNeeds(head=True, scores=True)
    weight: float = Field(default=1.0, ge=0)
    prototypes: int | None = Field(default=None, ge=2)
    hidden: int = Field(default=512, ge=8)
    bottleneck: int = Field(default=64, ge=4)
    batch_norm: bool | None = None
    prototype_init: PrototypeInit = "normal"
    freeze_epochs: int = Field(default=0, ge=0)
    teacher: Normaliser | None = None
    teacher_temperature: float | None = Field(default=None, gt=0)
    start_temperature: float | None = Field(default=None, gt=0)
    temperature_epochs: float = Field(default=0.0, ge=0)
    student_temperature: float = Field(default=0.1, gt=0)
    centre_momentum: float = Field(default=0.9, ge=0, lt=1)
    teacher_momentum: float | None = Field(default=None, ge=0, lt=1)
    koleo_weight: float = Field(default=0.1, ge=0)

    def resolve(self, run: ObjectiveSections, images: int, steps: int) -> Self:
        """Fill `None`; see `PretrainSettings.resolve`."""
        small = images < SMALL_COHORT_IMAGES
        defaults = {
            "prototypes": 256 if small else 8192,
            "batch_norm": small,
            "teacher": "centering",
            "teacher_temperature": 0.02 if small else 0.04,
            "teacher_momentum": max(0.5, min(0.99, 1 - 9 / steps)) if small else 0.996,
        }
        return self.from_values(defaults | {k: v for k, v in self.model_dump().items() if v is not None})


class IbotSettings(ObjectiveSettings):
    """Masked patches (arXiv 2111.07832): their number, and the head that scores them.

    Attributes:
        probability: share of the global views with masked patches.
        ratio: least and largest share of patches masked in such a view.
        aspect: least height / width of a masked block; its inverse is the largest.
        separate_head: a head of its own, else DINO's.
        teacher: normalisation of the teacher's scores; DINO's by default.
    """

    probability: float = Field(default=0.5, ge=0, le=1)
    ratio: Share = (0.1, 0.5)
    aspect: float = Field(default=0.3, gt=0, le=1)
    separate_head: bool = False
    teacher: Normaliser | None = None

    @property
    def needs(self) -> ObjectiveNeeds:
        """Masked views, and the shared head unless it has its own."""
        return ObjectiveNeeds(masks=self.weight > 0, head=self.weight > 0 and not self.separate_head)

    def resolve(self, run: ObjectiveSections, images: int, steps: int) -> Self:
        """The teacher's normalisation is DINO's by default."""
        return self.model_copy(update={"teacher": self.teacher or run.dino.teacher})


class SpanSettings(ObjectiveSettings):
    """Attention towards the prior (idea: arXiv 2209.03745).

    Attributes:
        loss: `kl`; `region` with an entropy floor; `dice`, `iou`, `bce`, `js`, `mse`.
        warmup: share of the run in which the weight rises linearly.
        floor: share of `weight` at the end, by a cosine from half of the run on.
        epsilon: uniform share of the target.
        entropy_floor: `region` keeps the attention's entropy above this share of the prior's.
        visible_share: least share of a structure that a view must show for it to count.
        visible_cover: least share of a view that it must cover.
        assignment: `fixed`, or `hungarian` after `assign_after` of the run.
        assign_after: share of the run before the heads are assigned.
        guard_every: steps between the checks of `guard`.
        heads: structure -> head for `fixed`; by default the first, with LIFE the last.
        local_views: also on local views, where their grid is at least 6 x 6.
        mass_penalty: factor of the penalty on assigned heads with less than half of their attention on patches.
        guard: halve the weight where SPAN's gradient is over half of DINO's.
    """

    active_needs = ObjectiveNeeds(prior="SPAN")
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

    def initial_heads(self, names: Sequence[str], network: ViTSettings) -> list[int]:
        """Heads by `assignment`; ConfigError where the network has too few."""
        if not self.weight:
            return []
        if self.assignment == "hungarian":
            check_free_heads(len(names), network.heads)
            return [-1] * len(names)
        return list(assign_heads(names, network.heads, self.heads, life=network.life).values())


class SarSettings(ObjectiveSettings):
    """Spatial entropy of the free heads (arXiv 2206.04636).

    Attributes:
        warmup: linear to `weight` over this share of the run, then a cosine to 0. warmup_epochs: in its place, in
            epochs.
        connectivity: 8 as in the paper's code, or 4.
        excess: only what exceeds the entropy of the prior's own regions counts; needs a prior.
    """

    warmup: float = Field(default=0.1, ge=0, le=1)
    warmup_epochs: float | None = Field(default=None, ge=0)
    connectivity: Literal[4, 8] = 8
    excess: bool = False

    @property
    def needs(self) -> ObjectiveNeeds:
        """A prior, with `excess`."""
        return ObjectiveNeeds(prior="sar.excess" if self.weight and self.excess else "")


class LocaSettings(ObjectiveSettings):
    """Location of patches in another view (arXiv 2212.02400).

    Attributes:
        warmup: share of the run in which the weight rises linearly.
        visible: share of the reference's patches that queries see.
        pattern: `consecutive` in raster order, or `random`.
        reference: whose patches: the moving-average teacher's, or the student's own.
        cluster: the second loss, on prototypes; by default on unless iBOT is, which does the same.
        query_patches: number of patches of global view 2, at random, that the student encodes; the rest is dropped
            before its first block. None for all.
        prototypes: number of prototypes of the cluster loss's head; this and the next four by default as DINO's.
        hidden: channels of its hidden layers.
        bottleneck: channels of its last layer before the prototypes.
        batch_norm: batch normalisation in it.
        prototype_init: initial values of its prototypes.
        teacher_temperature: softmax temperature of the cluster loss's teacher.
        student_temperature: of its student.
    """

    warmup: float = Field(default=0.05, ge=0, le=1)
    visible: float = Field(default=0.2, gt=0, le=1)
    pattern: Literal["consecutive", "random"] = "consecutive"
    reference: Literal["teacher", "student"] = "teacher"
    cluster: bool | None = None
    query_patches: int | None = Field(default=None, ge=1)
    prototypes: int | None = Field(default=None, ge=2)
    hidden: int | None = Field(default=None, ge=8)
    bottleneck: int | None = Field(default=None, ge=4)
    batch_norm: bool | None = None
    prototype_init: PrototypeInit | None = None
    teacher_temperature: float = Field(default=0.05, gt=0)
    student_temperature: float = Field(default=0.1, gt=0)

    def check_sections(self, run: ObjectiveSections) -> None:
        """The student's own patches are no reference where iBOT masks them, and the others' views are whole."""
        if self.weight and run.ibot.weight and self.reference == "student":
            raise ValueError(
                "loca.reference=student and ibot.weight > 0: the student's reference is masked; "
                "use loca.reference=teacher"
            )
        if self.weight and self.query_patches and (run.ibot.weight or run.span.weight or run.sar.weight):
            raise ValueError(
                "loca.query_patches drops patches that ibot, span and sar read; leave them or it out of the run"
            )

    def resolve(self, run: ObjectiveSections, images: int, steps: int) -> Self:
        """The cluster loss is on by default unless iBOT is; its head has the shape of DINO's."""
        cluster = run.ibot.weight == 0 if self.cluster is None else self.cluster
        shape = {name: getattr(run.dino, name) for name in HEAD_FIELDS if getattr(self, name) is None}
        return self.model_copy(update=shape | {"cluster": cluster})


class ObjectiveSections(Settings):
    """The sections of the built-in objectives, and what all sections together ask of a run.

    Attributes:
        dino: self-distillation between views (arXiv 2104.14294).
        ibot: prediction of masked patches (arXiv 2111.07832).
        span: attention towards a spatial prior (idea: arXiv 2209.03745).
        sar: spatial entropy of attention (arXiv 2206.04636).
        loca: location of patches in another view (arXiv 2212.02400).
    """

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
        if not any(section.weight for section in self.sections.values()):
            raise ValueError("every objective has weight 0; there is nothing to learn")
        for section in self.sections.values():
            section.check_sections(self)
        return self

    def resolve_sections(self, images: int, steps: int) -> Self:
        """Settings with every section resolved for a number of training images and of steps."""
        run = self
        for name, section in self.sections.items():
            run = run.model_copy(update={name: section.resolve(run, images, steps)})
        return run

    def initial_heads(self, names: Sequence[str], network: ViTSettings) -> list[int]:
        """Heads of the first section that assigns some; empty where none does."""
        assigned = (section.initial_heads(names, network) for section in self.sections.values())
        return next((heads for heads in assigned if heads), [])

    @property
    def needs(self) -> ObjectiveNeeds:
        """What the objectives together need; `prior` names the first of its readers."""
        columns = zip(*(section.needs for section in self.sections.values()), strict=True)
        return ObjectiveNeeds(*(next(filter(None, column), column[0]) for column in columns))

    @property
    def needs_prior(self) -> bool:
        """Whether an objective reads a spatial prior."""
        return bool(self.needs.prior)

    @property
    def teacher_momentum(self) -> float:
        """Momentum of the teacher at the start of the run; resolved settings only."""
        assert self.dino.teacher_momentum is not None
        return self.dino.teacher_momentum

    @property
    def uniform_entropy(self) -> float:
        """Entropy of a teacher that uses all prototypes alike: ln K, nats."""
        return float(np.log(self.dino.prototypes or 1))
