"""The random models by step and by pipeline, loaded once."""

import pytest

from tests.support.workbench import Workbench


@pytest.fixture(scope="session")
def workbench(random_models) -> Workbench:
    return Workbench(random_models.folder)
