"""How well a picture fits its prompt, as a CLIP model finds, or one trained on what people prefer (PickScore)."""

from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from ops.scores.seen import Seen

_WEIGHT = 2.5
"""Pictures and prompts that fit have cosines of about 0.3: times so much, they fill 0 to 1 (arXiv:2104.08718)."""


class Likeness:
    """A scorer with the weights in a folder: transformers' CLIPModel with its tokenizer and preprocessor. Thread-safe.

    Raises:
        FileNotFoundError: if there is no such folder, or no model in it.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            raise FileNotFoundError("there is no config.json; name the folder of a transformers CLIPModel")
        self._folder = folder
        self._lock = Lock()

    def __call__(self, seen: Seen) -> float:
        """The cosine of picture and prompt, times 2.5, within 0 to 1; of long prompts, of the beginning."""
        import torch

        with self._lock, torch.inference_mode():
            model, tokenizer, processor = self._parts
            pixels = processor(images=[seen.whole], return_tensors="pt")
            words = tokenizer([seen.text], truncation=True, max_length=self._most_tokens, return_tensors="pt")
            found = model(**words, **pixels)
            cosine = float((found.image_embeds * found.text_embeds).sum())
        return min(1.0, max(0.0, _WEIGHT * cosine))

    @property
    def _most_tokens(self) -> int:
        return int(self._parts[0].config.text_config.max_position_embeddings)

    @cached_property
    def _parts(self) -> tuple[Any, Any, Any]:
        from models.families.quiet_libraries import quiet_libraries

        quiet_libraries()
        from transformers import CLIPModel, CLIPTokenizer
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        here = {"local_files_only": True}
        model = CLIPModel.from_pretrained(self._folder, use_safetensors=True, **here).eval()
        tokenizer = CLIPTokenizer.from_pretrained(self._folder, **here)
        return model, tokenizer, CLIPImageProcessorPil.from_pretrained(self._folder, **here)
