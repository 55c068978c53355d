"""Settings of the marks of AI-made pictures."""

from typing import Literal

from pydantic import Field, SecretStr, model_validator

from foundation.value_object import NamedPath, ValueObject

MarkPolicy = Literal["full", "metadata", "off"]


class MarkSettings(ValueObject):
    """What pictures say about being made by a machine; see docs/marks.md."""

    policy: MarkPolicy = Field(
        default="full", description="full: metadata, signature and invisible mark; metadata: all but the last; off"
    )
    catalogs: dict[str, MarkPolicy] = Field(default={}, description="another policy for these catalogs, by name")
    users: dict[str, MarkPolicy] = Field(default={}, description="another policy for the requests of these users")
    region: Literal["", "cn"] = Field(default="", description="cn: pictures also show a label, as China's rules ask")
    label: bool | None = Field(default=None, description="show the label; by default in region cn")
    label_text: str = Field(
        default="AI生成", min_length=1, max_length=40, description="AI or 人工智能, with 生成 or 合成"
    )
    producer: str = Field(
        default="ImageGenX",
        min_length=1,
        max_length=200,
        description="who makes the pictures, by the name in their marks",
    )
    prompts: bool = Field(default=True, description="files say prompt and seed; false: the store alone")
    certificates: NamedPath | None = Field(
        default=None, description="PEM file of your signing certificate and those above it; default: an own authority's"
    )
    private_key: SecretStr = Field(default=SecretStr(""), description="PEM; only from IMAGEGENX_MARKS__PRIVATE_KEY")
    time_stamp_url: str = Field(
        default="", pattern=r"^$|^https?://\S+$", description="RFC 3161 service that stamps the time of each signature"
    )
    read_back: float = Field(
        default=0.02, ge=0, le=1, description="share of the requests' pictures whose marks the worker reads back"
    )

    @model_validator(mode="after")
    def _label_says_it(self) -> "MarkSettings":
        says_ai = "AI" in self.label_text or "人工智能" in self.label_text
        if not (says_ai and ("生成" in self.label_text or "合成" in self.label_text)):
            raise ValueError(f"label_text {self.label_text!r} must have AI or 人工智能, and 生成 or 合成")
        return self

    @model_validator(mode="after")
    def _key_and_certificates(self) -> "MarkSettings":
        if bool(self.certificates) != bool(self.private_key.get_secret_value()):
            raise ValueError("certificates and private_key (IMAGEGENX_MARKS__PRIVATE_KEY) need each other")
        return self

    @property
    def shown_label(self) -> str:
        """The text of the visible label; "" if there is none."""
        is_shown = self.region == "cn" if self.label is None else self.label
        return self.label_text if is_shown else ""
