"""What a comparison is about: its arms, data, settings and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medprior.evaluate.compare.settings import CompareSettings
from medprior.evaluate.study import EvaluationStudy


@dataclass(frozen=True)
class ComparisonContext:
    """What was compared.

    Attributes:
        recipes: names of the arms, the first is primary.
        study: the data judged. settings: of the comparison.
        inputs: cohort and priors by role.
    """

    recipes: Sequence[str]
    study: EvaluationStudy
    settings: CompareSettings
    inputs: dict[str, Path]
