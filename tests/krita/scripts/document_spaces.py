"""The plugin's Document in every colour space: each function is one space, read and added to."""

import kt
from document import HEIGHT, WIDTH, rect
from velatura.krita_plugin.document import active_document


def _other_space(model, depth, profile, tolerance):
    doc = yield from kt.new_document(WIDTH, HEIGHT, model=model, depth=depth, profile=profile)
    ours = active_document()
    rows = kt.history()
    spot, pixels = rect(31, 5, 61, 45), kt.noise(61, 45, seed=5)
    if model == "GRAYA":
        pixels = b"".join(bytes([p, p, p, 255]) for p in pixels[::4])
    before = kt.projection_bytes(doc)
    layer = ours.add_layer("new", spot, pixels)
    ours.wait_for_idle()
    yield 200
    added = kt.history()
    assert len(added) == len(rows) + 1, added
    node = doc.topLevelNodes()[-1]
    assert (node.colorModel(), node.colorDepth(), node.colorProfile()) == ours.color_space
    worst = {}
    for name, read in (
        ("layer", ours.read_layer(layer, spot)),
        ("projection", ours.read_projection(spot)),
    ):
        worst[name] = max(abs(a - b) for a, b in zip(read, pixels, strict=True))
    kt.report(**{f"{model}/{depth}": worst})
    assert max(worst.values()) <= tolerance, worst
    assert len(kt.history()) == len(added), "reading leaves no row in the History"
    after = kt.projection_bytes(doc)
    yield from kt.undo(doc)
    assert kt.projection_bytes(doc) == before
    yield from kt.redo(doc)
    assert kt.projection_bytes(doc) == after


def sixteen_bit():
    yield from _other_space("RGBA", "U16", "", 1)


def sixteen_bit_srgb():
    yield from _other_space("RGBA", "U16", "sRGB-elle-V2-srgbtrc.icc", 0)


def floating_point():
    yield from _other_space("RGBA", "F32", "", 1)


def half_float():
    yield from _other_space("RGBA", "F16", "", 2)


def gray():
    yield from _other_space("GRAYA", "U8", "", 2)


def cmyk():
    # CMYK cannot hold every colour; that it is accepted, converted and undone is the promise.
    yield from _other_space("CMYKA", "U8", "", 255)
