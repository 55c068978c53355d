"""The CLIP text encoder, and its pretraining: read product, colour and background out of a caption."""

import random
from collections.abc import Sized
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.captions import training_caption
from training.dataset import BACKGROUND_NAMES, COLOUR_NAMES
from training.loop import Schedule, Trainer, Worker
from training.renderer import PRODUCTS
from training.tokenizer import MODEL_MAX_LENGTH

WIDTH = 128


def new_text_encoder(tokenizer: CLIPTokenizer, width: int = WIDTH, layers: int = 2, heads: int = 4) -> CLIPTextModel:
    """An untrained CLIP text encoder."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=MODEL_MAX_LENGTH,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            projection_dim=width,
        )
    )


def tokenize(tokenizer: CLIPTokenizer, texts: list[str], device: torch.device) -> Tensor:
    """(N, 77) int64 token ids, padded and cut as Stable Diffusion pipelines do."""
    batch = tokenizer(texts, padding="max_length", truncation=True, max_length=MODEL_MAX_LENGTH, return_tensors="pt")
    return batch.input_ids.to(device)  # type: ignore[no-any-return]


class AttributeReader(nn.Module):
    """The text encoder with one linear classifier for each attribute on its pooled output."""

    def __init__(self, encoder: CLIPTextModel, *attributes: Sized) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(encoder.config.hidden_size, len(values)) for values in attributes)

    def forward(self, ids: Tensor) -> list[Tensor]:
        """Logits for each attribute, (N, its values)."""
        pooled = self.encoder(ids).pooler_output
        return [head(pooled) for head in self.heads]


def pretrain_text_encoder(worker: Worker, folder: Path, schedule: Schedule, batch: int, seed: int) -> None:
    """Train on captions alone and write ``text_encoder.pt`` into ``folder``."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    reader = AttributeReader(new_text_encoder(tokenizer), PRODUCTS, COLOUR_NAMES, BACKGROUND_NAMES).to(worker.device)
    rng = random.Random(f"{seed}/{worker.rank}")

    def loss_of(_progress: float) -> Tensor:
        labels = [(rng.randrange(len(PRODUCTS)), rng.randrange(12), rng.randrange(6)) for _ in range(batch)]
        texts = [training_caption(PRODUCTS[p], COLOUR_NAMES[c], BACKGROUND_NAMES[b], rng) for p, c, b in labels]
        logits = reader(tokenize(tokenizer, texts, worker.device))
        targets = torch.tensor(labels, device=worker.device).T
        return torch.stack([F.cross_entropy(x, y) for x, y in zip(logits, targets, strict=True)]).sum()

    Trainer("text_encoder", reader, schedule, worker, folder).run(loss_of)
    if worker.is_first:
        torch.save(reader.encoder.state_dict(), folder / "text_encoder.pt")
