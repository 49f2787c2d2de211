"""Any story, any order: the rules hold after every step, and everybody is served in the end."""

from __future__ import annotations

from hypothesis import settings

from tests.support.pool_model import PoolModel

TestPoolModel = PoolModel.TestCase
TestPoolModel.settings = settings(stateful_step_count=80)
