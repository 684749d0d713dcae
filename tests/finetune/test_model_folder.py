import json


def test_config_says_what_later_stages_need(vit_folders):
    config = json.loads((vit_folders / "classification" / "config.json").read_text())
    assert config["task"] == "classification"
    assert config["labels"] == ["large", "right"]
    assert config["preprocessing"] == {
        "size": 32, "source_size": 40, "range": [0, 1],
        "frame": "whole view, aspect kept, zero padded",
    }  # fmt: skip
    assert config["threshold"].keys() == config["calibration"]["temperature"].keys()
    assert set(config["outputs"]) == {"model.safetensors", "metrics.csv", "training.png"}
    known = config["validation"]["positive"]["right"] + config["validation"]["negative"]["right"]
    assert 0 < known < config["validation"]["images"]
    assert json.loads((vit_folders / "segmentation" / "config.json").read_text())["structures"] == ["heart"]
