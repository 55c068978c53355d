"""Stable Diffusion 1.x and 2.x, with ControlNet: diffusers' parts, run by our own denoising loop."""

import warnings
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline

from models.acceleration.tuning import tune
from models.denoising.prompts import PromptEncoder
from models.denoising.stepper import Stepper
from models.denoising.unet_model import UNetModel
from models.embedding_file import read_embedding
from models.errors import ModelLoadError
from models.families.encoders import load_encoders
from models.families.parts import configuration, load_parts, refuse_unet, takes_source
from models.families.pipeline_family import PipelineFamily
from models.families.single_file import load_controlnet_file, refuse_union
from models.hub import fetch_missing
from models.model_files import weights_variant
from models.request import Mode


class StableDiffusion(PipelineFamily):
    """A Stable Diffusion checkpoint in any mode."""

    pipelines: ClassVar[Any] = StableDiffusionPipeline
    pipeline_options: ClassVar[dict[str, object]] = {
        "safety_checker": None,
        "feature_extractor": None,
        "image_encoder": None,
        "requires_safety_checker": False,
    }
    upcasts_vae: ClassVar[bool] = False

    def load(self) -> None:
        """Load weights and ControlNets to the device, from safetensors only; what is on a hub is fetched first."""
        card, dtype = self.card, getattr(torch, self.placement.dtype)
        pipeline = self._load_pipeline(dtype).to(self.placement.device, dtype)
        places = card.controlnet_paths if Mode.CONTROLNET in card.modes else {}
        controlnets = {name: self._load_controlnet(file, pipeline.unet, dtype) for name, file in places.items()}
        model = UNetModel(pipeline, controlnets, upcasts_vae=self.upcasts_vae)
        model.prompts = self._prompts(pipeline)
        accelerator, engines = self.placement.accelerator, card.engines_folder
        sizes = tune(model, accelerator, engines, self.release_digest, has_loras=bool(card.loras))
        self._begin(pipeline, Stepper(model, sizes), controlnets.values())

    def _load_pipeline(self, dtype: torch.dtype) -> Any:
        card = self.card
        fetch_missing(card)
        options = {"dtype": dtype, "local_files_only": True, **self.pipeline_options}
        # Advice about what of its solver's configuration the pipeline mends; nothing of that is used.
        warnings.filterwarnings("ignore", r"\s*The configuration file of this scheduler", FutureWarning)
        with configuration(card) as folder:
            refuse_unet(folder)
            parts = load_parts(card, folder, dtype, unused=self.pipeline_options)
            if card.is_single_file and takes_source(card):
                return self.pipelines.from_single_file(str(card.path), config=str(folder), **options, **parts)
            variant = weights_variant(folder)
            given = {*self.pipeline_options, *parts}
            parts |= load_encoders(folder, dtype, without=given, variant=variant)
            return self.pipelines.from_pretrained(
                str(folder), use_safetensors=True, variant=variant, **options, **parts
            )

    def _prompts(self, pipeline: Any) -> PromptEncoder:
        """The encoder of prompts, read as the card says."""
        card = self.card
        encoders = [
            one for one in (pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)) if one is not None
        ]
        if card.clip_skip > (1 if len(encoders) > 1 else encoders[0].config.num_hidden_layers):
            raise ModelLoadError(f"its text encoders have no layer for clip_skip {card.clip_skip} to take")
        widths = tuple(encoder.get_input_embeddings().embedding_dim for encoder in encoders)
        read = {name: read_embedding(card.embedding_path(name), widths) for name in card.embeddings}
        vectors = [{name: each[place] for name, each in read.items()} for place in range(len(encoders))]
        return PromptEncoder(pipeline, card.prompt_syntax, vectors, card.clip_skip)

    def _load_controlnet(self, file: Path, unet: Any, dtype: torch.dtype) -> Any:
        if file.is_file():
            controlnet = load_controlnet_file(file, unet, dtype)
        else:
            config = ControlNetModel.load_config(str(file), local_files_only=True)
            refuse_union(file, config)
            if (kind := config.get("_class_name", "ControlNetModel")) != "ControlNetModel":
                raise ModelLoadError(f"{file.name} holds a {str(kind)[:60]}, which is not run here: use a ControlNet")
            controlnet = ControlNetModel.from_pretrained(
                str(file), dtype=dtype, use_safetensors=True, local_files_only=True
            )
        return controlnet.to(self.placement.device)
