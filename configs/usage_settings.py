"""Settings of what pictures cost, and of how much a user may spend."""

from pydantic import Field, model_validator

from foundation.value_object import ValueObject


class Budget(ValueObject):
    """What a user may use in a day and in a month (UTC); null is without a limit."""

    pictures_per_day: int | None = Field(default=None, ge=0, description="pictures")
    pictures_per_month: int | None = Field(default=None, ge=0, description="pictures")
    gpu_s_per_day: float | None = Field(default=None, ge=0, description="GPU seconds")
    gpu_s_per_month: float | None = Field(default=None, ge=0, description="GPU seconds")
    soft_share: float = Field(default=0.8, gt=0, le=1, description="from this share on, answers and the log warn")


class UsageSettings(ValueObject):
    """What a GPU second costs, and the budgets of users."""

    price_per_gpu_s: float = Field(default=0.0, ge=0, description="of a GPU second, in `currency`")
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$", description="ISO 4217")
    assumed_gpu_s: float = Field(
        default=5.0, ge=0, description="of a picture, GPU seconds, while a user has made none this month to tell by"
    )
    budgets: dict[str, Budget] = Field(
        default={}, description="by role (`free`, `paid`) or by user (`user:ada`), which goes before the role"
    )

    @model_validator(mode="after")
    def _budgets_are_of_somebody(self) -> "UsageSettings":
        for name in self.budgets:
            if name not in ("free", "paid") and not (name.startswith("user:") and name != "user:"):
                raise ValueError(f"budget {name!r}: name a role, free or paid, or a user, like user:ada")
        return self

    def budget(self, user_id: str, role: str) -> Budget:
        """What a user may use."""
        return self.budgets.get(f"user:{user_id}") or self.budgets.get(role) or Budget()
