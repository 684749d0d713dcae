"""iBOT: say of hidden patches what the teacher says, who sees them (Zhou et al. 2022).

Evidence: confirmed in DINOv2's code (methods 2.2), from which weight, masks and the mean come.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from medprior.pretrain.batches import HIDDEN
from medprior.pretrain.dino import centred_softmax, sinkhorn, updated_centre
from medprior.pretrain.masking import hidden_patches
from medprior.pretrain.net import Net, projection_head
from medprior.pretrain.objective import Logs, Objective, Outputs, Scene
from medprior.pretrain.ranks import total, world
from medprior.pretrain.settings import PretrainSettings


def ibot_loss(student: Tensor, teacher: Tensor, view: Tensor, views: int, tau: float) -> Tensor:
    """Cross-entropy at hidden patches.

    Args:
        student: scores [M, K] at the hidden patches of all views.
        teacher: probabilities [M, K] at the same patches, without gradient.
        view: int64 [M], the view of each patch.
        views: number of views, masked or not.
        tau: softmax temperature of the student.

    Returns:
        Scalar: mean over a view's hidden patches, then over all views, of which those without a
        mask count as 0 (confirmed).
    """
    log_p = (student.float() / tau).log_softmax(-1)
    each = -(teacher * log_p).sum(-1)
    hidden = torch.bincount(view, minlength=views).clamp_min(1)
    return (each / hidden[view]).sum() / views


class Ibot(Objective):
    """iBOT on the global views.

    With it the student's global views are masked for every objective, as in DINOv2: one forward
    pass, not two. SPAN, SAR and LOCA then read seen patches alone (our choice).
    """

    name = "ibot"
    needs_teacher = True
    centre: Tensor

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        assert settings.dino.prototypes is not None
        self.settings = settings
        self.register_buffer("centre", torch.zeros(settings.dino.prototypes))
        self._told: list[tuple[Tensor, Tensor]] = []

    def weight(self, progress: float) -> float:
        """Constant."""
        return self.settings.ibot.weight

    def parts(self) -> dict[str, nn.Module]:
        """The patches' own head, if they have one."""
        return {"ibot": projection_head(self.settings)} if self.settings.ibot.separate_head else {}

    def hidden(self, step: int, part: slice, whole: int, grid: tuple[int, int]) -> Tensor:
        """Masks of a part of the step's batch: bool [2B, N], from seed and step alone."""
        rng = np.random.default_rng([self.settings.seed, HIDDEN, step])
        masks = hidden_patches(rng, 2 * whole, grid, self.settings.ibot)
        return torch.from_numpy(masks.reshape(2, whole, -1)[:, part].reshape(-1, masks.shape[1]))

    def loss(
        self, scene: Scene, targets: None, count: Tensor | None, outputs: Outputs
    ) -> tuple[Tensor, Logs]:
        """Loss at hidden patches; logs how many are hidden, over all processes."""
        assert scene.hidden is not None
        assert outputs.taught is not None
        view, patch = scene.hidden.nonzero(as_tuple=True)
        student = self._scores(outputs.student, outputs.views[0].patches[view, patch])
        with torch.no_grad():
            taught = self._scores(outputs.teacher, outputs.taught.patches[view, patch])
            teacher = self._normalised(taught)
        loss = ibot_loss(
            student, teacher, view, len(scene.hidden), self.settings.dino.student_temperature
        )
        return loss, {"hidden_share": total(scene.hidden.float().mean()) / world()}

    def _scores(self, net: Net, patches: Tensor) -> Tensor:
        head = net.parts["ibot"] if self.settings.ibot.separate_head else net.head
        assert head is not None
        scores: Tensor = head(patches)
        return scores

    def _normalised(self, scores: Tensor) -> Tensor:
        temperature = self.settings.dino.teacher_temperature
        assert temperature is not None
        if self.settings.ibot.teacher == "sinkhorn":
            return sinkhorn(scores, temperature)
        count = torch.tensor(float(len(scores)), device=scores.device)
        self._told.append((scores.float().sum(0), count))
        return centred_softmax(scores, self.centre, temperature)

    @torch.no_grad()
    def settle(self) -> None:
        """Move the centre towards the mean over all hidden patches of the step."""
        if self._told:
            sums = total(torch.stack([told[0] for told in self._told]).sum(0))
            count = total(torch.stack([told[1] for told in self._told]).sum())
            if count > 0:
                momentum = self.settings.dino.centre_momentum
                self.centre.copy_(updated_centre(self.centre, sums / count, momentum))
        self.forget()

    def forget(self) -> None:
        """Leave the centre where it is."""
        self._told.clear()
