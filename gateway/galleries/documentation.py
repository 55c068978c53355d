"""What /openapi.json says of the calls for who reviews catalogs."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.documentation import described

_ID = Field(default=None, pattern=r"^[A-Za-z0-9-]{8,64}$", description="sent again with the same id, it is one wish")
_ROWS = Field(default=None, min_length=1, max_length=5000, description="all if left out")
_OF = "now, edition-N or at-T, as GET …/versions lists them"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Card(BaseModel):
    """A catalog on the index."""

    name: str
    file: str
    review: dict[str, Any]
    made_at_s: float = Field(description="Unix time, s; 0 if never")
    counts: dict[str, int]
    covers: list[str]
    token: str
    progress: dict[str, Any] | None


class CatalogIndex(BaseModel):
    """A page of catalogs."""

    catalogs: list[Card]
    total: int
    next_after: str | None


class CatalogGallery(BaseModel):
    """All rows of a catalog: values in the order of `columns`."""

    name: str
    file: str
    review: dict[str, Any]
    version: str
    made_at_s: float
    columns: list[str]
    rows: list[list[Any]]
    token: str = Field(description="opens /catalogs/{name}/file/{file}")
    dagster_url: str = Field(description="its page in Dagster, as alerts.ui_url says; empty if that does not")


class CatalogState(BaseModel):
    """What changes while people look."""

    version: str
    progress: dict[str, Any] | None
    asked: list[list[str]] = Field(description="rows that will be made soon, by wish; an empty list: all")
    verdicts_version: str
    verdicts: dict[str, list[Any]] = Field(default={}, description="[state, star, reason, by, at_s] by recipe")


class CatalogPicture(BaseModel):
    """A picture's recipe, as JSON, and what was said of it, the newest first."""

    recipe: str
    history: list[dict[str, Any]]


class Recorded(BaseModel):
    """Verdicts that are kept."""

    recorded: int


class CatalogVersion(BaseModel):
    """A version of a catalog, and when it was made, or replaced."""

    of: str = Field(description=_OF)
    edition: int | None
    at_s: float


class CatalogVersions(BaseModel):
    """The latest first."""

    versions: list[CatalogVersion]


class Wished(BaseModel):
    """What will be made: `to_make` of the rows need a new picture, the others' are stored."""

    id: str
    rows: int
    to_make: int


class GivenVerdict(_Body):
    """What is said of one picture."""

    id: str = Field(pattern=r"^[A-Za-z0-9-]{8,64}$")
    recipe: str = Field(pattern=r"^[0-9a-f]{8,64}$")
    row: str = Field(min_length=1, max_length=500)
    state: Literal["unreviewed", "approved", "rejected"] | None = None
    star: bool | None = None
    reason: str = Field(default="", max_length=500)


class Verdicts(_Body):
    """Verdicts."""

    verdicts: list[GivenVerdict] = Field(min_length=1, max_length=5000)


class Edit(_Body):
    """New prompts, by row id."""

    id: str | None = _ID
    texts: dict[str, str] = Field(min_length=1)


class Reseed(_Body):
    """New seeds: of these rows, or of all."""

    id: str | None = _ID
    rows: list[str] | None = _ROWS


class RollBack(_Body):
    """Seeds and prompts of an earlier version: of these rows, or of all."""

    id: str | None = _ID
    to: str = Field(description=_OF)
    rows: list[str] | None = _ROWS


def documented_call(answer: type[BaseModel], body: type[BaseModel] | None = None) -> dict[str, Any]:
    """The documentation of a call."""
    schema = body.model_json_schema(ref_template="#/components/schemas/{model}") if body else {}
    for inner in schema.pop("$defs", {}).values():  # there is only one
        schema["properties"]["verdicts"]["items"] = inner
    content = {"application/json": {"schema": schema}}
    extra = {"requestBody": {"required": True, "content": content}} if body else None
    return {"tags": ["catalogs"], **described(answer, extra)}
