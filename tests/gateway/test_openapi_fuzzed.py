"""Everything /openapi.json describes, called with made-up data: no call may fail inside the gateway."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import CHECKS

from tests.support.fuzzing import TIMES
from tests.support.running_gateway import RunningGateway

EXAMPLES = 20 * TIMES
RULES = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
CALLS = (
    ("POST", "/api/v1/image/generate"),
    ("POST", "/api/v1/image/batch-generate"),
    ("GET", "/api/v1/image/task/{task_id}"),
    ("DELETE", "/api/v1/image/task/{task_id}"),
    ("DELETE", "/api/v1/image/picture/{task_id}"),
    ("GET", "/api/v1/image/task/{task_id}/events"),
    ("GET", "/api/v1/image/batch-task/{batch_task_id}"),
    ("DELETE", "/api/v1/image/batch-task/{batch_task_id}"),
    ("GET", "/api/v1/image/batch-task/{batch_task_id}/events"),
    ("GET", "/api/v1/image/tasks"),
    ("DELETE", "/api/v1/image/tasks"),
    ("GET", "/api/v1/image/file/{task_id}/{kind}"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/usage"),
    ("POST", "/api/v1/verify"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/images/edits"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("GET", "/api/v1/catalogs"),
    ("GET", "/api/v1/catalogs/{name}"),
    ("GET", "/api/v1/catalogs/{name}/state"),
    ("GET", "/api/v1/catalogs/{name}/versions"),
    ("GET", "/api/v1/catalogs/{name}/picture/{recipe}"),
    ("POST", "/api/v1/catalogs/{name}/verdicts"),
    ("POST", "/api/v1/catalogs/{name}/edit"),
    ("POST", "/api/v1/catalogs/{name}/reseed"),
    ("POST", "/api/v1/catalogs/{name}/roll-back"),
    ("GET", "/health"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
)
WITHOUT_DATA = (("GET", "/health"), ("GET", "/livez"), ("GET", "/readyz"))


@pytest.fixture
def key(service, user) -> str:
    """A key for every call."""
    return service.accounts.create(user, scopes=("submit", "read", "review"))


@pytest.fixture(scope="module")
def operations(gateway: RunningGateway) -> dict[tuple[str, str], APIOperation]:
    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    found = (result.ok() for result in schema.get_all_operations())
    return {(operation.method.upper(), operation.path): operation for operation in found}


def test_these_are_all_calls(operations) -> None:
    assert set(operations) == set(CALLS)


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_calls_with_good_data_keep_what_is_documented(operations, key, painter, call) -> None:
    send_made_up(operations[call], GenerationMode.POSITIVE, key)


@pytest.mark.parametrize("call", [call for call in CALLS if call not in WITHOUT_DATA], ids=" ".join)
def test_calls_with_bad_data_are_refused_as_documented(operations, key, painter, call) -> None:
    send_made_up(operations[call], GenerationMode.NEGATIVE, key)


def send_made_up(operation: APIOperation, mode: GenerationMode, key: str) -> None:
    checks = CHECKS.get_by_names(RULES)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def sent(case: Case) -> None:
        case.call_and_validate(headers={"X-API-Key": key}, checks=checks, timeout=60)

    sent()
