"""A painter's own style: a file that is put beside the others while Krita and the server run."""

import json
import math
import os
from pathlib import Path

import kt
import paint

STYLE = """
name = "Thick"
model = "tiny"
before = "oil painting of "
negative = "watercolour"
steps = 3
guidance = 6.5
"""


def painted_layer(doc):
    """``pixels, recipe = yield from painted_layer(doc)``; the layer is taken back again."""
    before = set(paint.recipes_of(doc))
    paint.press("a house")
    yield paint.layers(doc, 2)
    yield from paint.painted()
    yield kt.until(lambda: set(paint.recipes_of(doc)) - before, 30, "the layer's recipe")
    (name,) = set(paint.recipes_of(doc)) - before
    kept = json.loads(bytes(doc.annotation(name)))
    pixels = bytes(paint.stack(doc)[-1].pixelData(0, 0, paint.SIDE, paint.SIDE))
    yield from kt.undo(doc)
    yield paint.layers(doc, 1)
    return pixels, kept


def paints_in_a_style_that_was_just_written():
    doc = yield from paint.picture()
    kt.select(doc, paint.X, paint.Y, 64, 72)
    yield paint.label("Fill")
    kt.find("seed").setText("7")
    kt.find("seed_lock").setChecked(True)
    combo = kt.find("style")
    assert combo.currentText() == "None"
    assert combo.findText("Watercolour") >= 0, "those that ship are there"
    kt.find("steps").setValue(3)
    kt.find("guidance").setValue(6.5)
    plain, without = yield from painted_layer(doc)
    assert without["settings"]["style"] is None

    folder = Path(os.environ["VELATURA_HOME"], "styles")
    folder.mkdir(exist_ok=True)
    (folder / "thick.toml").write_text(STYLE, encoding="utf-8")
    yield kt.until(lambda: combo.findText("Thick") >= 0, 60, "the new style to be offered")
    combo.setCurrentIndex(combo.findText("Thick"))
    assert kt.find("model").currentText() == "tiny"
    assert (kt.find("steps").value(), kt.find("guidance").value()) == (3, 6.5)
    pixels, kept = yield from painted_layer(doc)
    assert pixels != plain, "the style changes nothing"
    assert kept["settings"]["style"]["name"] == "Thick"
    assert kept["settings"]["prompt"] == "a house"
    assert kept["server"]["prompt"] == "oil painting of a house"
    assert kept["server"]["style"]["negative"] == "watercolour"
    combo.setCurrentIndex(0)
    kt.find("seed_lock").setChecked(False)


# What tells a whole Stable Diffusion 1.5 in one file; it is listed by its header, never loaded here.
UNET = "model.diffusion_model."
TEXT = "cond_stage_model.transformer.text_model."
VAE = "first_stage_model."
ATTENTION = "1.transformer_blocks.0.attn2.to_k.weight"
ATTENTIVE = {
    "input_blocks": (1, 2, 4, 5, 7, 8),
    "output_blocks": (3, 4, 5, 6, 7, 8, 9, 10, 11),
}
LAYERS = {"input_blocks": (1, 2, 4, 5, 7, 8, 10, 11), "output_blocks": range(12)}
SHAPES = {
    f"{UNET}input_blocks.0.0.weight": [320, 4, 3, 3],
    f"{VAE}decoder.conv_in.weight": [512, 4, 3, 3],
    f"{TEXT}final_layer_norm.bias": [768],
    f"{UNET}middle_block.{ATTENTION}": [1, 768],
    **{f"{UNET}{part}.{i}.{ATTENTION}": [1, 768] for part in ATTENTIVE for i in ATTENTIVE[part]},
    **{f"{UNET}{part}.{i}.0.in_layers.0.weight": [1] for part in LAYERS for i in LAYERS[part]},
    **{
        name: [1]
        for name in (
            f"{TEXT}encoder.layers.11.mlp.fc2.weight",
            f"{TEXT}embeddings.token_embedding.weight",
            f"{TEXT}final_layer_norm.weight",
            f"{VAE}encoder.conv_in.weight",
            f"{VAE}decoder.conv_out.weight",
            f"{VAE}quant_conv.weight",
            f"{VAE}post_quant_conv.weight",
        )
    },
}


def checkpoint(path):
    header, end = {}, 0
    for name, shape in SHAPES.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


def adds_a_folder_with_models():
    yield from paint.picture()
    home = Path(os.environ["VELATURA_HOME"])
    checkpoint(home / "ComfyUI" / "models" / "checkpoints" / "anime" / "mine.safetensors")
    kt.click(kt.find("add_models"))
    dialog = kt.find("models_folder")
    dialog.fileSelected.emit(str(home / "ComfyUI"))
    dialog.reject()
    assert "appear in the list" in kt.find("notice").text(), kt.find("notice").text()
    combo = kt.find("model")
    yield kt.until(lambda: combo.findText("anime/mine") >= 0, 60, "the folder's model")
    assert combo.currentText() == "tiny", "the painter's choice stays"
    kt.click(kt.find("dismiss"))
    (home / "models.json").unlink()
    yield kt.until(lambda: combo.findText("anime/mine") < 0, 60, "it to go again")
