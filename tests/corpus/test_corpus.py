"""The corpus through the real road: every input right, none crashes, hangs, or uses too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from medprior.dicom import Radiograph
from medprior.dicom.bounded_reader import BoundedReader
from medprior.errors import Rejected
from medprior.workers.sandbox import ProcessLimits
from tests.corpus import decode, malformed, metadata, policies, resources
from tests.corpus.case import Case
from tests.corpus.measured import measured

AXES = (decode, metadata, malformed, policies, resources)
ALL = [case for axis in AXES for case in axis.cases()]
LIMITS = ProcessLimits()
MOST_MEMORY, MOST_SECONDS = 2**30, 5.0


def outcome(case: Case, reader: BoundedReader) -> Radiograph | Rejected:
    """The picture or the refusal."""
    try:
        return reader.read(case.make())
    except Rejected as error:
        return error


def faults(case: Case, found: Radiograph | Rejected | None) -> list[str]:
    """What is wrong with the outcome of a case."""
    if found is None:
        return ["no outcome"]
    if isinstance(found, Rejected):
        if found.code in case.codes:
            return []
        return [f"refused as {found.code}, not {sorted(case.codes) or 'read'}"]
    if case.picture is None:
        return [f"read, not refused as {sorted(case.codes)}"]
    wrong = []
    if found.pixels.shape != case.picture.shape:
        wrong.append(f"{found.pixels.shape} is not {case.picture.shape}")
    else:
        distance = float(np.abs(found.pixels - case.picture).max())
        wrong += [f"off by {distance:.2g}"] if not distance <= case.atol else []
    wrong += [f"no flag {flag}" for flag in case.flags - set(found.flags)]
    for name, value in case.facts.items():
        said = getattr(found, name)
        same = said == pytest.approx(value) if value is not None else said is None
        wrong += [] if same else [f"{name} is {said}, not {value}"]
    return wrong


@pytest.fixture(scope="module")
def score() -> Iterator[dict[str, list[str]]]:
    """Case -> faults; the per-axis score is printed at the end."""
    found: dict[str, list[str]] = {}
    yield found
    axis = {case.name: case.axis for case in ALL}
    total = Counter(axis[name] for name in found)
    right = Counter(axis[name] for name, wrong in found.items() if not wrong)
    print("\n" + "\n".join(f"{name:10} {right[name]}/{total[name]}" for name in total))
    print(f"{'all':10} {sum(right.values())}/{sum(total.values())}")


@pytest.fixture(scope="module")
def reader() -> Iterator[BoundedReader]:
    with BoundedReader(limits=LIMITS) as shared:
        yield shared


def test_names_are_unique() -> None:
    assert len({case.name for case in ALL}) == len(ALL)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_case(case: Case, reader: BoundedReader, score: dict[str, list[str]]) -> None:
    if case.axis == "resource":
        spent = measured(case.make(), LIMITS)
        seconds = min(spent.seconds, spent.processor_seconds)
        wrong = [f"{spent.peak_bytes >> 20} MiB"] if spent.peak_bytes > MOST_MEMORY else []
        wrong += [f"{seconds:.1f} s"] if seconds > MOST_SECONDS else []
        said = getattr(spent.outcome, "code", "read")
        print(f"{case.name}: {spent.peak_bytes >> 20} MiB {spent.seconds:.2f} s {said}")
        score[case.name] = wrong + faults(case, spent.outcome)
    else:
        score[case.name] = faults(case, outcome(case, reader))
    assert not score[case.name]
