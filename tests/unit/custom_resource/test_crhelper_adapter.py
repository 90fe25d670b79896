from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from custom_resource.crhelper_adapter import CustomResourceHelper


@pytest.fixture
def _frequent_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_frequent_switches")
def test_helpers_of_several_threads_leave_no_variable_behind() -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: CustomResourceHelper(), range(400)))
    assert "AWS_SAM_LOCAL" not in os.environ
