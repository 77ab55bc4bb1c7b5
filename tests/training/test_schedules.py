"""Learning rates: up over the warm-up, then down to nothing at the end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.errors import ConfigError
from mobilebert_training.schedules import SCHEDULES, learning_rate_factor

QUICK = settings(deadline=None, max_examples=60)  # a busy machine fails no test
runs = st.integers(1, 300)
warmups = st.floats(0, 0.99)


def factors(steps: int, warmup: float, schedule: str) -> list[float]:
    return [
        learning_rate_factor(step, steps, warmup=warmup, schedule=schedule) for step in range(steps)
    ]


@QUICK
@given(steps=runs, warmup=warmups, schedule=st.sampled_from(SCHEDULES))
def test_every_factor_is_above_zero_and_at_most_one(
    steps: int, warmup: float, schedule: str
) -> None:
    assert all(0 < each <= 1 for each in factors(steps, warmup, schedule))


@QUICK
@given(steps=runs, warmup=warmups, schedule=st.sampled_from(SCHEDULES))
def test_factors_rise_over_the_warmup_and_never_after(
    steps: int, warmup: float, schedule: str
) -> None:
    found, rising = factors(steps, warmup, schedule), round(steps * warmup)
    assert found[:rising] == [(step + 1) / rising for step in range(rising)]
    after = found[rising:]
    assert after == sorted(after, reverse=True)
    assert not after or after[0] == 1


def test_the_linear_schedule_falls_evenly() -> None:
    assert factors(10, 0.2, "linear") == [0.5, 1.0, *(1 - step / 8 for step in range(8))]


def test_the_cosine_schedule_is_at_a_half_in_the_middle() -> None:
    assert factors(8, 0.0, "cosine")[4] == pytest.approx(0.5, rel=1e-12)


def test_the_constant_schedule_stays() -> None:
    assert set(factors(10, 0.0, "constant")) == {1.0}


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match="'linaer', expected one of linear, cosine, constant"):
        learning_rate_factor(0, 1, schedule="linaer")
