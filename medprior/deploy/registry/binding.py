"""Binds the files of a registered version to what the registry records of it, and a champion to its approval.

Files and records lie apart: whoever may write the artifact store alone cannot change both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medprior.deploy.inference.model_folder import compute_models_digest, find_model_folders
from medprior.deploy.registry.champion import APPROVAL_TAG, APPROVED_DIGEST_TAG, CHAMPION_ALIAS
from medprior.errors import InputMissing

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST_TAG = "model_digest"


def check_recorded_digest(client: MlflowClient, uri: str, resolved: str, artifacts: Path) -> None:
    """Refuse files that are not those that were registered, and a champion that nobody approved.

    The digest covers `config.json`, which holds the digest of the weights; loading compares that one.

    Args:
        client: of the registry.
        uri: as the caller gave it; `@champion` asks for the approval too.
        resolved: `models:/NAME/VERSION`, `models:/m-ID` or `runs:/ID/PATH`.
        artifacts: fetched folder with `model/` and perhaps `segmenter/`.

    Raises:
        InputMissing: the digests differ, or a champion's approval is missing or of other files.
    """
    digest, tags = compute_models_digest(find_model_folders(artifacts)), read_recorded_tags(client, resolved)
    if tags.get(DIGEST_TAG) != digest:
        raise InputMissing(
            "the stored files are not those that were registered",
            where=uri,
            expected=f"model_digest {tags.get(DIGEST_TAG, 'none')[:16]}",
            found=digest[:16],
            fix="register the model folder again, and see who may write the artifact store",
        )
    if uri.endswith(f"@{CHAMPION_ALIAS}") and (APPROVAL_TAG not in tags or tags.get(APPROVED_DIGEST_TAG) != digest):
        raise InputMissing(
            "the champion was approved by no gate",
            where=uri,
            expected=f"a version that `medprior promote` or `medprior register --alias {CHAMPION_ALIAS}` made champion",
            found=f"{resolved}, whose alias was moved otherwise",
            fix="run `medprior promote`, or name the version",
        )


def read_recorded_tags(client: MlflowClient, resolved: str) -> dict[str, str]:
    """Read the tags that registration set, of a version, a logged model or a run."""
    kind, _, path = resolved.partition(":/")
    name, _, version = path.partition("/")
    if kind == "runs":
        return dict(client.get_run(name).data.tags)
    if not version:
        return dict(client.get_logged_model(name).tags)
    return dict(client.get_model_version(name, version).tags)
