"""LoRAs on disk: which layers of which model a file changes, told from its header alone.

Two ways of naming layers are read: kohya's (``lora_unet_down_blocks_1_...``, ``lycoris_...``, or with
the original names of Stable Diffusion's UNet) and that of diffusers and peft
(``unet.down_blocks.1...``). The forms of a change are those of lora_changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from velatura.models.errors import ModelError

# Width of the text embeddings that a UNet attends to -> family. No two families share one.
FAMILY_OF_WIDTH = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
UNET, FIRST_ENCODER, SECOND_ENCODER = "unet", "text_encoder", "text_encoder_2"

_ROLE = re.compile(
    r"""(?P<layer>.+?)
    (?: \.lora_(?P<kohya>down|up|mid)\.weight
      | \.lora_(?P<peft>A|B)(?:\.[\w-]+)?\.(?P<side>weight|bias)
      | (?:_lora|\.lora|\.lora_linear_layer)\.(?P<old>down|up)\.weight
      | \.(?P<other>alpha|scalar|dora_scale|diff|diff_b|w_norm|b_norm|oft_blocks|rescale|on_input
          |(?:hada|lokr)_\w+)
      | \.(?P<glora>[ab][12])\.weight
      | \.lora_(?P<dora>magnitude_vector)(?:\.[\w-]+)?(?:\.weight)?
      | \.(?P<ia3>weight)
    )""",
    re.VERBOSE,
)
# What a file is called by the first of these roles that it has.
_FORMS = {
    "dora_scale": "a DoRA",
    "magnitude_vector": "a DoRA",
    "oft_blocks": "an OFT",
    "on_input": "an IA3",
    "b1": "a GLoRA",
    "diff": "a difference of whole weights",
    "w_norm": "a change of norms",
}
_PEFT_ROLES = {("A", "weight"): "down", ("B", "weight"): "up", ("B", "bias"): "up_bias"}
_PARTS = (
    ("lora_unet_", UNET),
    ("lycoris_", UNET),
    ("lora_te_", FIRST_ENCODER),
    ("lora_te1_", FIRST_ENCODER),
    ("lora_te2_", SECOND_ENCODER),
    ("unet.", UNET),
    ("text_encoder.", FIRST_ENCODER),
    ("text_encoder_2.", SECOND_ENCODER),
    ("diffusion_model.", UNET),
)
# Old diffusers files name the layers of a UNet alone, without saying that it is one.
_BARE = ("down_blocks.", "mid_block.", "up_blocks.")
_LAYERS_OF_UNETS = re.compile(
    r"(down_blocks|mid_block|up_blocks|input_blocks|middle_block|output_blocks|conv_(in|out|norm_out)"
    r"|time_emb|add_embedding|label_emb|out_[02])"
)
_OTHERS = (
    (re.compile(r"double_blocks|single_blocks|single_transformer_blocks"), "FLUX"),
    (re.compile(r"joint"), "Stable Diffusion 3"),
    (re.compile(r"transformer|(^|[._])(blocks|layers)[._][0-9]"), "a transformer model"),
)
# Only the UNet of Stable Diffusion XL has more than one transformer layer in a block, and embeds
# the picture's size.
_XL_ALONE = re.compile(r"_transformer_blocks_[1-9]|add_embedding_|label_emb_")
# What trainers write into a file's metadata -> width.
_SAID = (
    (re.compile(r"sdxl|stable-diffusion-xl"), 2048),
    (re.compile(r"sd_v2|stable-diffusion-v2"), 1024),
    (re.compile(r"sd_v1|sd_1\.5|stable-diffusion-v1"), 768),
)


@dataclass(frozen=True)
class Place:
    """One tensor's place: ``part`` of the model, ``layer`` with ``_`` for every dot, its ``role``."""

    part: str
    layer: str
    role: str


def place_of(name: str) -> Place | None:
    """Where the tensor called ``name`` belongs; None for what is no part of a LoRA for a UNet.

    >>> place_of("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight")
    Place(part='unet', layer='mid_block_attentions_0_proj_in', role='down')
    >>> place_of("unet.mid_block.attentions.0.attn1.processor.to_out_lora.up.weight")
    Place(part='unet', layer='mid_block_attentions_0_attn1_to_out_0', role='up')
    >>> place_of("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight")
    Place(part='text_encoder', layer='encoder_layers_0_self_attn_q_proj', role='down')
    >>> place_of("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha")
    Place(part='text_encoder_2', layer='encoder_layers_0_mlp_fc1', role='alpha')
    >>> place_of("lora_unet_double_blocks_0_img_attn_proj.alpha").layer
    'double_blocks_0_img_attn_proj'
    >>> place_of("lycoris_mid_block_attentions_0_proj_in.b2.weight").role
    'b2'
    >>> place_of("transformer.blocks.0.lora_A.weight"), place_of("emb_params")
    (None, None)
    >>> place_of("unet.conv_in.weight")
    """
    found = _ROLE.fullmatch(name.removeprefix("base_model.model."))
    if found is None:
        return None
    layer = found["layer"]
    if found["ia3"] and "." in layer:
        return None
    role = next(
        (r for r in map(found.group, ("kohya", "old", "other", "glora", "dora", "ia3")) if r), ""
    )
    role = role or _PEFT_ROLES.get((found["peft"], found["side"]), "")
    if not role:
        return None
    for start, part in (*_PARTS, *((bare, UNET) for bare in _BARE)):
        if layer.startswith(start):
            rest = layer if start in _BARE else layer.removeprefix(start)
            return Place(part, _plain(rest, part), role)
    return None


def _plain(layer: str, part: str) -> str:
    plain = layer.replace(".processor", "").replace(".", "_")
    if part == UNET:
        return f"{plain}_0" if plain.endswith("_to_out") else plain
    plain = plain.removeprefix("text_model_")
    # An old form of diffusers' named the encoders' layers as the UNet's.
    found = re.fullmatch(r"(.*_self_attn)_to_(q|k|v|out)", plain)
    return f"{found[1]}_{found[2]}_proj" if found else plain


def find_width(tensors: Mapping[str, Mapping[str, Any]], metadata: Mapping[str, str]) -> int:
    """The width of the text embeddings of the models that a LoRA with these tensors is made for.

    ``tensors`` and ``metadata``: of a safetensors header. Raises ModelError (``unsupported``) with
    what the file looks like when it is none that a model here can take.
    """
    sides: dict[tuple[str, str], dict[str, tuple[int, ...]]] = {}
    for place, shape in _shapes(tensors):
        sides.setdefault((place.part, place.layer), {})[place.role] = shape
    unet = [layer for part, layer in sides if part == UNET]
    if (unet and not any(map(_of_unet, unet))) or any(map(_of_transformer, tensors)):
        # It may change text encoders that models here have too: that is not what it is for.
        raise ModelError("unsupported", _looks_foreign(tensors))
    for (part, layer), roles in sides.items():
        if part == UNET and layer.endswith(("attn2_to_k", "attn2_to_v")) and _takes(roles):
            return _takes(roles)
    encoders = {
        part: _takes(roles)
        for (part, layer), roles in sides.items()
        if part != UNET and layer.endswith("q_proj")
    }
    if len(encoders) == 2:
        return sum(encoders.values())
    if any(part == SECOND_ENCODER for part, _ in sides):
        return 2048
    if any(map(_XL_ALONE.search, unet)):
        return 2048
    said = " ".join(
        metadata.get(name, "").lower()
        for name in ("ss_base_model_version", "modelspec.architecture")
    )
    for pattern, width in _SAID:
        if pattern.search(said):
            return width
    if encoders.get(FIRST_ENCODER):
        return encoders[FIRST_ENCODER]
    if metadata.get("ss_v2") == "True":
        return 1024
    if not sides:
        raise ModelError("unsupported", _looks_foreign(tensors))
    there = {role for known in sides.values() for role in known}
    form = next((form for role, form in _FORMS.items() if role in there), "")
    does = f"is {form} and does" if form else "does"
    raise ModelError(
        "unsupported",
        f"it {does} not show which models it is made for: get another version of it.",
    )


def find_aliases(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the name that a LoRA had when it was trained: A1111 writes it into prompts."""
    name = metadata.get("ss_output_name", "")
    return (name,) if name.strip() and name.isprintable() and name != "None" else ()


def _of_unet(layer: str) -> bool:
    return _LAYERS_OF_UNETS.match(layer) is not None


def _of_transformer(name: str) -> bool:
    return name.removeprefix("base_model.model.").startswith(("transformer.", "lora_transformer_"))


def _looks_foreign(tensors: Mapping[str, Any]) -> str:
    for mark, family in _OTHERS:
        if any(mark.search(name) for name in tensors):
            return f"it looks like a LoRA for {family}, which none of the models here is."
    return "it holds no LoRA: put it where it belongs."


def _shapes(
    tensors: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[Place, tuple[int, ...]]]:
    for name, tensor in tensors.items():
        place = place_of(name)
        shape = tensor.get("shape") if isinstance(tensor, Mapping) else None
        if place is not None and isinstance(shape, list):
            yield place, tuple(n for n in shape if isinstance(n, int))


def _takes(roles: Mapping[str, tuple[int, ...]]) -> int:
    """How many values the layer takes whose tensors have these shapes; 0 where they do not say."""
    for role in ("down", "hada_w1_b", "diff"):
        if len(roles.get(role, ())) > 1:
            return roles[role][1]
    if "b1" in roles and "b2" in roles:
        # The smaller side of each of the two is the rank.
        return max(roles["b1"][1:2] + roles["b2"][1:2], default=0)
    first = roles.get("lokr_w1") or roles.get("lokr_w1_b")
    second = roles.get("lokr_w2") or roles.get("lokr_w2_b")
    if first and second and len(first) > 1 and len(second) > 1:
        return first[1] * second[1]
    return 0
