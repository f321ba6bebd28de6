"""Load one part of a model from its diffusers sub-folder, offline, safetensors only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from velatura.models.devices import lacks_memory
from velatura.models.errors import ModelError
from velatura.models.weights import check_safetensors, find_weights

if TYPE_CHECKING:
    import torch


def load_part(cls: Any, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """An instance of the diffusers or transformers class ``cls`` on ``device``, in eval mode.

    Raises ModelError (``missing_weights`` or ``unsupported``) when a file is missing or broken or
    the weights are not those of the config. Out of memory passes through as torch's own error.
    """
    from safetensors import SafetensorError
    from transformers import PreTrainedModel

    weights = find_weights(folder)
    for path in weights.files:
        check_safetensors(path)
    dtype_name = "dtype" if issubclass(cls, PreTrainedModel) else "torch_dtype"
    try:
        model, report = cls.from_pretrained(
            folder,
            variant=weights.variant,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **{dtype_name: dtype},
        )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        if lacks_memory(error):
            raise
        raise ModelError(
            "unsupported", f"{folder.name} does not load as {cls.__name__}: get it again."
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            "unsupported",
            f"{folder.name} lacks {len(missing)} weights such as {missing[0]:.100}: get it again.",
        )
    return settle(model, device)


def settle(model: Any, device: torch.device) -> Any:
    """``model`` moved to ``device``, ready to paint: in eval mode, without gradients."""
    import torch
    from diffusers import AutoencoderKL, AutoencoderTiny
    from transformers import PreTrainedModel

    # Convolutions are faster with the channels last on tensor cores; on a CPU an autoencoder's are,
    # and a UNet's are not, whose weights would be copied for nothing.
    fast = device.type != "cpu" or isinstance(model, (AutoencoderKL, AutoencoderTiny))
    convolutional = fast and not isinstance(model, PreTrainedModel)
    layout = torch.channels_last if convolutional else torch.preserve_format
    return model.to(device, memory_format=layout).eval().requires_grad_(False)
