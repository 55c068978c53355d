import torch

from models.acceleration.export import export_unet
from tests.models.batching.workbench import distance


def test_an_exported_unet_computes_what_the_unet_does_at_any_number_of_rows(random_models):
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(random_models.folder / "sd/unet").eval()
    program = export_unet(unet, 8, 8, 77, 16).module()
    random = torch.Generator().manual_seed(0)

    for rows in (2, 5, 16):
        sample, states = torch.randn(rows, 4, 8, 8, generator=random), torch.randn(rows, 77, 32, generator=random)
        times = torch.linspace(1, 900, rows)
        with torch.no_grad():
            expected = unet(sample, times, encoder_hidden_states=states, return_dict=False)[0]
            assert distance(program(sample, times, states), expected) < 1e-5
