import torch

from models.denoising import prompts
from models.denoising.prompts import PromptEncoder


@torch.no_grad()
def test_embeddings_are_remembered_up_to_a_number_of_tokens(workbench, monkeypatch):
    monkeypatch.setattr(prompts, "REMEMBERED_TOKENS", 6 * 77)
    encoder, encoded = PromptEncoder(workbench.pipelines["small"]), []
    compute = encoder._encoded
    monkeypatch.setattr(encoder, "_encoded", lambda text, chunks: (encoded.append(text), compute(text, chunks))[1])

    def encode(*texts, chunks=1) -> list[str]:
        encoded.clear()
        for text in texts:
            encoder.encode(text, None, chunks)
        return list(encoded)

    assert encode("a", "b", "c") == ["a", "b", "c"]
    assert encode("a", "b", "c") == []
    long = "x" * 75 * 4
    assert encode(long) == [long]
    # With it there is room for two of the others: the oldest has gone.
    assert encode("c", "b") == []
    assert encode("a") == ["a"]
    assert sum(len(one.states[0]) for one in encoder._known.values()) <= 6 * 77
    assert encode("b", "c", "a") == []
