"""A picture to be ensured in the store, and what became of it: the unit of work of catalogs."""

from pydantic import ConfigDict, Field

from foundation.errors import FailureCause
from foundation.value_object import ValueObject
from models.recipe import Recipe
from models.request import ImageFormat


class PictureJob(ValueObject):
    """Ensure that the picture of this recipe, its later steps included, is in the store.

    A worker that computes otherwise than the recipe's `engine` says, or finds none there, makes the picture in its own
    way, and the outcome's recipe says so.
    """

    recipe: Recipe
    format: ImageFormat
    quality: int = Field(ge=1, le=100, description="of the encoder; PNG has none")
    embed: bool = Field(default=True, description="write the recipe into the file")
    source_key: str = Field(
        default="", description="stored picture that only the recipe's last steps are to be done to; '' generates one"
    )
    steps: int = Field(default=1, ge=0, description="how many of the last steps those are")
    image_key: str = Field(default="", description="object key of the input picture")
    mask_key: str = Field(default="", description="object key of the mask")
    control_key: str = Field(default="", description="object key of the control picture")
    control_keys: tuple[str, ...] = Field(default=(), description="of several, in the recipe's order")
    moderate: bool = Field(default=False, description="a moderator must allow it; fails where there is none")
    made_after_s: float = Field(
        default=0.0, ge=0, description="Unix time; a stored picture that is older is made again. 0 takes any"
    )

    @property
    def all_control_keys(self) -> tuple[str, ...]:
        """Those of all control pictures."""
        return self.control_keys or ((self.control_key,) if self.control_key else ())

    @property
    def id(self) -> str:
        """Who asks for the same picture asks for the same job; who wants it made again, for another."""
        return f"{self.recipe.digest}.{self.format}{'.again' if self.made_after_s else ''}"


class PictureOutcome(ValueObject):
    """What became of a job: the facts of a stored picture, or the `error` for which there is none.

    What a worker of a later version says beyond this is left out.
    """

    model_config = ConfigDict(extra="ignore")

    id: str = Field(description="the job's")
    recipe: Recipe = Field(description="as the picture was really made")
    key: str = Field(default="", description="object key")
    digest: str = Field(default="", description="SHA-256 of the file, hex")
    size_bytes: int = Field(default=0, ge=0)
    width_px: int = Field(default=0, ge=0)
    height_px: int = Field(default=0, ge=0)
    seconds: float = Field(default=0.0, ge=0, description="spent on computing it, over all its stages")
    spread: float = Field(default=0.0, ge=0, description="see `Look`")
    fingerprint: str = Field(default="", description="see `Look`")
    moderated_by: str = Field(default="", description="the moderator that allowed it, with its version")
    verdict: str = Field(default="", description="what that saw, as a manifest's rows have it")
    reused: bool = Field(default=False, description="it was in the store already")
    error: str = ""
    cause: FailureCause | None = Field(default=None, description="of the error")
    rejected: bool = Field(default=False, description="the error is a moderator's verdict")
