"""A random Stable Diffusion model and upscaling network as the default ones of a home folder of their own."""

from tests.support.model_factory import build_random_sd

CARD = """
family: sd
source: random
modes: [text2img, img2img, inpaint]
min_side_px: 64
max_side_px: 256
default_resolution: 64×64
defaults: {steps: 4, cfg_scale: 4.0, sampler: DDIM}
"""


def write_random_model(folder):
    """Write the model, its card and the network to `folder`, and return the settings that make them the defaults."""
    from safetensors.torch import save_file

    from models.upscaling.rrdb import RRDBNet

    build_random_sd(folder / "random")
    (folder / "random.yaml").write_text(CARD, encoding="utf-8")
    weights = RRDBNet(num_features=8, num_blocks=1, growth=4).state_dict()
    # An untrained network paints blank pictures, which a check refuses; without biases it answers to its input alone.
    weights |= {name: weight * 0 for name, weight in weights.items() if name.endswith("bias")}
    weights["conv_last.weight"] *= 300
    save_file(weights, folder / "upscaler.safetensors")
    return {
        "IMAGEGENX_MODEL_FOLDERS": f'["{folder}"]',
        "IMAGEGENX_DEFAULT_MODEL": "random",
        "IMAGEGENX_UPSCALER": str(folder / "upscaler.safetensors"),
        "IMAGEGENX_ENGINE__THREADS": "1",
        "DAGSTER_HOME": "",
    }
