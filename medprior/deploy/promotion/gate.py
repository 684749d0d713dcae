"""The gate: a challenger against the champion on the same images, check by check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.promotion.scores import Scores, judged_names, scored
from medprior.deploy.promotion.settings import GateSettings
from medprior.deploy.registry import package
from medprior.evaluate.study import Study
from medprior.finetune.model import Model
from medprior.metrics.bootstrap import Estimate


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what was found, in words."""

    name: str
    passed: bool
    text: str


@dataclass
class Verdict:
    """All checks of a challenger, and the numbers they rest on.

    Attributes:
        checks: in the order they were made.
        numbers: task -> `champion`, `challenger`, `difference` as in `metrics.json`.
    """

    checks: list[Check] = field(default_factory=list)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True where every check was made and passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def refusal(self) -> str:
        """The checks that did not pass, in one line."""
        return "; ".join(f"{check.name}: {check.text}" for check in self.checks if not check.passed)


def judge(
    study: Study, champion: Predictor | None, challenger: Predictor, settings: GateSettings
) -> Verdict:
    """Compare the challenger with the champion on the study's images, task by task.

    Without a champion, and for a task the champion does not have, absolute bounds stand in.

    Raises:
        InputMissing: the cohort lacks the labels or masks to judge by.
    """
    verdict = Verdict()
    old = champion.models if champion else {}
    for task in old.keys() | challenger.models.keys():
        new = challenger.models.get(task)
        before = old.get(task)
        verdict.checks += same_questions(task, before, new, settings)
        if new is None or not verdict.passed:
            continue
        names = judged_names(study, [model for model in (new, before) if model is not None])
        ours = scored(study, new, names)
        theirs = scored(study, before, names) if before is not None else None
        verdict.checks += list(quality_checks(task, ours, theirs, settings))
        verdict.numbers[task] = numbers(ours, theirs) | {"judged": names}
    return verdict


def same_questions(
    task: str, old: Model | None, new: Model | None, settings: GateSettings
) -> list[Check]:
    """Whether the challenger sees the same picture and answers the same names."""
    if old is None:
        return [Check(f"{task} names", True, ", ".join(new.labels) if new else "")]
    if new is None:
        text = f"the champion has a {task} model, the challenger none (--allow-labels accepts it)"
        return [Check(f"{task} names", settings.allow_labels, text)]
    seen, before = new.config["preprocessing"], old.config["preprocessing"]
    same = seen == before
    keys = [key for key in sorted(seen.keys() | before.keys()) if seen.get(key) != before.get(key)]
    changes = ", ".join(f"{key} {before.get(key)} -> {seen.get(key)}" for key in keys)
    text = "as the champion's" if same else f"{changes} (--allow-preprocessing accepts it)"
    known = new.labels == old.labels
    words = f"champion {', '.join(old.labels)}; challenger {', '.join(new.labels)}"
    answer = "as the champion's" if known else f"{words} (--allow-labels accepts it)"
    return [
        Check(f"{task} preprocessing", same or settings.allow_preprocessing, text),
        Check(f"{task} names", known or settings.allow_labels, answer),
    ]


def quality_checks(
    task: str, new: Scores, old: Scores | None, settings: GateSettings
) -> Iterator[Check]:
    """Finite answers, then quality and calibration against the champion or absolute bounds."""
    texts = "on every image" if not new.broken else f"not on {new.broken} image(s)"
    yield Check(f"{task} finite outputs", not new.broken, texts)
    if new.quality is None:
        return
    if old is None or old.quality is None:
        least = settings.least_auc if task == "classification" else settings.least_dice
        low = new.quality.interval()[0]
        text = f"{shown(new.key, new.quality)}; must lie above {least:g}"
        yield Check(f"{task} quality", bool(low > least), text)
        most = settings.ece_most
        if new.ece is not None:
            text = f"{shown('ece', new.ece)}; at most {most:g}"
            yield Check(f"{task} calibration", bool(new.ece.value <= most), text)
        return
    gap = new.quality - old.quality
    text = (
        f"champion {shown(new.key, old.quality)}, challenger {shown(new.key, new.quality)}, "
        f"difference {plain(gap)}; lower end must lie above {-settings.margin:g}"
    )
    yield Check(f"{task} quality", bool(gap.interval()[0] > -settings.margin), text)
    if new.ece is not None and old.ece is not None:
        change, most = new.ece - old.ece, settings.ece_margin
        text = (
            f"champion {shown('ece', old.ece)}, challenger {shown('ece', new.ece)}, "
            f"difference {plain(change)}; at most {most:+g}"
        )
        yield Check(f"{task} calibration", bool(change.value <= most), text)


def numbers(new: Scores, old: Scores | None) -> dict[str, Any]:
    """The figures of one task as JSON values."""
    found: dict[str, Any] = {"key": new.key, "challenger": new.record()}
    if old is not None:
        found["champion"] = old.record()
        if new.quality is not None and old.quality is not None:
            found["difference"] = (new.quality - old.quality).record()
    return found


def shown(key: str, estimate: Estimate) -> str:
    """An estimate as `mauc 0.812 [0.774, 0.850]`."""
    name = "dice" if "dice" in key else key.rpartition(".")[2]
    low, high = estimate.interval()
    if not np.isfinite(estimate.value):
        return f"{name} not measured"
    return f"{name} {estimate.value:.3f} [{low:.3f}, {high:.3f}]"


def plain(estimate: Estimate) -> str:
    """A difference as `+0.012 [-0.003, +0.027]`."""
    low, high = estimate.interval()
    return f"{estimate.value:+.3f} [{low:+.3f}, {high:+.3f}]"


def plain_texts(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Tags with a gate's figures: `gate.<challenger|champion|difference>.<metric>` -> text."""
    texts = {}
    for entry in found.values():
        for side in ("challenger", "champion"):
            for key, value in (entry.get(side) or {}).items():
                if isinstance(value, dict) and value.get("value") is not None:
                    texts[f"gate.{side}.{key}"] = package.interval(value)
        if entry.get("difference", {}).get("value") is not None:
            texts[f"gate.difference.{entry['key']}"] = package.interval(entry["difference"])
    return texts
