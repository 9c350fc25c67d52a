"""A language model by name: a folder here, or a repository of the Hugging Face hub, read from its cache if need be."""

import re
from pathlib import Path

# Weights and descriptions; nothing that runs code when it is loaded.
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


class HubError(OSError):
    """A model is neither a folder here nor to be had from the hub."""


def model_folder(name: str | Path) -> Path:
    """The folder of a model: `name` itself where it is a folder or cannot be a hub name, else what the hub has.

    What is in the hub's cache is used without asking when HF_HUB_OFFLINE is set; otherwise the hub is asked whether it
    is the newest, and missing files are fetched: safetensors and texts only.

    Raises:
        HubError: there is no such folder, and the hub does not have it or cannot be reached.
    """
    folder = Path(name)
    if folder.exists() or not _HUB_NAME.fullmatch(str(name)):
        return folder
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    neither = f"there is no folder {name} here, and "
    try:
        return Path(snapshot_download(str(name), allow_patterns=list(_WANTED)))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise HubError(f"{neither}the hub has no model of that name that you may read") from error
    except LocalEntryNotFoundError as error:
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} cannot be reached"
        raise HubError(
            f"{neither}{why} and the hub's cache {constants.HF_HUB_CACHE} does not hold it; fetch it where there is a "
            f"network (hf download {name}), or name a folder"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise HubError(
            f"{neither}the hub refused: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
