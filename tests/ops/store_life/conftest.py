"""Stores of both kinds, as in the tests of the stores themselves."""

from tests.resources.conftest import (  # noqa: F401
    local_store,
    pytest_runtest_makereport,
    s3_store,
    store,
)
