"""What all tests share: their order, how many examples Hypothesis tries, and what a machine without a GPU skips."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent

# No deadline: what is slow on a busy machine is not wrong. CI tries the same examples every time.
settings.register_profile(
    "local", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("local"), max_examples=25, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from a second thread, which on a busy machine waits for the first."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def compiled_agents() -> None:
    """The compiled agents of the grid world, where the readable ones would stand in."""
    from explainers.grid_world import compiled

    compiled.wait()


@pytest.fixture
def own_navigation() -> None:
    """As the server does: a folder named pages is not Streamlit's older kind of navigation."""
    from pages.ui.streamlit_internals import use_own_navigation

    use_own_navigation()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fast tests first, then slow ones, then the browser's; what needs a GPU is skipped where there is none."""
    if not config.getoption("--exhaustive"):
        left_out = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=_lateness)
    on_gpu = [item for item in items if _needs_gpu(item)]
    if on_gpu and not _cuda():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _lateness(item: pytest.Item) -> int:
    if item.path.is_relative_to(TESTS / "browser"):
        return 3
    return 2 if _needs_gpu(item) else 1 if "slow" in item.keywords else 0


def _needs_gpu(item: pytest.Item) -> bool:
    return "gpu" in item.keywords or item.path.is_relative_to(TESTS / "gpu")


def _cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
