import math

import pytest

from benchmarks import engine_gpu


def test_the_gpu_benchmark_measures_everything_a_cpu_can_when_it_is_small(capsys):
    figures = engine_gpu.run(small=True)

    for name in ("sd", "sdxl"):
        assert figures[f"{name}: pictures/s, eager"] > 0
        assert figures[f"{name}: eager / diffusers eager"] > 0
        assert figures[f"{name}: PSNR of eager to eager, dB"] == 99
    assert figures["sd: pictures/s of a catalog, stored"] > 0
    assert all(map(math.isfinite, figures.values()))
    assert "sd: GPU busy during a catalog: not known, NVML tells no load here" in capsys.readouterr().out


def test_what_does_not_fit_the_time_is_named(capsys):
    assert engine_gpu.run(small=True, minutes=0) == {}

    assert capsys.readouterr().out == "  sd: left out, the time is up\n  sdxl: left out, the time is up\n"


def test_without_a_gpu_the_full_benchmark_says_so():
    with pytest.raises(
        SystemExit, match=r"^engine_gpu measures a GPU, and PyTorch sees none here\. Try it with --small\.$"
    ):
        engine_gpu.run()
