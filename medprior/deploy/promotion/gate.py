"""The promotion gate: compares a challenger with the champion on the same images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.promotion.scores import GateScores, find_shared_labels, score_model
from medprior.deploy.promotion.settings import GateSettings
from medprior.deploy.registry import package
from medprior.evaluate.study import EvaluationStudy
from medprior.finetune.model import Model
from medprior.metrics.bootstrap import Estimate


@dataclass(frozen=True)
class GateCheck:
    """One check of the gate: its name, whether it passed, and its result in words."""

    name: str
    passed: bool
    text: str


@dataclass
class GateVerdict:
    """All checks of a challenger, and the numbers behind them.

    Attributes:
        checks: in the order they ran.
        numbers: task -> `champion`, `challenger`, `difference` as in `metrics.json`.
    """

    checks: list[GateCheck] = field(default_factory=list)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether at least one check ran and all passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def describe_failures(self) -> str:
        """The failed checks, in one line."""
        return "; ".join(f"{check.name}: {check.text}" for check in self.checks if not check.passed)


def compare_with_champion(
    study: EvaluationStudy, champion: Predictor | None, challenger: Predictor, settings: GateSettings
) -> GateVerdict:
    """Compare the challenger with the champion on the study's images, task by task.

    Without a champion, or for a task the champion lacks, absolute bounds apply.

    Raises:
        InputMissing: the cohort lacks the labels or masks for the comparison.
    """
    verdict = GateVerdict()
    champion_models = champion.models if champion else {}
    for task in champion_models.keys() | challenger.models.keys():
        new = challenger.models.get(task)
        old = champion_models.get(task)
        verdict.checks += compare_preprocessing_and_labels(task, old, new, settings)
        if new is None or not verdict.passed:
            continue
        names = find_shared_labels(study, [model for model in (new, old) if model is not None])
        new_scores = score_model(study, new, names)
        old_scores = score_model(study, old, names) if old is not None else None
        verdict.checks += list(compare_quality(task, new_scores, old_scores, settings))
        verdict.numbers[task] = build_score_record(new_scores, old_scores) | {"judged": names}
    return verdict


def compare_preprocessing_and_labels(
    task: str, old: Model | None, new: Model | None, settings: GateSettings
) -> list[GateCheck]:
    """Check that preprocessing and labels of the challenger are the champion's."""
    if old is None:
        return [GateCheck(f"{task} names", True, ", ".join(new.labels) if new else "")]
    if new is None:
        text = f"the champion has a {task} model, the challenger none (--allow-labels accepts it)"
        return [GateCheck(f"{task} names", settings.allow_labels, text)]
    now, before = new.config["preprocessing"], old.config["preprocessing"]
    same_inputs, same_labels = now == before, new.labels == old.labels
    keys = [key for key in sorted(now.keys() | before.keys()) if now.get(key) != before.get(key)]
    changes = ", ".join(f"{key} {before.get(key)} -> {now.get(key)}" for key in keys)
    input_text = "as the champion's" if same_inputs else f"{changes} (--allow-preprocessing accepts it)"
    labels = f"champion {', '.join(old.labels)}; challenger {', '.join(new.labels)}"
    label_text = "as the champion's" if same_labels else f"{labels} (--allow-labels accepts it)"
    return [
        GateCheck(f"{task} preprocessing", same_inputs or settings.allow_preprocessing, input_text),
        GateCheck(f"{task} names", same_labels or settings.allow_labels, label_text),
    ]


def compare_quality(task: str, new: GateScores, old: GateScores | None, settings: GateSettings) -> Iterator[GateCheck]:
    """Check that outputs are finite, then quality and calibration against champion or bounds."""
    text = "on every image" if not new.nonfinite_images else f"not on {new.nonfinite_images} image(s)"
    yield GateCheck(f"{task} finite outputs", not new.nonfinite_images, text)
    if new.quality is None:
        return
    if old is None or old.quality is None:
        least = settings.least_auc if task == "classification" else settings.least_dice
        low = new.quality.interval()[0]
        text = f"{format_named_estimate(new.key, new.quality)}; must lie above {least:g}"
        yield GateCheck(f"{task} quality", bool(low > least), text)
        most = settings.ece_most
        if new.ece is not None:
            text = f"{format_named_estimate('ece', new.ece)}; at most {most:g}"
            yield GateCheck(f"{task} calibration", bool(new.ece.value <= most), text)
        return
    difference = new.quality - old.quality
    champion, challenger = (format_named_estimate(new.key, value) for value in (old.quality, new.quality))
    text = f"champion {champion}, challenger {challenger}, difference {format_difference(difference)}"
    text += f"; lower end must lie above {-settings.margin:g}"
    yield GateCheck(f"{task} quality", bool(difference.interval()[0] > -settings.margin), text)
    if new.ece is not None and old.ece is not None:
        change, most = new.ece - old.ece, settings.ece_margin
        text = (
            f"champion {format_named_estimate('ece', old.ece)}, challenger {format_named_estimate('ece', new.ece)}, "
            f"difference {format_difference(change)}; at most {most:+g}"
        )
        yield GateCheck(f"{task} calibration", bool(change.value <= most), text)


def build_score_record(new: GateScores, old: GateScores | None) -> dict[str, Any]:
    """The numbers of one task as JSON values."""
    record: dict[str, Any] = {"key": new.key, "challenger": new.record()}
    if old is not None:
        record["champion"] = old.record()
        if new.quality is not None and old.quality is not None:
            record["difference"] = (new.quality - old.quality).record()
    return record


def format_named_estimate(key: str, estimate: Estimate) -> str:
    """An estimate as `mauc 0.812 [0.774, 0.850]`."""
    name = "dice" if "dice" in key else key.rpartition(".")[2]
    low, high = estimate.interval()
    if not np.isfinite(estimate.value):
        return f"{name} not measured"
    return f"{name} {estimate.value:.3f} [{low:.3f}, {high:.3f}]"


def format_difference(estimate: Estimate) -> str:
    """A difference as `+0.012 [-0.003, +0.027]`."""
    low, high = estimate.interval()
    return f"{estimate.value:+.3f} [{low:+.3f}, {high:+.3f}]"


def build_gate_tags(numbers: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Tags with the numbers of a gate: `gate.<challenger|champion|difference>.<metric>` -> text."""
    texts = {}
    for entry in numbers.values():
        for side in ("challenger", "champion"):
            for key, value in (entry.get(side) or {}).items():
                if isinstance(value, dict) and value.get("value") is not None:
                    texts[f"gate.{side}.{key}"] = package.format_metric_interval(value)
        if entry.get("difference", {}).get("value") is not None:
            texts[f"gate.difference.{entry['key']}"] = package.format_metric_interval(entry["difference"])
    return texts
