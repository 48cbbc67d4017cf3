import numpy as np
import pytest
import timm
import torch

from tailproof.models import build_model, load_expert, onednn, save_expert
from tailproof.models.backbones.resnet_cifar import ResidualBlock
from tailproof.models.build import count_parameters
from tailproof.models.precision import best_precision
from tailproof.models.preparation import normalization_of
from tailproof.runtime.errors import TailproofError

PREPROCESSING = {
    "input_size": [3, 32, 32],
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 0.1],
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "crop_mode": "center",
}


def build(name="cifar_resnet32", classes=10, channels=3, **options):
    return build_model(name, classes=classes, channels=channels, options=options)


def save(model, folder, **model_args):
    save_expert(
        folder,
        model,
        model_args=model_args,
        preprocessing=PREPROCESSING,
        class_names=[f"c{i}" for i in range(model.num_classes)],
        facts={"target": "class", "heads": {"class": model.num_classes}},
    )


@pytest.mark.parametrize(
    ("name", "millions"),
    [("cifar_resnet20", 0.27), ("cifar_resnet32", 0.46), ("cifar_resnet56", 0.85)],
)
def test_parameters_are_those_of_he_et_al_table_6(name, millions):
    assert count_parameters(build(name)) / 1e6 == pytest.approx(millions, abs=0.006)


def test_channels_and_layers_are_those_of_the_paper():
    model = build()
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) + 1 == 32
    assert [c.out_channels for c in convolutions[1::10]] == [16, 32, 64]
    assert model.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 8, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_shortcut_subsamples_pads_and_keeps_its_gradient_channels_last(dtype):
    block = ResidualBlock(16, 32, stride=2).to(memory_format=torch.channels_last)
    torch.nn.init.zeros_(block.bn2.weight)  # leaves the shortcut alone
    x = torch.randn(2, 16, 7, 8).to(dtype, memory_format=torch.channels_last).requires_grad_()
    gradients = []
    x.register_hook(gradients.append)  # x.grad would follow the format of x
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        y = block(x)
    assert torch.equal(y[:, 8:-8], x[:, :, ::2, ::2].relu())
    assert not y[:, :8].any()
    assert not y[:, -8:].any()
    y.sum().backward()
    assert torch.equal(gradients[0][:, :, ::2, ::2], (x[:, :, ::2, ::2] > 0).to(dtype))
    assert gradients[0].is_contiguous(memory_format=torch.channels_last)


def test_a_shortcut_is_the_same_in_the_layouts_of_onednn():
    block = ResidualBlock(16, 32, stride=2)
    plain = torch.randn(2, 16, 7, 8).requires_grad_()
    opaque = plain.detach().clone().requires_grad_()
    one, other = block._narrow(plain), block._narrow(opaque.to_mkldnn()).to_dense()
    assert torch.equal(one, other)
    upstream = torch.randn_like(one)
    one.backward(upstream)
    other.backward(upstream)
    assert torch.equal(plain.grad, opaque.grad)


@pytest.mark.parametrize(("name", "size"), [("cifar_resnet20", 8), ("cifar_resnet32", 28)])
def test_the_layouts_of_onednn_are_used_and_as_near_to_fp32_as_others(name, size, monkeypatch):
    torch.manual_seed(0)
    images = torch.rand(32, 1, size, size)
    labels = torch.arange(32) % 10

    def step(half):
        """Return the loss, all gradients and running statistics, and whether they were used."""
        torch.manual_seed(0)
        model, used = build(name, channels=1), []
        model.blocks.register_forward_hook(lambda _, inputs, out: used.append(out.is_mkldnn))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        loss.backward()
        seen = torch.cat([b.flatten() for b in model.buffers() if b.is_floating_point()])
        gradients = [p.grad.double() for p in model.parameters()]
        return loss.detach(), gradients, seen.double(), used[0]

    exact, blocked = step(half=False), step(half=True)
    monkeypatch.setattr(onednn, "suits", lambda x: False)
    plain = step(half=True)
    assert (exact[3], blocked[3], plain[3]) == (False, onednn.has_bf16(), False)
    assert blocked[0] == pytest.approx(exact[0].item(), rel=0.02)
    errors = [
        [(each - true).norm() / true.norm() for each, true in zip(own, exact[1], strict=True)]
        for own in (blocked[1], plain[1])
    ]
    assert np.median(errors[0]) < 1.25 * np.median(errors[1])
    assert (blocked[2] - exact[2]).abs().max() < 0.02 * exact[2].abs().max()


@pytest.mark.parametrize("half", [False, True])
def test_what_is_not_finite_reaches_the_logits(half):
    """Also in the layouts of oneDNN, whose ReLU makes 0 of it: training stops at once."""
    torch.manual_seed(0)
    for place in ("image", "conv1.weight", "blocks.4.conv2.weight", "blocks.8.bn1.weight"):
        model, images = build("cifar_resnet20"), torch.rand(4, 3, 8, 8)
        with torch.no_grad():
            (images if place == "image" else model.get_parameter(place)).view(-1)[0] = np.nan
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            assert model(images).isnan().all(), place


def test_cosine_logits_are_bounded_by_their_scale():
    model = build(classifier="cosine", scale=30.0).eval()
    weight = model.get_classifier().weight.detach()
    features = torch.cat([1e3 * weight[:1], -weight[1:2], torch.randn(5, 64)])
    logits = model.get_classifier()(features).detach()
    assert logits.abs().max() <= 30.0 + 1e-4
    assert logits[0, 0] == pytest.approx(30.0, abs=1e-4)
    assert logits[1, 1] == pytest.approx(-30.0, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("cifar_resnet20", {}, 32),
        ("cifar_resnet20", {"classifier": "cosine"}, 20),
        ("resnet10t", {}, 64),
        ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8}, 32),
    ],
)
def test_an_expert_folder_is_loaded_by_timm(tmp_path, name, options, size):
    torch.manual_seed(0)
    model = build(name, classes=7, **options).eval()
    save(model, tmp_path, **options)
    images = torch.randn(2, 3, size, size)
    by_timm = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    by_us, config = load_expert(tmp_path)
    assert torch.equal(by_timm(images), model(images))
    assert torch.equal(by_us(images), model(images))
    data = timm.data.resolve_model_data_config(by_timm)
    assert list(data["mean"]) == PREPROCESSING["mean"] and data["crop_pct"] == 1.0
    assert config.pretrained_cfg.label_names == [f"c{i}" for i in range(7)]


def test_the_same_weights_give_the_same_bytes(tmp_path):
    model = build()
    save(model, tmp_path / "a")
    save(model.to(memory_format=torch.channels_last), tmp_path / "b")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_first_layer_and_head_fit_the_data(channels):
    for name in ("cifar_resnet20", "resnet10t"):
        model = build(name, classes=3, channels=channels).eval()
        assert model(torch.zeros(2, channels, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cifar_resnet23", {}, "model 'cifar_resnet23' .*'cifar_resnet"),
        ("cifar_resnet20", {"classifer": 1}, r"recipe\.model: .*\'classifer\'"),
        ("cifar_resnet20", {"classifier": "round"}, "'round'.*'linear' or 'cosine'"),
    ],
)
def test_wrong_models_are_errors(name, options, message):
    with pytest.raises(TailproofError, match=message):
        build(name, **options)


def test_a_damaged_expert_is_an_error(tmp_path):
    save(build(), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(TailproofError, match=f"{weights} is not a whole"):
        load_expert(tmp_path)


def test_a_precision_that_is_asked_for_is_taken():
    cpu = torch.device("cpu")
    assert best_precision(cpu, "fp32") == "fp32" and best_precision(cpu, "bf16") == "bf16"
    assert best_precision(cpu, "auto") in ("fp32", "bf16")


@pytest.mark.parametrize(
    ("mode", "channels", "words"),
    [("float32", 3, "8-bit.* arrays of 3 bands"), ("RGB", 4, "3 channels.* have 4")],
)
def test_weights_for_other_images_are_refused(mode, channels, words):
    with pytest.raises(TailproofError, match=words):
        normalization_of({"mean": [0.5] * 3, "std": [0.2] * 3}, mode, channels)
