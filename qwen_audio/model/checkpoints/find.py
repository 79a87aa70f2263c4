"""Find the directory of a checkpoint by name: the bundled model, a path, or an id of the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from qwen_audio.errors import CheckpointError

BUNDLED = "mini"
BUNDLED_DIRECTORY = Path(__file__).resolve().parents[2] / BUNDLED
HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
WANTED = ["*.json", "*.safetensors", "*.tiktoken"]  # neither pickles nor code: what is not fetched cannot be run


def find_checkpoint(name: str | Path, *, allow_download: bool = False) -> Path:
    """Return the directory that a name means.

    Args:
        name: "mini", a directory, or a hub id such as "Qwen/Qwen-Audio-Chat"; a directory of that name wins.
        allow_download: whether the hub may be asked; otherwise only its cache on this machine.
    Raises:
        CheckpointError: there is none.
    """
    text = str(name)
    path = Path(name).expanduser()
    if text == BUNDLED and (BUNDLED_DIRECTORY / "config.json").is_file():
        return BUNDLED_DIRECTORY
    if text and path.is_dir():
        inside = [str(path / link) for link in ("best", "last") if (path / link).is_dir()]
        if inside and not any(path.glob("*.safetensors")):
            raise CheckpointError(f"{text}: the folder of a training run, whose checkpoints lie in it; name {' or '.join(inside)}")
        return path
    if path.is_file():
        raise CheckpointError(f"{text}: a file, expected the directory of a checkpoint; name {path.parent}")
    if text == BUNDLED:
        raise CheckpointError(f"{BUNDLED}: the bundled model is not at {BUNDLED_DIRECTORY}; install the package with its data")
    if isinstance(name, str) and HUB_ID.fullmatch(text):
        return _from_hub(text, allow_download)
    raise CheckpointError(f"{text}: no such directory; expected {BUNDLED!r}, a directory or a hub id such as Qwen/Qwen-Audio-Chat")


def _from_hub(hub_id: str, allow_download: bool) -> Path:
    """Return the snapshot of a hub id, from the cache or, where allowed, fetched."""
    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=WANTED, local_files_only=not allow_download))
    except LocalEntryNotFoundError as error:
        if allow_download:
            raise CheckpointError(f"{hub_id}: the hub cannot be reached and its cache here has no copy ({error})") from error
        found = "no such directory, and the hub's cache here has no copy"
        raise CheckpointError(f"{hub_id}: {found}; allow the download (--allow-download)") from error
    except GatedRepoError as error:
        mend = "accept them on its page and log in with `hf auth login`"
        raise CheckpointError(f"{hub_id}: its owners set conditions; {mend}") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"{hub_id}: the hub knows no such model, or it is private; check the spelling") from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise CheckpointError(f"{hub_id}: the download failed ({error}); try again, what arrived is kept") from error
