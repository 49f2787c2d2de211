"""Any story, any order: the rules hold after every step, and everybody is served in the end."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.pool_model import PoolModel

STEPS = 80
#: Hypothesis remembers every story of a run, so a long run is cut into several.
STORIES = min(settings().max_examples, 1000)


@pytest.mark.parametrize("run", range(settings().max_examples // STORIES))
def test_the_rules_hold_in_any_story(run: int) -> None:
    run_state_machine_as_test(PoolModel, settings=settings(max_examples=STORIES, stateful_step_count=STEPS))
