"""What tells an outage of Dagster's storage from a fault."""


def is_outage(exc: BaseException) -> bool:
    """Whether an error of a call to Dagster's instance goes back to a database that cannot be used now."""
    from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError

    found: BaseException | None = exc
    while found is not None:
        if isinstance(found, OperationalError | InterfaceError | TimeoutError):
            return True
        found = found.__cause__ or found.__context__
    return False
