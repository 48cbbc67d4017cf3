"""Commands of timm's train.py as experiments: what becomes of them, and that nothing gets lost."""

import shlex
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.scheduler import MultiStepLRScheduler, StepLRScheduler

import tailproof.models  # noqa: F401 - adds to timm's registry
from tailproof.config.augmentation import Augmentation
from tailproof.config.validation import load_experiment, parse_experiment
from tailproof.from_timm import Translation, render, translate
from tailproof.from_timm.arguments import ARGUMENTS
from tailproof.from_timm.registry import default_side
from tailproof.loading.transforms import ImageAugment
from tailproof.runtime.errors import TailproofError


def experiment_of(command: str):
    return parse_experiment(translate(command).experiment)


def recipe_of(arguments: str):
    return experiment_of(f"python train.py /data/images {arguments}").recipe


def transforms_of(recipe) -> dict[str, dict]:
    return {each.name: each.options for each in recipe.augmentation.albumentations}


def texts(translation: Translation) -> set[str]:
    """What a translation says of the command, argument by argument."""
    return {
        *(row[0] for row in translation.translated),
        *(row[0] for row in translation.ignored),
        *translation.unknown,
    }


# --- timm's own training recipes -----------------------------------------------------------------


def test_efficientnet_b2_with_randaugment():
    translation = translate(
        "./distributed_train.sh 2 --data-dir /imagenet/ --model efficientnet_b2 -b 128 "
        "--sched step --epochs 450 --decay-epochs 2.4 --decay-rate .97 --opt rmsproptf "
        "--opt-eps .001 -j 8 --warmup-lr 1e-6 --weight-decay 1e-5 --drop 0.3 --drop-path 0.2 "
        "--model-ema --model-ema-decay 0.9999 --aa rand-m9-mstd0.5 --remode pixel --reprob 0.2 "
        "--amp --lr .016"
    )
    experiment = parse_experiment(translation.experiment)
    recipe = experiment.recipe
    assert experiment.data.source.root == "/imagenet"
    assert recipe.model.name == "efficientnet_b2"
    assert recipe.model.options == {"drop_rate": 0.3, "drop_path_rate": 0.2}
    assert (recipe.batch_size, recipe.devices, recipe.workers) == (256, 2, 8)
    assert (recipe.optimizer.name, recipe.optimizer.options) == ("rmsproptf", {"eps": 0.001})
    assert (recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == (0.016, 1e-5)
    assert recipe.schedule.milestones[:5] == [3, 5, 8, 10, 12]
    assert (recipe.schedule.gamma, recipe.schedule.warmup.epochs) == (0.97, 5)
    assert (recipe.epochs, recipe.image_size, recipe.precision) == (450, 256, "fp16")
    assert recipe.ema.decay == 0.9999
    assert recipe.loss.label_smoothing == 0.1
    # timm leaves the colour jitter out with --aa
    assert list(transforms_of(recipe)) == ["RandomResizedCrop", "Erasing"]
    assert transforms_of(recipe)["Erasing"]["p"] == 0.2
    assert {name for name, _ in translation.ignored} == {
        "--warmup-lr 1e-6",
        "--aa rand-m9-mstd0.5",
    }


def test_seresnext26t():
    recipe = experiment_of(
        "./distributed_train.sh 2 --data-dir /imagenet/ --model seresnext26t_32x4d --lr 0.1 "
        "--warmup-epochs 5 --epochs 160 --weight-decay 1e-4 --sched cosine --reprob 0.4 "
        "--remode pixel -b 112"
    ).recipe
    assert (recipe.optimizer.name, recipe.optimizer.momentum) == ("sgd", 0.9)
    assert (recipe.batch_size, recipe.epochs, recipe.drop_last) == (224, 160, True)
    assert (recipe.schedule.name, recipe.schedule.warmup.epochs) == ("cosine", 5)
    assert transforms_of(recipe)["ColorJitter"]["brightness"] == [0.6, 1.4]
    assert recipe.augmentation.flip
    assert recipe.precision == "fp32"


def test_resnet50_with_jsd_loss():
    translation = translate(
        "./distributed_train.sh 2 --data-dir /imagenet -b 64 --model resnet50 --sched cosine "
        "--epochs 200 --lr 0.05 --amp --remode pixel --reprob 0.6 --aug-splits 3 "
        "--aa rand-m9-mstd0.5-inc1 --resplit --split-bn --jsd --dist-bn reduce"
    )
    assert {name for name, _ in translation.ignored} == {
        "--aug-splits 3",
        "--aa rand-m9-mstd0.5-inc1",
        "--resplit",
        "--split-bn",
        "--jsd",
        "--dist-bn reduce",
    }
    assert translation.experiment["recipe"]["batch_size"] == 128


def test_mobilenetv3_large():
    translation = translate(
        "./distributed_train.sh 2 --data-dir imagenet/ --model mobilenetv3_large_100 -b 512 "
        "--sched step --epochs 600 --decay-epochs 2.4 --decay-rate .973 --opt rmsproptf "
        "--opt-eps .001 -j 7 --warmup-lr 1e-6 --weight-decay 1e-5 --drop 0.2 --drop-path 0.2 "
        "--model-ema --model-ema-decay 0.9999 --aa rand-m9-mstd0.5 --remode pixel --reprob 0.2 "
        "--amp --lr .064 --lr-noise 0.42 0.9"
    )
    recipe = parse_experiment(translation.experiment).recipe
    assert (recipe.batch_size, recipe.optimizer.learning_rate) == (1024, 0.064)
    assert recipe.model.options["drop_path_rate"] == 0.2
    assert "--lr-noise 0.42 0.9" in dict(translation.ignored)


def test_resnext50_on_eight_gpus():
    recipe = experiment_of(
        "./distributed_train.sh 8 --data-dir /imagenet --model resnext50_32x4d --lr 0.6 "
        "--warmup-epochs 5 --epochs 240 --weight-decay 1e-4 --sched cosine --reprob 0.4 "
        "--recount 3 --remode pixel --aa rand-m7-mstd0.5-inc1 -b 192 -j 6 --amp --dist-bn reduce"
    ).recipe
    assert (recipe.devices, recipe.batch_size, recipe.workers) == (8, 1536, 6)


def test_resnet50_as_in_resnet_strikes_back_a1():
    translation = translate(
        "torchrun --nproc_per_node=4 train.py /data/imagenet --model resnet50 -b 512 --opt lamb "
        "--lr 5e-3 --weight-decay 0.01 --sched cosine --epochs 600 --warmup-epochs 5 "
        "--smoothing 0.1 --bce-loss --mixup 0.2 --cutmix 1.0 --drop-path 0.05 --aug-repeats 3 "
        "--aa rand-m7-mstd0.5-inc1 --crop-pct 0.95 --amp --amp-dtype bfloat16 --channels-last"
    )
    recipe = parse_experiment(translation.experiment).recipe
    assert (recipe.optimizer.name, recipe.batch_size) == ("lamb", 2048)
    assert (recipe.mixing.mixup, recipe.mixing.cutmix) == (0.2, 1.0)
    assert (recipe.precision, recipe.channels_last) == ("bf16", True)
    assert {"--bce-loss", "--aug-repeats 3", "--crop-pct 0.95"} <= set(dict(translation.ignored))


def test_deit_small():
    recipe = experiment_of(
        "python -m torch.distributed.launch --nproc_per_node=4 --use_env train.py /data/imagenet "
        "--model deit_small_patch16_224 -b 256 --opt adamw --opt-betas 0.9 0.98 --lr 1e-3 "
        "--weight-decay 0.05 --epochs 300 --warmup-epochs 5 --warmup-lr 1e-6 --min-lr 1e-5 "
        "--mixup 0.8 --cutmix 1.0 --reprob 0.25 --drop-path 0.1 --clip-grad 1.0 --model-ema "
        "--aa rand-m9-mstd0.5-inc1 --layer-decay 0.75 --sync-bn --grad-checkpointing"
    ).recipe
    assert recipe.optimizer.options == {"betas": [0.9, 0.98]}
    assert recipe.optimizer.layer_decay == 0.75
    assert recipe.schedule.min_lr == 1e-5
    assert (recipe.grad_clip_norm, recipe.ema.decay) == (1.0, 0.9998)
    assert (recipe.sync_batchnorm, recipe.activation_checkpointing) == (True, True)


# --- timm's defaults, and what follows from them -------------------------------------------------


def test_the_shortest_command_states_what_timm_would_have_done():
    recipe = recipe_of("")
    assert (recipe.model.name, recipe.image_size) == ("resnet50", 224)
    assert (recipe.optimizer.name, recipe.optimizer.weight_decay) == ("sgd", 2e-5)
    assert recipe.optimizer.learning_rate == 0.1 * 128 / 256
    assert (recipe.schedule.name, recipe.schedule.warmup.epochs) == ("cosine", 5)
    assert (recipe.epochs, recipe.batch_size, recipe.loss.label_smoothing) == (300, 128, 0.1)
    assert transforms_of(recipe)["RandomResizedCrop"]["scale"] == [0.08, 1.0]
    assert recipe.mixing.mixup == recipe.mixing.cutmix == 0
    assert (recipe.monitor, recipe.workers) == ("val_accuracy", 4)
    assert experiment_of("python train.py x").seeds == [42]


@pytest.mark.parametrize(
    ("arguments", "rate"),
    [
        ("--lr 0.3 --lr-base 9", 0.3),
        ("-b 512", 0.2),
        ("-b 512 --opt adamw", 0.1 * 2**0.5),
        ("-b 512 --opt adamw --lr-base-scale linear", 0.2),
        ("-b 128 --grad-accum-steps 4 --lr-base-size 128", 0.4),
    ],
)
def test_the_rate_scales_with_the_batch(arguments, rate):
    assert recipe_of(arguments).optimizer.learning_rate == pytest.approx(rate)


@pytest.mark.parametrize("interval", [1, 2.4, 7, 29.5])
def test_steps_fall_in_the_epochs_of_timm(interval):
    schedule = recipe_of(
        f"--sched step --decay-epochs {interval} --decay-rate 0.9 --epochs 60"
    ).schedule
    falls = falls_of(StepLRScheduler, decay_t=interval, decay_rate=0.9, epochs=60)
    assert schedule.milestones == falls


def test_milestones_fall_in_the_epochs_of_timm():
    schedule = recipe_of("--sched multistep --decay-milestones 10 20 70 --epochs 60").schedule
    falls = falls_of(MultiStepLRScheduler, decay_t=[10, 20, 70], decay_rate=0.1, epochs=60)
    assert schedule.milestones == falls


def falls_of(kind, epochs: int, **options) -> list[int]:
    """The epochs, counted from 0, in which timm lowers the rate."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = kind(optimizer, warmup_prefix=False, **options)
    rates = [scheduler._get_lr(epoch)[0] for epoch in range(epochs)]
    return [epoch for epoch in range(1, epochs) if rates[epoch] < rates[epoch - 1]]


def test_epochs_that_timm_adds():
    assert recipe_of("--epochs 90 --cooldown-epochs 10").epochs == 100
    assert recipe_of("--epochs 90 --warmup-epochs 8 --warmup-prefix").epochs == 98


def test_mixing_ends_with_a_phase():
    recipe = recipe_of("--mixup 0.2 --mixup-off-epoch 50 --epochs 60")
    assert [phase.from_epoch for phase in recipe.phases] == [1, 51]
    assert [phase.mixing.mixup for phase in recipe.timeline] == [0.2, 0.0]


def test_no_aug_leaves_nothing_but_the_resize():
    recipe = recipe_of("--no-aug --reprob 0.5 --hflip 0.5")
    assert recipe.augmentation == type(recipe.augmentation)()


def test_a_transform_that_is_never_applied_is_left_out():
    recipe = recipe_of("--color-jitter-prob 0 --color-jitter 0.4 --vflip 0 --hflip 0")
    names = [transform.name for transform in recipe.augmentation.albumentations]
    assert names == ["RandomResizedCrop"]


def test_albumentations_takes_every_transform():
    recipe = recipe_of(
        "--vflip 0.1 --hflip 0.3 --grayscale-prob 0.2 --gaussian-blur-prob 0.1 --reprob 0.3 "
        "--remode const --color-jitter-prob 0.8 --train-interpolation bilinear --color-jitter 2"
    )
    names = [transform.name for transform in recipe.augmentation.albumentations]
    assert len(names) == 7
    certain = [
        {"name": transform.name, "options": {**transform.options, "p": 1.0}}
        for transform in recipe.augmentation.albumentations
    ]
    augment = ImageAugment(Augmentation(albumentations=certain), seed=0, size=32)
    assert augment(np.full((50, 60, 3), 128, np.uint8), 1, 0).shape == (32, 32, 3)


# --- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "resnet50",
        "resnet50.a1_in1k",
        "efficientnet_b3",
        "vit_base_patch16_384",
        "swin_tiny_patch4_window7_224",
        "convnext_tiny.in12k_ft_in1k_384",
        "mobilenetv3_large_100",
        "inception_v3",
        "nfnet_l0",
        "eva02_tiny_patch14_336",
        "tf_efficientnetv2_s",
    ],
)
def test_the_size_is_the_models_own(name):
    assert default_side(name) == timm.models.get_pretrained_cfg(name).input_size[1]


def test_a_model_from_the_hub_keeps_its_timm_name():
    assert recipe_of("--model hf_hub:timm/resnet18.a1_in1k").model.name == "resnet18.a1_in1k"


# --- data ----------------------------------------------------------------------------------------


def test_the_folders_of_the_splits_are_found_as_timm_finds_them(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "val").mkdir()
    source = experiment_of(f"python train.py {tmp_path}").data.source
    assert (source.root, source.train, source.test) == (str(tmp_path), "training", "val")


def test_a_folder_without_splits_is_one_collection(tmp_path):
    (tmp_path / "lynx").mkdir()
    source = experiment_of(f"python train.py {tmp_path}").data.source
    assert (source.train, source.test) == (None, None)


def test_fashion_mnist_is_where_torchvision_puts_it():
    source = experiment_of("python train.py /data --dataset torch/fashion_mnist").data.source
    assert source.root == "/data/FashionMNIST/raw"


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("torch/cifar100", "cifar100"),
        ("torch/fashion_mnist", "idx"),
        ("hfds/timm/oxford-iiit-pet", "parquet"),
        ("wds/imagenet", "image_folder"),
    ],
)
def test_the_source_follows_the_dataset(dataset, name):
    translation = translate(f"python train.py --dataset {dataset} --dataset-download")
    experiment = parse_experiment(translation.experiment)
    assert experiment.data.source.name == name
    assert experiment.data.source.root == f"raw/{Path(dataset).name}"


# --- reading the command -------------------------------------------------------------------------


def test_arguments_of_a_config_file_are_overridden_by_the_command(tmp_path):
    file = tmp_path / "hparams.yaml"
    file.write_text(
        "batch_size: 64\nlr: 0.4\namp: true\nbce_loss: false\nmean: null\n"
        "opt_betas: [0.9, 0.95]\nmodel_kwargs: {zero_init_last: false}\nfrob: 3\n"
    )
    translation = translate(f"python train.py --config {file} /data -b 32")
    recipe = parse_experiment(translation.experiment).recipe
    assert (recipe.batch_size, recipe.optimizer.learning_rate) == (32, 0.4)
    assert (recipe.precision, recipe.optimizer.options) == ("fp16", {"betas": [0.9, 0.95]})
    assert recipe.model.options == {"zero_init_last": False}
    assert f"{file}: batch_size 64" in dict(translation.ignored)
    assert translation.unknown == [f"{file}: frob 3"]


def test_the_arguments_that_timm_saves_of_a_run_are_its_defaults(tmp_path):
    stated = {
        argument.name.removeprefix("--").replace("-", "_"): argument.default
        for argument in ARGUMENTS.values()
    }
    named = {"dir": None, "data": "/data", "data_dir": "/data", "experiment": "run"}
    stated |= named | {"nproc_per_node": None, "nnodes": None, "aug_repeats": 0, "tta": 0}
    stated = {
        name: list(value) if type(value) is tuple else value for name, value in stated.items()
    }
    file = tmp_path / "args.yaml"
    file.write_text(yaml.safe_dump(stated))
    translation = translate(f"python train.py --config {file}")
    assert translation.unknown == []
    shortest = experiment_of("train.py /data --experiment run --drop 0")
    assert parse_experiment(translation.experiment) == shortest


def test_a_command_as_it_stands_in_a_script():
    translation = translate(
        "cd timm && CUDA_VISIBLE_DEVICES=0,1 nohup torchrun --nproc-per-node 2 --standalone \\\n"
        "  train.py '/data/my images' -b64 --lr=0.1 \\\n  --frob 1 2 > log.txt 2>&1"
    )
    assert translation.experiment["data"]["source"]["root"] == "/data/my images"
    assert translation.experiment["recipe"]["batch_size"] == 128
    assert texts(translation) == {
        "cd timm &&",
        "CUDA_VISIBLE_DEVICES=0,1",
        "--nproc-per-node 2",
        "--standalone",
        "'/data/my images'",
        "-b64",
        "--lr=0.1",
        "> log.txt 2>&1",
        "--frob 1 2",
    }
    assert translation.unknown == ["--frob 1 2"]


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("python validate.py /data", "train.py"),
        ("python train.py 'unclosed", "quotes"),
        ("python train.py /data --model resnet5o", "resnet50"),
        ("python train.py /data --sched cosin", "cosine"),
        ("python train.py /data --lr fast", "--lr"),
        ("python train.py /data --lr nan", "--lr"),
        ("python train.py /data -b $BATCH", "variable"),
        ("python train.py /data -b", "--batch-size"),
        ("python train.py /data --input-size 3 224", "--input-size"),
        ("python train.py /data --input-size 3 224 320", "--img-size"),
        ("python train.py /data --model inception_v4", "--img-size"),
        ("python train.py /data --data-dir /other", "/other"),
        ("python train.py /data --mix 0.2", "--mixup-mode"),
        ("python train.py /data --mixup 0.2 -b 33", "--batch-size"),
        ("python train.py /data --jsd-loss", "--aug-splits"),
        ("python train.py /data --torchscript --torchcompile", "--torchcompile"),
        ("python train.py /data --sync-bn --split-bn", "--split-bn"),
        ("python train.py /data --amp --model-dtype bfloat16", "--model-dtype"),
        ("python train.py /data --amp --amp-dtype float8", "--amp-dtype"),
        ("python train.py /data --reprob 0.1 --remode dots", "--remode"),
        ("python train.py /data --model-kwargs depth", "NAME=VALUE"),
        ("python train.py /data --sched multistep --decay-milestones 9 3", "--decay-milestones"),
        ("python train.py /data --sched step --decay-epochs 0", "--decay-epochs"),
        ("python train.py /data --lr-base-size 0", "--lr-base-size"),
        ("python train.py /data --opt lookahead_adam", "lookahead"),
        ("python train.py /data --epochs 0", "epochs"),
        ("python train.py /data --smoothing 1.5", "label_smoothing"),
        ("python train.py /data --config missing.yaml", "missing.yaml"),
        ("python train.py /data --config", "--config"),
        ("python train.py /data --amp=1", "--amp=1"),
    ],
)
def test_a_mistake_gets_one_sentence(command, named):
    with pytest.raises(TailproofError) as raised:
        translate(command)
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


# --- any command ---------------------------------------------------------------------------------

SHARE = st.floats(0, 0.99)
POSITIVE = st.floats(1e-6, 10)
NATURAL = st.integers(1, 64)
WORD = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,8}", fullmatch=True)

VALUES = {
    "DIR": st.just("data"),
    "--data-dir": st.just("data"),
    "--dataset": st.sampled_from(["", "torch/cifar10", "torch/mnist", "hfds/a/b", "tfds/x"]),
    "--model": st.sampled_from(["resnet18", "vit_tiny_patch16_224", "efficientnet_b0.ra_in1k"]),
    "--img-size": NATURAL,
    "--input-size": st.integers(1, 512).map(lambda side: [3, side, side]),
    "--model-kwargs": st.just(["depth=2", "name=x", "sizes=(1,2)"]),
    "--opt-kwargs": st.just(["caution=True"]),
    "--batch-size": NATURAL.map(lambda half: 2 * half),
    "--amp-dtype": st.sampled_from(["float16", "bfloat16"]),
    "--opt": st.sampled_from(["sgd", "adamw", "lamb"]),
    "--momentum": SHARE,
    "--mixup-prob": SHARE,
    "--mixup-switch-prob": SHARE,
    "--lr-base-scale": st.sampled_from(["linear", "sqrt"]),
    "--clip-mode": st.sampled_from(["norm", "value", "agc"]),
    "--sched": st.sampled_from(
        ["cosine", "step", "multistep", "plateau", "constant", "none", "poly", "tanh", "wsd"]
    ),
    "--decay-milestones": st.sets(st.integers(2, 300), min_size=1).map(sorted),
    "--decay-epochs": st.floats(1, 100),
    "--smoothing": SHARE,
    "--remode": st.sampled_from(["pixel", "rand", "const"]),
    "--model-ema-decay": st.floats(0.01, 0.99),
    "--layer-decay": st.floats(0.01, 1.0),
    "--aa": st.sampled_from(["rand-m9-mstd0.5", "original", "3a"]),
    "--train-interpolation": st.sampled_from(["random", "bilinear", "bicubic"]),
}
# Pairs that no command may have.
EXCLUSIVE = ("--torchscript", "--jsd-loss", "--split-bn", "--model-dtype")


def words_of(name: str) -> st.SearchStrategy[list[str]]:
    """The words of an argument with values that timm takes."""
    argument = ARGUMENTS[name]
    one = {int: NATURAL, float: POSITIVE, str: WORD}[argument.kind]
    count = argument.values
    if name in VALUES:
        values = VALUES[name].map(lambda value: value if isinstance(value, list) else [value])
    elif isinstance(count, int):
        values = st.lists(one, min_size=count, max_size=count)
    else:
        most = 1 if count == "?" else 3
        values = st.lists(one, min_size=1 if count == "+" else 0, max_size=most)
    first = [] if name == "DIR" else [name]
    return values.map(lambda value: first + [str(word) for word in value])


LAUNCHING = ("--nproc-per-node", "--nnodes")
COMMANDS = st.lists(
    st.sampled_from([name for name in ARGUMENTS if name not in EXCLUSIVE]),
    unique=True,
    max_size=20,
).flatmap(lambda names: st.fixed_dictionaries({name: words_of(name) for name in names}))


@settings(deadline=None, max_examples=100)
@given(COMMANDS, st.booleans())
def test_any_command_loads_and_loses_nothing(tmp_path_factory, arguments, unknown):
    launcher = [arguments[name] for name in LAUNCHING if name in arguments]
    rest = [words for name, words in arguments.items() if name not in LAUNCHING and name != "DIR"]
    folder = [arguments["DIR"]] if "DIR" in arguments else []
    extra = [["--frob", "1"]] if unknown else []
    words = ["torchrun", *chain(*launcher), "train.py", *chain(*folder, *rest, *extra)]
    translation = translate(shlex.join(words))
    assert texts(translation) == {shlex.join(each) for each in [*launcher, *rest, *folder, *extra]}
    assert all(why for _, why in translation.ignored)
    file = tmp_path_factory.mktemp("experiments") / "translated.yaml"
    file.write_text(render(translation), encoding="utf-8")
    assert load_experiment(file) == parse_experiment(translation.experiment)


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_whatever_stands_in_an_argument_stays_a_value(tmp_path_factory, text):
    words = ["train.py", "--experiment", f"x{text}", "--frob", f"y{text}", "--aa", f"z{text}"]
    translation = translate(shlex.join(words).replace("\\\n", ""))
    file = tmp_path_factory.mktemp("experiments") / "translated.yaml"
    file.write_text(render(translation), encoding="utf-8")
    assert load_experiment(file) == parse_experiment(translation.experiment)
