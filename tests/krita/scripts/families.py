"""Models of other families, chosen from the docker's list by mouse, and what each is guided by."""

import kt
from advanced import pick
from paint import (
    HEIGHT,
    WIDTH,
    X,
    Y,
    annotation_of,
    changed_only_inside,
    fold,
    label,
    layers,
    mask_of,
    painted,
    picture,
    press,
    recipes_of,
    stack,
)


def painted_by(doc, model):
    """``recipe = yield from painted_by(doc, model)``: what the server says; taken back again."""
    before = kt.projection_bytes(doc)
    known = len(recipes_of(doc))
    kt.find("steps").setValue(3)
    press("a red boat")
    yield layers(doc, 2)
    yield from painted()
    yield from changed_only_inside(doc, before, mask_of(X, Y, WIDTH, HEIGHT))
    yield kt.until(lambda: len(recipes_of(doc)) > known, 20, "the recipe")
    used = annotation_of(doc, stack(doc)[-1])["server"]
    assert used["model"] == model, used
    yield from kt.undo(doc)
    yield layers(doc, 1)
    return used


def kinds_offered():
    """Of the first guide: the kinds that can be chosen."""
    combo = kt.find("guide_kind_1")
    items = [combo.model().item(row) for row in range(combo.count())]
    return [combo.itemData(row) for row, item in enumerate(items) if item.isEnabled()]


def paints_with_other_families():
    doc = yield from picture()
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    yield from pick("model", "x-large")
    plain = yield from painted_by(doc, "x-large")
    assert plain["controls"] == []

    yield from pick("model", "y-depth")
    fold("guide", is_open=True)
    kt.click(kt.find("guide_add"))
    assert kinds_offered() == ["depth"]
    yield from pick("guide_layer_1", "(from the picture)")
    deep = yield from painted_by(doc, "y-depth")
    assert [(one["kind"], one["derived"]) for one in deep["controls"]] == [("depth", True)]
    assert deep["digest"] != plain["digest"]

    yield from pick("model", "x-large")
    kt.click(kt.find("press"))
    yield kt.until(lambda: kt.find("notice_frame").isVisible(), 20, "the sentence")
    said = kt.find("notice").text()
    assert 'cannot follow a guide of the kind "depth"' in said, said
    kt.click(kt.find("dismiss"))
    kt.click(kt.find("guide_remove_1"))
    fold("guide", is_open=False)
    yield from painted_by(doc, "x-large")
