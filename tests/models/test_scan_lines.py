"""Transformers over scan lines: causality, streaming, normalization."""

import pytest
import timm
import torch

import tailproof.models  # noqa: F401 - registers them
from tailproof.models.backbones.scan_lines import Stream

SMALL = {"dim": 32, "depth": 2, "num_heads": 4, "img_size": (6, 20)}


def build(name="scanline_causal", **options):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=4, in_chans=1, **SMALL, **options).eval()


@pytest.mark.parametrize(("name", "layers"), [("scanline_vit", 6), ("scanline_causal", 6)])
def test_the_models_are_of_the_published_size(name, layers):
    model = timm.create_model(name)
    assert len(model.blocks) == layers
    assert model.blocks[0].attention.heads == 8 and model.num_features == 256


def test_a_causal_model_does_not_see_later_lines_and_the_other_does():
    torch.manual_seed(1)
    lines = torch.randn(2, 1, 6, 20)
    changed = lines.clone()
    changed[:, :, 4:] += 3 * torch.randn(2, 1, 2, 20)
    for name, blind in (("scanline_causal", True), ("scanline_vit", False)):
        model = build(name)
        with torch.no_grad():
            before, after = model.forward_features(lines), model.forward_features(changed)
        assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6) == blind
        assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-2)


def test_line_by_line_it_says_what_it_says_of_the_window():
    model = build()
    lines = torch.randn(1, 1, 6, 20, generator=torch.Generator().manual_seed(2))
    stream = Stream(model)
    for number in range(6):
        said = stream.step(lines[0, :, number])
        with torch.no_grad():
            expected = model(lines[:, :, : number + 1])[0]
        torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-5)


def test_beyond_its_window_it_slides_as_a_block_does():
    lines = torch.randn(1, 1, 15, 20, generator=torch.Generator().manual_seed(2))
    for depth, same in ((1, True), (2, False)):
        torch.manual_seed(0)
        options = {**SMALL, "depth": depth}
        model = timm.create_model("scanline_causal", num_classes=4, in_chans=1, **options).eval()
        for parameter in model.parameters():
            parameter.data *= 3
        stream = Stream(model)
        said = [stream.step(line) for line in lines[0].unbind(1)][-1]
        with torch.no_grad():
            cut_out = model(lines[:, :, -6:])[0]
        assert torch.allclose(said, cut_out, rtol=1e-3, atol=1e-3) is same


def test_a_stream_remembers_as_many_lines_as_it_is_told():
    model = build()
    generator = torch.Generator().manual_seed(3)
    early = [torch.randn(5, 1, 20, generator=generator) for _ in range(2)]
    late = torch.randn(12, 1, 20, generator=generator)
    last = []
    for start in early:
        stream = Stream(model, lines=3)
        for line in (*start, *late):
            said = stream.step(line)
        assert all(keys.shape[2] == 2 for keys, _ in stream._caches)
        last.append(said)
    torch.testing.assert_close(*last)


def test_height_and_gain_of_a_line_do_not_count_where_lines_are_normalized():
    lines = torch.randn(2, 1, 6, 20, generator=torch.Generator().manual_seed(4))
    gain = torch.rand(2, 1, 6, 1) + 0.5
    with torch.no_grad():
        model = build("scanline_vit")
        torch.testing.assert_close(model(lines), model(lines * gain + 7), rtol=1e-3, atol=1e-4)
        assert model(torch.full((1, 1, 6, 20), 3.0)).isfinite().all()
        plain = build("scanline_vit", normalize_lines=False)
        assert not torch.allclose(plain(lines), plain(lines * gain + 7), atol=1e-2)


def test_an_expert_folder_loads_into_the_model(tmp_path):
    from tailproof.models import load_expert, save_expert

    model = build()
    save_expert(
        tmp_path,
        model,
        model_args=SMALL,
        preprocessing={
            "input_size": [1, 6, 20],
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": [0.0],
            "std": [1.0],
        },
        class_names=list("abcd"),
        facts={"target": "class", "heads": {"class": 4}},
    )
    loaded, _ = load_expert(tmp_path)
    lines = torch.randn(3, 1, 6, 20)
    with torch.no_grad():
        assert torch.equal(loaded(lines), model(lines))
