import pytest

from medprior.errors import ConfigError
from medprior.finetune.settings import FEW_MASKS_DEFAULTS, SEGMENTATION_DEFAULTS, FinetuneSettings
from tests.settings_ranges import NOT_NEGATIVE, POSITIVE, SHARE, check_range, count_from


def test_each_task_has_its_defaults_and_what_is_set_stays():
    plain = FinetuneSettings.load(None)
    assert (plain.epochs, plain.batch, plain.lr) == (30, 16, 1e-3)
    masks = FinetuneSettings.load(None, ["lr=0.5"]).for_task("segmentation")
    assert (masks.epochs, masks.batch, masks.lr) == (SEGMENTATION_DEFAULTS["epochs"], 8, 0.5)
    assert masks.for_task("segmentation") == masks
    assert FinetuneSettings.from_values(masks.model_dump(mode="json")) == masks


def test_what_depends_on_the_backbone_is_filled():
    plain = FinetuneSettings.load(None)
    scratch, tuned = plain.resolved(False, 96), plain.resolved(True, 64)
    assert (scratch.size, scratch.source_size, scratch.layer_decay) == (96, 128, 1.0)
    assert (tuned.size, tuned.source_size, tuned.layer_decay) == (64, 85, 0.75)
    given = FinetuneSettings.load(None, ["size=48", "layer_decay=0.5"]).resolved(True, 64)
    assert (given.size, given.source_size, given.layer_decay) == (48, 64, 0.5)


def test_all_faults_are_named_at_once():
    with pytest.raises(ConfigError) as refused:
        FinetuneSettings.load(None, ["epochs=0", "colour=1", "head=tail"])
    for word in ("epochs", "unknown key 'colour'", "head"):
        assert word in str(refused.value)


def test_few_masks_train_for_more_epochs_unless_set():
    plain = FinetuneSettings.from_values({"task": "segmentation", "masks": 1})
    assert plain.epochs == FEW_MASKS_DEFAULTS["epochs"]
    assert FinetuneSettings.from_values({"task": "segmentation", "masks": 1, "epochs": 7}).epochs == 7
    pseudo = FinetuneSettings.from_values({"task": "segmentation", "masks": 1, "targets": "prior"})
    assert pseudo.epochs == 15


def test_sar_is_refused_where_it_has_no_meaning():
    with pytest.raises(ConfigError, match="sar_weight"):
        FinetuneSettings.from_values({"task": "segmentation", "sar_weight": 0.01})
    with pytest.raises(ConfigError, match="sar_weight"):
        FinetuneSettings.from_values({"freeze": True, "sar_weight": 0.01})


@pytest.mark.parametrize("change", [
    {"freeze": True}, {"sar_weight": 0.01}, {"span_weight": 0.1}, {"layer_decay": 0.75},
])  # fmt: skip
def test_settings_of_a_transformer_are_refused_for_a_cnn(change):
    with pytest.raises(ConfigError, match=f"{next(iter(change))}.*not with architecture"):
        FinetuneSettings.from_values({"architecture": "resnet18"} | change)


def test_few_masks_are_chosen_masks_without_a_prior():
    base = {"task": "segmentation"}
    for change, few, prior in (
        ({}, False, False), ({"masks": 1}, True, False), ({"mask_images": ("a",)}, True, False),
        ({"targets": "prior"}, False, True), ({"targets": "prior", "masks": 1}, False, True),
    ):  # fmt: skip
        settings = FinetuneSettings.from_values(base | change)
        assert (settings.has_few_masks, settings.needs_prior) == (few, prior), change
    assert FinetuneSettings.from_values({"span_weight": 0.1}).needs_prior
    assert not FinetuneSettings.from_values({}).needs_prior


def test_defaults():
    settings = FinetuneSettings()
    assert (settings.task, settings.seed, settings.final_lr, settings.warmup) == ("classification", 0, 1e-6, 0.1)
    assert (settings.weight_decay, settings.clip, settings.drop_path, settings.dropout) == (0.05, 3, 0.1, 0)
    assert (settings.sar_weight, settings.sar_warmup, settings.sar_connectivity, settings.span_weight) == (0, 0.1, 8, 0)
    assert (settings.head, settings.pooled_heads, settings.decoder, settings.channels) == (
        "pooled",
        "all",
        "pyramid",
        32,
    )
    assert (settings.freeze, settings.balance, settings.uncertain, settings.fraction) == (False, False, "ignore", 1)
    assert (settings.workers, settings.checkpoint_every, settings.keep_checkpoints, settings.max_skipped) == (
        0,
        1,
        2,
        10,
    )
    assert (settings.dice_weight, settings.targets, settings.resume) == (1, "masks", True)
    assert SEGMENTATION_DEFAULTS == {"epochs": 15, "batch": 8, "lr": 3e-3}
    assert FEW_MASKS_DEFAULTS == {"epochs": 200, "checkpoint_every": 20}


def test_augmentation_is_mild_and_never_mirrors_by_default():
    augment = FinetuneSettings().augment
    assert (augment.scale, augment.translate, augment.stretch, augment.rotate, augment.flip_p) == (0.1, 0.05, 0, 0, 0)
    exposure = augment.intensity
    assert (exposure.brightness, exposure.contrast, exposure.gamma, exposure.blur_p) == (0.1, 0.25, 0.25, 0)


BELOW_ONE = ((0, 0.99), (-0.01, 1))


@pytest.mark.parametrize(
    ("section", "field", "ends"),
    [
        ("", "seed", count_from(0)), ("", "epochs", count_from(1)), ("", "batch", count_from(1)), ("", "lr", POSITIVE),
        ("", "final_lr", NOT_NEGATIVE), ("", "warmup", SHARE), ("", "weight_decay", NOT_NEGATIVE),
        ("", "layer_decay", ((0.01, 1), (0, 1.01))), ("", "clip", POSITIVE), ("", "drop_path", BELOW_ONE),
        ("", "dropout", BELOW_ONE), ("", "sar_weight", NOT_NEGATIVE), ("", "sar_warmup", SHARE),
        ("", "span_weight", NOT_NEGATIVE), ("", "channels", count_from(4)), ("", "dice_weight", NOT_NEGATIVE),
        ("", "size", count_from(16)), ("", "source_size", count_from(16)), ("", "fraction", ((0.01, 1), (0, 1.01))),
        ("", "workers", count_from(0)), ("", "checkpoint_every", count_from(1)),
        ("", "keep_checkpoints", count_from(2)), ("", "max_skipped", count_from(0)),
        ("augment", "scale", BELOW_ONE), ("augment", "translate", ((0, 0.5), (-0.01, 0.51))),
        ("augment", "stretch", BELOW_ONE), ("augment", "rotate", ((0, 90), (-1, 91))), ("augment", "flip_p", SHARE),
    ],
)  # fmt: skip
def test_ranges(section, field, ends):
    check_range(FinetuneSettings, section, field, *ends)


def test_masks_are_counted_from_one():
    assert FinetuneSettings.from_values({"task": "segmentation", "masks": 1}).masks == 1
    with pytest.raises(ConfigError, match="masks"):
        FinetuneSettings.from_values({"task": "segmentation", "masks": 0})
    with pytest.raises(ConfigError, match="mask_images"):
        FinetuneSettings.from_values({"task": "segmentation", "mask_images": []})
