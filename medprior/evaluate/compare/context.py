"""Context of a comparison: its arms, data, settings and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medprior.evaluate.compare.settings import CompareSettings
from medprior.evaluate.study import EvaluationStudy


@dataclass(frozen=True)
class ComparisonContext:
    """Arms, data, settings and inputs of a comparison.

    Attributes:
        recipes: names of the arms, the first is primary.
        study: the evaluated data. settings: of the comparison.
        inputs: folders of cohort and priors by role.
    """

    recipes: Sequence[str]
    study: EvaluationStudy
    settings: CompareSettings
    inputs: dict[str, Path]
