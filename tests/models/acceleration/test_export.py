import pytest
import torch

from models.acceleration.export import export_unet, unet_inputs
from tests.support.model_factory import XL, little_unet
from tests.support.workbench import distance


def random_inputs(unet, rows: int) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(rows)
    sample, _, *conditions = unet_inputs(unet, rows, 8, 8, 77)
    return (
        torch.randn(sample.shape, generator=random),
        torch.linspace(1, 900, rows),
        *(torch.randn(condition.shape, generator=random) for condition in conditions),
    )


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, XL], ids=["sd", "sdxl"])
def test_an_exported_unet_computes_what_the_unet_does_at_any_number_of_rows(options):
    unet = little_unet(**options)
    program = export_unet(unet, 8, 8, 77, 16).module()

    for rows in (2, 5, 16):
        inputs = random_inputs(unet, rows)
        sample, times, states, *added = inputs
        names = dict(zip(("text_embeds", "time_ids"), added, strict=False)) or None
        expected = unet(sample, times, encoder_hidden_states=states, added_cond_kwargs=names, return_dict=False)[0]
        assert distance(program(*inputs), expected) < 1e-5
