"""A submitted job on its way through the engine, and who hears about it."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from models.pipeline_pool import PoolKey
from models.request import Priority

if TYPE_CHECKING:
    from models.denoising.preview import OnPreview
    from models.denoising.slot import Slot
    from models.image import BatchItem, FailedImage, GeneratedImage


@dataclass(frozen=True)
class Group:
    """What tickets must have in common to share a forward pass: the loaded model, and `shared` beside it."""

    model: str
    key: PoolKey
    shared: tuple[object, ...] = ()


class Listener(Protocol):
    """Hears of one or more jobs, from the engine's thread: calls must be quick and must not raise."""

    def stepped(self, job_id: str, done: int, total: int) -> None:
        """So many denoising steps of so many are done."""
        ...

    def ended(self, result: "GeneratedImage | FailedImage") -> None:
        """The one last call for each job."""
        ...


@dataclass(eq=False)
class Ticket:
    """One job on its way.

    Attributes:
        state: belongs to the model that runs it; None before its first step.
        has_left: takes no further steps, while its picture may still be being decoded.
        is_held: it is in a run that ends it, at its next step, when it is cancelled.
        steps_left: to take; the loop keeps it up to date.
        on_preview: told a small picture of how far it is after this step, or the next, each time one is asked for.
        seconds: spent on it so far, by stage.
        tokens: that it adds to a pass, where those are what a pass is bounded by.
    """

    id: str
    item: "BatchItem"
    group: Group
    listener: Listener
    priority: Priority = Priority.BULK
    arrived_s: float = field(default_factory=time.monotonic)
    state: object = None
    steps_left: int = 1
    tokens: int = 0
    is_cancelled: bool = False
    is_held: bool = False
    has_left: bool = False
    is_ended: bool = False
    on_preview: "OnPreview | None" = None
    wants_preview: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def ask_for_preview(self) -> None:
        """Any thread may ask; a step that is under way is soon enough."""
        self.wants_preview = True
        if (slot := cast("Slot | None", self.state)) is not None:
            slot.wants_estimate = True
