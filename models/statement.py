"""What a picture says about how it was made, in every one of its marks."""

import hashlib
import json
from dataclasses import dataclass

from foundation.errors import ImageGenXError
from models.recipe import PostStep, Recipe

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
AI_MADE = f"{_SOURCE_TYPES}trainedAlgorithmicMedia"
AI_EDITED = f"{_SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"
SYSTEM = "ImageGenX"
IDENTIFIER_BYTES = 6

AIGC_FIELDS = (
    *("Label", "ContentProducer", "ProduceID", "ReservedCode1"),
    *("ContentPropagator", "PropagateID", "ReservedCode2"),
)
"""The implicit label of GB 45438-2025, in its order."""


class MarkError(ImageGenXError):
    """A picture cannot be marked as the policy asks; it is not delivered then."""


@dataclass(frozen=True)
class Statement:
    """What the marks of one picture say.

    Attributes:
        producer: who made it, as the operator names them.
        produce_id: the picture's own id: the digest of its recipe, hex.
        source_type: IPTC's digital source type, a URI.
        model: what made it.
        prompt: what it shows; "" if files are not to say that.
    """

    producer: str
    produce_id: str
    source_type: str = AI_MADE
    model: str = ""
    prompt: str = ""

    @property
    def identifier(self) -> bytes:
        """What the invisible mark holds: the beginning of `produce_id`."""
        return bytes.fromhex(self.produce_id)[:IDENTIFIER_BYTES]

    @property
    def aigc(self) -> str:
        """The implicit label of GB 45438-2025: seven texts as JSON. Its first reserved code binds what we say."""
        values = ("1", self.producer, self.produce_id)
        label = dict(zip(AIGC_FIELDS, (*values, reserved_code(*values), "", "", ""), strict=True))
        return json.dumps(label, ensure_ascii=False, separators=(",", ":"))


def reserved_code(label: str, producer: str, produce_id: str) -> str:
    """The SHA-256, hex, of these fields of a label."""
    return hashlib.sha256(json.dumps([label, producer, produce_id], ensure_ascii=False).encode()).hexdigest()


def mark_step(recipe: Recipe) -> PostStep | None:
    """The step of a recipe that marks its picture."""
    return next((step for step in recipe.post if step.op == "mark"), None)


def statement_of(recipe: Recipe, step: PostStep) -> Statement:
    """What the marks say of a picture with this recipe, of which `step` is one; its small copies say the same."""
    marked = recipe.model_copy(update={"post": recipe.post[: recipe.post.index(step) + 1]})
    return Statement(
        producer=str(step.params["producer"]),
        produce_id=marked.digest,
        source_type=AI_EDITED if recipe.image_digest else AI_MADE,
        model=recipe.model,
        prompt=recipe.text if step.params["prompts"] else "",
    )
