"""ONNX of both kinds of model against PyTorch; TorchScript through MONAI's own command."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from medprior.deploy import export_command
from medprior.deploy.inference import onnx_export
from medprior.errors import MedpriorError
from medprior.finetune.model import load_finetuned_model
from medprior.observer import NullObserver


@pytest.mark.parametrize("kind", ["classifier", "segmenter"])
def test_onnx_answers_as_pytorch(kind, request, tmp_path, capsys):
    folder, out = request.getfixturevalue(kind), tmp_path / "m.onnx"
    parser = argparse.ArgumentParser()
    export_command.configure(parser)
    export_command.run(parser.parse_args([str(folder), str(out)]), NullObserver())
    assert "from PyTorch on 8 views" in capsys.readouterr().out
    model = load_finetuned_model(folder)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    for count in (1, 5):  # another batch than the exported one
        images = np.random.default_rng(count).random((count, 1, 64, 64), dtype=np.float32)
        (found,) = session.run(None, {"image": images})
        with torch.inference_mode():
            logits = model.network(torch.from_numpy(images)).numpy()
        scale = model.temperature if model.task == "classification" else 1.0
        wanted = 1 / (1 + np.exp(-logits / scale))
        assert np.abs(found - wanted).max() < 1e-4
    facts = json.loads({p.key: p.value for p in onnx.load(out).metadata_props}["medprior"])
    assert facts["names"] == list(model.labels)
    assert facts["preprocessing"]["size"] == 64
    assert facts["preprocessing"]["range"] == [0, 1]
    assert facts["threshold"].keys() == set(model.labels)


def test_onnx_of_a_cohort_is_the_model_s_prediction(classifier, phantom_cohort, tmp_path):
    """Through the view that `metadata` describes, the file gives the calibrated probabilities."""
    from medprior.cohort import Cohort

    onnx_export.export_onnx(classifier, tmp_path / "m.onnx")
    model, cohort = load_finetuned_model(classifier), Cohort.open(phantom_cohort).take(6)
    images, _ = model.create_views(cohort.squares(model.source_size), cohort.aspect)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (found,) = session.run(None, {"image": images.numpy()})
    assert np.abs(found - model.predict_cohort(cohort)).max() < 1e-4


def test_a_wrong_export_is_not_written(classifier, tmp_path, monkeypatch):
    sound = onnx_export.convert_to_onnx

    def spoilt(network, size):
        network.scale.mul_(2)
        data = sound(network, size)
        network.scale.div_(2)
        return data

    monkeypatch.setattr(onnx_export, "convert_to_onnx", spoilt)
    with pytest.raises(MedpriorError, match="answers differently"):
        onnx_export.export_onnx(classifier, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
    with pytest.raises(MedpriorError, match="no finished result"):
        onnx_export.export_onnx(tmp_path, tmp_path / "m.onnx")


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_torchscript_through_monai(task, request, tmp_path):
    """`monai.bundle ckpt_export`, traced, on the bundle's own network."""
    from pathlib import Path

    from monai.bundle import ckpt_export
    from safetensors.torch import load_file

    folder = request.getfixturevalue("classifier" if task == "classification" else "segmenter")
    bundle = Path(__file__).parents[3] / "bundles" / f"chest_xray_{task}"
    tensors = load_file(folder / "model.safetensors")
    model = load_finetuned_model(folder)
    names = model.network.state_dict().keys()
    torch.save({name: tensors[name] for name in names}, tmp_path / "model.pt")
    out = tmp_path / "model.ts"
    ckpt_export(
        net_id="network_def",
        filepath=str(out),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        key_in_ckpt="",
        use_trace=True,
        input_shape=[1, 1, 64, 64],
        model_dir=str(folder),
    )
    scripted = torch.jit.load(str(out)).eval()
    images = torch.rand(3, 1, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(scripted(images), model.network(images), atol=1e-5)


def test_torchscript_by_the_commands_of_the_reference(classifier, tmp_path):
    """The text of REFERENCE.md, run as it stands there but for the model's folder and size."""
    root = Path(__file__).parents[3]
    reference = (root / "medprior" / "deploy" / "REFERENCE.md").read_text()
    (commands,) = [block for block in reference.split("```") if "ckpt_export" in block]
    commands = (
        commands.replace("MODEL", str(classifier)).replace("S, S", "64, 64").replace("bundles/", f"{root}/bundles/")
    )
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(root)
    }  # fmt: skip
    subprocess.run(
        ["bash", "-ec", commands], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=300
    )
    scripted = torch.jit.load(str(tmp_path / "model.ts")).eval()
    images = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(scripted(images), load_finetuned_model(classifier).network(images), atol=1e-5)
