"""Schedules by hand: ends, quarter points, and what is clamped."""

import pytest

from medprior.pretrain.schedules import cosine_schedule, warmup_cosine_schedule, warmup_hold_schedule


@pytest.mark.parametrize(
    ("progress", "value"), [(-1, 2.0), (0, 2.0), (0.25, 1.7071068), (0.5, 1.0), (0.75, 0.2928932), (1, 0.0), (2, 0.0)]
)
def test_half_a_cosine_clamped_at_both_ends(progress, value):
    assert cosine_schedule(2.0, 0.0, progress) == pytest.approx(value, abs=1e-7)


def test_a_cosine_can_rise():
    assert cosine_schedule(0.5, 1.0, 0.25) == pytest.approx(0.5732233)


@pytest.mark.parametrize(("progress", "value"), [(0, 0.0), (0.1, 1.0), (0.2, 2.0), (0.6, 1.5), (1, 1.0)])
def test_warmup_then_cosine_over_the_rest(progress, value):
    assert warmup_cosine_schedule(2.0, 1.0, 0.2, progress) == pytest.approx(value)


def test_a_warmup_of_nothing_and_of_the_whole_run():
    assert warmup_cosine_schedule(2.0, 1.0, 0.0, 0.0) == 2
    assert warmup_cosine_schedule(2.0, 1.0, 1.0, 0.5) == 1
    assert warmup_cosine_schedule(2.0, 1.0, 1.0, 1.0) == 2


@pytest.mark.parametrize(
    ("progress", "value"), [(0, 0.0), (0.05, 1.0), (0.1, 2.0), (0.4, 2.0), (0.5, 2.0), (0.75, 1.5), (1, 1.0)]
)
def test_held_to_half_of_the_run_then_to_a_share_of_the_peak(progress, value):
    assert warmup_hold_schedule(2.0, 0.5, 0.1, progress) == pytest.approx(value)


def test_a_long_warmup_is_never_cut_short():
    assert warmup_hold_schedule(1.0, 0.0, 0.8, 0.6) == pytest.approx(0.75)
