"""The one error of the gateway's service, with the code that HTTP and gRPC answer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ContextDecorator, contextmanager

from foundation.error_text import error_text
from foundation.errors import ImageGenXError
from foundation.problems import Problem
from models.errors import InvalidRequestError
from resources.accounts import ExpiredKeyError, MissingScopeError, RateLimitedError, UnknownKeyError
from resources.object_store import StoreError
from resources.queue import ConflictError, OwnerLimitError, QueueAccessError, QueueFullError, QueueUnavailableError

OUTAGE_RETRY_S = 2
"""Clients are asked to come back so soon while the queue or the store cannot be reached, s."""


class ServiceError(ImageGenXError):
    """A call is refused: `code` is an HTTP status; `problems` names the fields of a bad request."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        retry_after_s: float | None = None,
        problems: Iterable[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code = code
        self.message = error_text(message)
        self.retry_after_s = retry_after_s
        self.problems = tuple(problems)
        self.headers = dict(headers or {})
        super().__init__(message)


def bad_field(field: str, rule: str) -> ServiceError:
    """The refusal (422) of a request with one bad field."""
    return service_error(InvalidRequestError([Problem(field, rule)]))


@contextmanager
def named_as(name: Callable[[str], str]) -> Iterator[None]:
    """Call fields in the refusals of the block as the caller knows them; `name` is told our name for one."""
    try:
        with service_errors():
            yield
    except ServiceError as exc:
        renamed = [Problem(name(problem.field), problem.rule) for problem in exc.problems]
        if renamed == list(exc.problems):
            raise
        raise ServiceError(exc.code, str(InvalidRequestError(renamed)), problems=renamed) from exc.__cause__


class _InOurWords(ContextDecorator):
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, ImageGenXError) and not isinstance(exc, ServiceError):
            raise service_error(exc) from exc


def service_errors() -> _InOurWords:
    """Turn every error of queue, accounts, store and requests into a ServiceError; also a decorator."""
    return _InOurWords()


def service_error(exc: ImageGenXError) -> ServiceError:
    """The answer to an error of the layers below; 500 for one that should not have come this far."""
    match exc:
        case InvalidRequestError():
            return ServiceError(422, str(exc), problems=exc.problems)
        case UnknownKeyError() | ExpiredKeyError() | MissingScopeError():
            return ServiceError(403, str(exc))
        case RateLimitedError() | OwnerLimitError():
            return ServiceError(429, str(exc), retry_after_s=exc.retry_after_s)
        case ConflictError():
            return ServiceError(409, str(exc))
        case QueueFullError():
            return ServiceError(503, str(exc), retry_after_s=exc.retry_after_s)
        case QueueUnavailableError() | QueueAccessError():
            return ServiceError(503, "The request queue cannot be reached now.", retry_after_s=OUTAGE_RETRY_S)
        case StoreError():
            return ServiceError(503, "The object store cannot be used now.", retry_after_s=OUTAGE_RETRY_S)
    return ServiceError(500, "The gateway failed; its log says why.")
