"""Scorers with CLIP weights, here small random ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from configs.lifecycle_settings import CheckSettings
from configs.settings import PACKAGE_ROOT
from ops.scores.scorers import open_scorers
from ops.scores.seen import Seen

SIDE, SEED = 32, 1
"""Of weights that find pictures and prompts alike, by chance."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIP model that has learnt nothing, with the built-in model's tokenizer."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = CLIPTokenizer.from_pretrained(PACKAGE_ROOT / "models/builtin/tiny/tokenizer")
    torch.manual_seed(SEED)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {**small, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 20}
    vision = {**small, "image_size": SIDE, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)
    return folder


def test_the_score_is_the_cosine_that_the_model_gives_whatever_the_size(folder):
    scorer = open_scorers(CheckSettings(scorers=[], scorer_models={"clip": folder}))["clip"]
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
    model, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(images=[picture], return_tensors="pt")
    scores = {}
    for text in ("a red mug", "白色背景上的红色T恤", "mug " * 60):
        words = tokenizer([text], truncation=True, max_length=20, return_tensors="pt")
        with torch.no_grad():
            found = model(**words, **pixels)
        cosine = float(torch.cosine_similarity(found.image_embeds, found.text_embeds))
        scores[text] = scorer(Seen.of(picture, text))
        assert scores[text] == pytest.approx(min(1, max(0, 2.5 * cosine)), abs=1e-5)
    assert len(set(scores.values())) > 1
    assert 0 <= scorer(Seen.of(picture.resize((500, 200)), "a mug")) <= 1
