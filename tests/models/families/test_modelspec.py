import pytest

from models.errors import ModelLoadError
from models.families.modelspec import told_schedule

V, TRAILING = {"prediction_type": "v_prediction"}, {"timestep_spacing": "trailing"}


@pytest.mark.parametrize(
    ("names", "metadata", "told"),
    [
        ([], {}, {}),
        ([], {"modelspec.prediction_type": "epsilon"}, {"prediction_type": "epsilon"}),
        ([], {"modelspec.prediction_type": "v"}, V),
        ([], {"modelspec.prediction_type": "v-prediction"}, V),
        (["v_pred"], {"modelspec.prediction_type": "epsilon"}, V),
        (["v_pred", "ztsnr"], {}, V | {"rescale_betas_zero_snr": True} | TRAILING),
        ([], {"modelspec.title": "Some SDXL Turbo"}, TRAILING),
        ([], {"modelspec.title": "dream_XL-Lightning_4step"}, TRAILING),
        ([], {"modelspec.tags": "photo, LCM"}, TRAILING),
        ([], {"modelspec.title": "Hyper-SD 8 steps"}, TRAILING),
        ([], {"modelspec.title": "Turbocharged cars, hyper-realistic lightnings"}, {}),
    ],
)
def test_marks_and_metadata_say_the_schedule(names, metadata, told):
    assert told_schedule(names, metadata) == told


@pytest.mark.parametrize(
    ("names", "said", "text"),
    [
        (
            ["edm_vpred.sigma_max", "edm_vpred.sigma_min"],
            "",
            "the file says edm_vpred.sigma_max: its noise is that of EDM",
        ),
        (["edm_mean", "edm_std"], "", "the file says edm_mean: its noise is that of EDM"),
        ([], "edm_vpred", "the file says modelspec.prediction_type 'edm_vpred': its noise is that of EDM"),
        (
            [],
            "rectified flow",
            "the file says modelspec.prediction_type 'rectified flow', which is not one of epsilon, v",
        ),
        ([], "x" * 9999, "the file says modelspec.prediction_type 'xxx"),
    ],
)
def test_what_no_sampler_follows_is_refused_by_name(names, said, text):
    with pytest.raises(ModelLoadError) as refused:
        told_schedule(names, {"modelspec.prediction_type": said})

    assert str(refused.value).startswith(text)
    assert len(str(refused.value)) < 300
