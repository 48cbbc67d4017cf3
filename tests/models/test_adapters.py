"""Adapters: each computes what was published, trains what it says, and survives the export."""

from copy import deepcopy

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from tailproof.config.model import Tune
from tailproof.config.recipe import Recipe
from tailproof.models import load_expert, save_expert
from tailproof.models.adapters import AdaptFormer, bottleneck
from tailproof.models.backbones.tuned_network import views_of
from tailproof.models.build import count_parameters
from tailproof.models.network_parts import backbone_parameters, last_blocks
from tailproof.models.trained_weights import TrainedWeights, hold_statistics
from tailproof.models.tuning import tune_network
from tailproof.runtime.errors import TailproofError

SMALL_VIT = {"img_size": 16, "patch_size": 8, "depth": 3, "embed_dim": 24, "num_heads": 2}
SMALL_SWIN = {
    "img_size": 16, "patch_size": 2, "window_size": 2, "embed_dim": 12, "depths": [1, 2],
    "num_heads": [1, 2],
}  # fmt: skip
NETWORKS = {
    "vit_tiny_patch16_224": SMALL_VIT,
    "vit_small_patch14_dinov2": {**SMALL_VIT, "init_values": 0.5},
    "beit_base_patch16_224": {**SMALL_VIT, "init_values": 0.5},  # uses qkv.weight, not qkv
    "swinv2_tiny_window8_256": SMALL_SWIN,
    "test_resnet": {},
    "test_efficientnet": {},
}  # fmt: skip
CLASSES = 5


@pytest.fixture(autouse=True, scope="module")
def single_thread():
    """Threads that wait for each other cost more than these networks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(name: str, **tuned):
    """A network with random weights and what the recipe adds to it; its arguments; images."""
    torch.manual_seed(0)
    options = NETWORKS[name]
    network = timm.create_model(name, num_classes=CLASSES, **options)
    for module in network.modules():  # norms with weights that differ from their start
        if "norm" in type(module).__name__.lower() and getattr(module, "weight", None) is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    plain = deepcopy(network)
    recipe = Recipe(model={"name": name, "weights": "w.safetensors", "options": options}, **tuned)
    arguments = tune_network(network, recipe, options, CLASSES, 16)
    side = options.get("img_size", 32)
    return plain.eval(), network.eval(), arguments, torch.randn(2, 3, side, side)


def disturb(network: nn.Module) -> None:
    """Change what is trained, as training does."""
    with torch.no_grad():
        for own in network.parameters():
            if own.requires_grad:
                own.add_(0.1 * torch.randn_like(own))


def trained(network: nn.Module) -> set[str]:
    return {name for name, own in network.named_parameters() if own.requires_grad}


def save(folder, network: nn.Module, arguments: dict, images: torch.Tensor) -> None:
    """Export a network as a run does."""
    prepared = {
        "input_size": list(images.shape[1:]), "mean": [0.5] * 3, "std": [0.5] * 3,
        "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center",
    }  # fmt: skip
    names = [f"class {number}" for number in range(CLASSES)]
    facts = {"target": "label", "heads": {"label": CLASSES}}
    save_expert(
        folder, network, model_args=arguments, preprocessing=prepared, class_names=names,
        facts=facts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("vit_tiny_patch16_224", r"blocks\.\d+\.attn\.qkv"),
        ("test_efficientnet", r".*(conv_stem|conv_pw|conv_pwl|conv_exp|conv|conv_reduce|"
         r"conv_expand|conv_head)"),
    ],
)  # fmt: skip
def test_lora_computes_what_peft_computes(name, layers):
    from peft import LoraConfig, inject_adapter_in_model

    plain, network, _, images = build(name, tune={"adapter": "lora", "dim": 3})
    disturb(network)
    head = network.get_classifier().state_dict()
    plain.get_classifier().load_state_dict(head)
    adapted = {
        n.removesuffix(".parametrizations.weight.0"): own
        for n, own in network.named_modules()
        if n.endswith(".parametrizations.weight.0")
    }
    config = LoraConfig(r=3, lora_alpha=1, target_modules=list(adapted))
    peft = inject_adapter_in_model(config, plain).eval()
    for layer, own in adapted.items():
        theirs = peft.get_submodule(layer)
        a, b = theirs.lora_A["default"].weight, theirs.lora_B["default"].weight
        a.data, b.data = own.a.detach().view(a.shape), own.b.detach().view(b.shape)
    assert len(adapted) > 2
    with torch.inference_mode():
        assert torch.allclose(network(images), peft(images), atol=1e-5)


def test_adaptformer_computes_the_published_equations():
    plain, network, _, images = build(
        "vit_tiny_patch16_224", tune={"adapter": "adaptformer", "dim": 4}
    )
    with torch.inference_mode():
        assert torch.equal(network(images), plain(images)), "it starts as the network is"
        disturb(network)
        x = network._pos_embed(network.patch_embed(images))
        for block in network.blocks:
            own = block.adaptformer
            x = x + block.attn(block.norm1(x))
            normal = F.layer_norm(x, x.shape[-1:], own.norm.weight, own.norm.bias)
            bottle = torch.relu(normal @ own.down.weight.T + own.down.bias)
            x = x + block.mlp(block.norm2(x)) + own.scale * (bottle @ own.up.weight.T + own.up.bias)
        logits = network.head(network.norm(x)[:, 0])
        assert torch.allclose(network(images), logits, atol=1e-5)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swinv2_tiny_window8_256"])
def test_ssf_scales_and_shifts_what_each_layer_returns(name):
    plain, network, _, images = build(name, tune={"adapter": "ssf"})
    disturb(network)
    plain.get_classifier().load_state_dict(network.get_classifier().state_dict())
    found = 0
    for layer, module in network.named_modules():
        if not hasattr(module, "parametrizations"):
            continue
        scale = module.parametrizations["weight"][0].scale
        shift = module.parametrizations["bias"][0].shift if "bias" in module.parametrizations else 0

        def change(_layer, _inputs, output, scale=scale, shift=shift):
            if output.ndim == 4 and output.shape[1] == len(scale):  # a convolution
                return output * scale[:, None, None] + shift[:, None, None]
            return output * scale + shift

        plain.get_submodule(layer).register_forward_hook(change)
        found += 1
    # Both weights of the perceptron, both of attention, both norms.
    assert found >= 6 * len([m for m in network.modules() if hasattr(m, "attn")])
    if name.startswith("swin"):  # without the layer, adds its own bias to the product with qkv
        return
    with torch.inference_mode():
        assert torch.allclose(network(images), plain(images), atol=1e-5)


ADAPTERS = {
    "lora": {"tune": {"adapter": "lora", "dim": 2}},
    "adaptformer": {"tune": {"adapter": "adaptformer", "dim": 2, "blocks": 2}},
    "ssf": {"tune": {"adapter": "ssf"}},
    "bitfit": {"tune": {"adapter": "bitfit"}},
    "norm": {"tune": {"adapter": "norm"}},
    "cosine, views": {"tune": {"adapter": "lora", "head": "cosine"}, "test_views": "flip"},
}
PLAIN = {"lora", "ssf", "bitfit", "norm"}
ONLY_TRANSFORMERS = {"adaptformer", "bitfit", "ssf"}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_exported_network_computes_exactly_the_same(tmp_path, name, adapter):
    if adapter in ONLY_TRANSFORMERS and name.startswith("test_"):
        with pytest.raises(TailproofError, match=f"{adapter}.*'{name}'.*lora.*norm"):
            build(name, **ADAPTERS[adapter])
        return
    plain, network, arguments, images = build(name, **ADAPTERS[adapter])
    before = network(images)
    disturb(network)
    frozen = TrainedWeights(network).frozen
    save(tmp_path, network, arguments, images)
    loaded, config = load_expert(tmp_path)
    by_timm = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    with torch.inference_mode():
        logits = network(images)
        assert torch.equal(loaded(images), logits) and torch.equal(by_timm(images), logits)
        assert not torch.equal(before, logits)
    assert config.architecture == (name if adapter in PLAIN else "tuned_network")
    if adapter in PLAIN:
        assert loaded.state_dict().keys() == plain.state_dict().keys()
    assert TrainedWeights(network).frozen == frozen
    assert count_parameters(network, trained=True) < count_parameters(network)


@pytest.mark.parametrize(
    ("name", "options", "count", "last"),
    [
        ("vit_tiny_patch16_224", SMALL_VIT, 3, "blocks.2.|norm."),
        ("test_resnet", {}, 4, "layer4.0."),
        ("test_convnext", {}, 9, "stages.3.blocks.1.|head.norm."),
        ("test_efficientnet", {}, 5, "blocks.4.0.|conv_head.|bn2."),
        ("cifar_resnet20", {}, 9, "blocks.8."),
        ("scanline_vit", {"depth": 2, "dim": 16, "num_heads": 2}, 2, "blocks.1.|norm."),
        ("swinv2_tiny_window8_256", SMALL_SWIN, 3, "layers.1.blocks.1.|norm."),
    ],
)  # fmt: skip
def test_the_last_blocks_are_found_in_networks_of_all_kinds(name, options, count, last):
    network = timm.create_model(name, **options)
    assert last_blocks(network, name, "all").count == count
    found = last_blocks(network, name, 1).parameters
    assert found == {
        n for n in backbone_parameters(network) if n.startswith(tuple(last.split("|")))
    }
    assert last_blocks(network, name, count).parameters < set(backbone_parameters(network))


def test_a_block_may_return_more_than_tokens():
    block = nn.Module()
    block.attn, block.mlp = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4))
    block.forward = lambda tokens: (tokens + block.mlp(tokens), (2, 2))
    adapter = AdaptFormer(4, 2)
    nn.init.normal_(adapter.up.weight)
    tokens = torch.randn(3, 4)
    plain, _ = block(tokens)
    adapter.attach(block)
    adapted, size = block(tokens)
    assert size == (2, 2) and torch.equal(adapted, plain + adapter(tokens))


def test_only_what_an_adapter_trains_is_trained():
    heads = {"head.weight", "head.bias"}
    name = "vit_tiny_patch16_224"
    plain, network, *_ = build(name, tune={"adapter": "bitfit"})
    assert trained(network) == heads | {n for n in trained(plain) if n.endswith(".bias")}
    plain, network, *_ = build(name, tune={"adapter": "norm", "blocks": 1})
    norms = {n for n in trained(plain) if n.startswith(("blocks.2.norm", "norm."))}
    assert len(norms) == 6 and trained(network) == heads | norms
    _, network, *_ = build(name, tune={"adapter": "lora", "blocks": 2})
    assert {n.split(".parametrizations")[0] for n in trained(network) - heads} == {
        "blocks.1.attn.qkv", "blocks.2.attn.qkv",
    }  # fmt: skip
    _, network, *_ = build(name, tune={})
    assert trained(network) == heads
    plain, network, *_ = build(name, freeze=["patch_embed", "blocks.1", "norm"])
    assert trained(plain) - trained(network) == {
        n for n in trained(plain) if n.startswith(("patch_embed.", "blocks.1.", "norm."))
    }
    # Adapters change what is frozen; the rest is trained whole.
    plain, network, *_ = build(name, freeze=["blocks.0"], tune={"adapter": "adaptformer"})
    adapters = [n for n, own in network.named_modules() if isinstance(own, AdaptFormer)]
    assert adapters == ["blocks.0.adaptformer"]
    assert "blocks.1.mlp.fc1.weight" in trained(network)
    assert "blocks.0.mlp.fc1.weight" not in trained(network)


def test_frozen_batch_norms_keep_their_statistics():
    def moved(**tuned):
        _, network, _, images = build("test_efficientnet", **tuned)
        before = {name: own.clone() for name, own in network.named_buffers()}
        network.train()
        hold_statistics(network)
        network(images)
        changed = {n for n, own in network.named_buffers() if not torch.equal(own, before[n])}
        assert changed <= set(TrainedWeights(network).names)
        return {name.rpartition(".")[0] for name in changed}

    everywhere = moved()
    assert not moved(tune={"adapter": "lora"}) and not moved(tune={})
    assert moved(tune={"adapter": "norm"}) == everywhere
    last = moved(tune={"adapter": "norm", "blocks": 1})
    assert "bn2" in last and "bn1" not in last and last < everywhere
    frozen = moved(freeze=["conv_stem", "bn1", "blocks.0"])
    gone = everywhere - frozen
    assert "bn1" in gone and all(n == "bn1" or n.startswith("blocks.0") for n in gone)


@pytest.mark.parametrize(
    ("adapter", "classes", "blocks", "dim"),
    [
        ("adaptformer", 100, 12, 4), ("adaptformer", 1000, 12, 32), ("adaptformer", 365, 12, 8),
        ("adaptformer", 8142, 12, 256), ("adaptformer", 10, 12, 1), ("lora", 1000, 12, 16),
        ("lora", 100, 12, 2),
    ],
)  # fmt: skip
def test_the_size_of_adapters_is_that_of_lift(adapter, classes, blocks, dim):
    assert bottleneck(Tune(adapter=adapter), classes, blocks) == dim
    assert bottleneck(Tune(adapter=adapter, dim=7), classes, blocks) == 7


def test_several_views_are_averaged_but_not_in_training():
    plain, network, arguments, images = build(
        "test_resnet", test_views="ten_crops", image_size=16, eval_image_size=32
    )
    assert arguments["view_size"] == 16
    expected = []
    for flipped in (images, images.flip(3)):
        corners = [flipped[:, :, y : y + 16, x : x + 16] for y in (0, 16) for x in (0, 16)]
        expected += [plain(view) for view in (*corners, flipped[:, :, 8:24, 8:24])]
    assert torch.allclose(network(images), torch.stack(expected).mean(0), atol=1e-5)
    assert len(list(views_of(images, "five_crops", 16))) == 5
    assert torch.equal(network.train()(images), plain.train()(images))


@pytest.mark.parametrize(
    ("name", "tuned", "words"),
    [
        ("test_resnet", {"freeze": ["layer5"]}, ["'layer5'", "conv1", "layer1"]),
        ("vit_tiny_patch16_224", {"freeze": ["blocks.7"]}, ["'blocks.7'", "blocks.0"]),
        ("vit_tiny_patch16_224", {"freeze": ["head"]}, ["'head'"]),
        ("vit_tiny_patch16_224", {"tune": {"adapter": "lora", "blocks": 4}}, ["4", "3 blocks"]),
        ("vit_tiny_patch16_224", {"tune": {"adapter": "ssf"}, "freeze": []}, ["ssf"]),
        (
            "vit_tiny_patch16_224",
            {"tune": {"adapter": "adaptformer", "blocks": 1}, "freeze": ["blocks.0"]},
            ["adaptformer"],
        ),
    ],
)
def test_what_a_network_does_not_have_is_one_sentence(name, tuned, words):
    with pytest.raises(TailproofError) as refused:
        build(name, **tuned)
    assert all(word in str(refused.value) for word in words) and "\n" not in str(refused.value)


def test_a_head_of_several_layers_cannot_be_a_cosine():
    network = timm.create_model(
        "deit_tiny_distilled_patch16_224", num_classes=3, **{**SMALL_VIT, "depth": 1}
    )
    recipe = Recipe(
        model={"name": "deit_tiny_distilled_patch16_224", "weights": "w"}, tune={"head": "cosine"}
    )
    with pytest.raises(TailproofError, match=r"tune\.head.*linear"):
        tune_network(network, recipe, {}, 3, None)


def test_a_tuned_network_is_no_network_to_start_from():
    with pytest.raises(TailproofError, match="start from"):
        timm.create_model("tuned_network")
    with pytest.raises(TailproofError, match="start from"):
        timm.create_model("tuned_network", backbone="tuned_network")


def test_scales_of_ssf_are_stored_once():
    _, network, *_ = build("vit_tiny_patch16_224", tune={"adapter": "ssf"})
    copy = deepcopy(network)
    layer = copy.blocks[0].mlp.fc1.parametrizations
    assert layer["bias"][0]._weight[0] is layer["weight"][0]
    numbers = [own.data_ptr() for own in network.state_dict().values()]
    assert len(set(numbers)) == len(numbers)
    assert np.isclose(float(layer["weight"][0].scale.detach().mean()), 1, atol=0.05)


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "tuned_network"},
        {"backbone": "no_such_network"},
        {"backbone": "hf-hub:somebody/else"},
        {"adaptformer": {"dim": 65_000, "blocks": [0, 1]}},
        {"adaptformer": {"dim": 2, "blocks": [0, 0]}},
        {"adaptformer": {"dim": 2, "blocks": [0, 7]}},
        {"adaptformer": {"dim": 2, "blocks": "all"}},
        {"adaptformer": None},
        {"test_views": "hundred_crops"},
        {"options": {"checkpoint_path": "elsewhere"}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_stranger_s_folder_is_checked_before_it_is_built(tmp_path, changes):
    tuned = {"tune": {"adapter": "adaptformer", "dim": 2, "blocks": 2}, "test_views": "flip"}
    _, network, arguments, images = build("vit_tiny_patch16_224", **tuned)
    save(tmp_path, network, arguments | changes, images)
    with pytest.raises(TailproofError) as refused:
        load_expert(tmp_path)
    assert "\n" not in str(refused.value)
