"""Hypothesis strategies that build every message of the protocol from its own field table."""

from __future__ import annotations

import uuid

from hypothesis import strategies as st
from velatura.protocol import messages as m
from velatura.protocol.errors import CODES
from velatura.protocol.pixels import FORMATS, Image
from velatura.protocol.region import Rect, Size

# Surrogates cannot be encoded; control characters are refused by the protocol.
_letters = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
texts = st.text(_letters, max_size=40)
keys = st.text(_letters, min_size=1, max_size=20)
uuids = st.uuids().map(str)
unit = st.floats(0, 1)
sides = st.integers(1, 9)
coordinates = st.integers(-500, 500)


def images(formats=("rgba8",), width=None, height=None):
    def build(pixel_format, w, h, seed):
        size = w * h * FORMATS[pixel_format]
        return Image(w, h, pixel_format, (seed * (size // 16 + 1))[:size])

    return st.builds(
        build,
        st.sampled_from(formats),
        sides if width is None else st.just(width),
        sides if height is None else st.just(height),
        st.binary(min_size=16, max_size=16),
    )


rects = st.builds(
    Rect, x=coordinates, y=coordinates, width=st.integers(1, 500), height=st.integers(1, 500)
)
sizes = st.builds(Size, width=st.integers(1, 500), height=st.integers(1, 500))


def controls(width=None, height=None):
    return st.builds(
        lambda start, end, **rest: m.Control(
            start=min(start, end) * 0.5, end=0.5 + max(start, end) * 0.5, **rest
        ),
        kind=st.sampled_from(m.CONTROL_KINDS),
        picture=st.none() | images(("rgba8", "gray8"), width, height),
        weight=st.floats(0, 2),
        start=unit,
        end=unit.filter(lambda value: value > 0.01),
    )


_numbers = {
    "prompt": texts,
    "negative": texts,
    "strength": unit,
    "steps": st.integers(1, m.MOST_STEPS),
    "guidance": st.floats(0, 50),
    "sampler": keys,
    "seed": st.integers(0, m.LARGEST_SEED),
}


@st.composite
def generates(draw):
    width, height = draw(sides), draw(sides)
    x, y = draw(st.integers(0, 50)), draw(st.integers(0, 50))
    return m.Generate(
        job=draw(uuids),
        action=draw(st.sampled_from(m.ACTIONS)),
        model=draw(keys),
        canvas=Size(x + width + draw(st.integers(0, 50)), y + height + draw(st.integers(0, 50))),
        region=Rect(x, y, width, height),
        surroundings=draw(images(("rgba8",), width, height)),
        source=draw(st.none() | images(("rgba8",), width, height)),
        selection=draw(st.none() | images(("gray8",), width, height)),
        variants=draw(st.integers(1, m.MOST_VARIANTS)),
        controls=tuple(draw(st.lists(controls(width, height), max_size=2))),
        soft_edge=draw(st.integers(0, 1024)),
        keep_outline=draw(st.booleans()),
        previews=draw(st.booleans()),
        **{name: draw(strategy) for name, strategy in _numbers.items()},
    )


limits = st.builds(
    m.Limits,
    message_bytes=st.integers(1, 2**40),
    picture_pixels=st.integers(1, 2**40),
    jobs=st.integers(1, 2**20),
)
infos = st.builds(
    m.ModelInfo,
    name=keys,
    family=keys,
    native=st.integers(8, 2048),
    multiple=st.integers(1, 64),
    largest=st.integers(8, 4096),
    actions=st.lists(st.sampled_from(m.ACTIONS), max_size=4).map(tuple),
    controls=st.lists(keys, max_size=3).map(tuple),
    samplers=st.lists(keys, max_size=3).map(tuple),
    sampler=keys,
    steps=st.integers(1, m.MOST_STEPS),
    guidance=st.floats(0, 50),
    words=texts,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | unit | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
steps = st.integers(0, 1000)
variants = st.integers(0, m.MOST_VARIANTS - 1)
revisions = st.integers(1, 2**53)
areas = st.integers(0, 500)

MESSAGES: dict[type[m.Message], st.SearchStrategy] = {
    m.Hello: st.builds(
        m.Hello,
        version=st.integers(1, 65535),
        client=keys,
        capabilities=st.lists(keys, max_size=3).map(tuple),
        encodings=st.lists(keys, max_size=3).map(tuple),
        session=st.none() | texts,
    ),
    m.Welcome: st.builds(
        m.Welcome,
        version=st.integers(1, 65535),
        server=keys,
        session=texts,
        limits=limits,
        encoding=st.sampled_from(("raw", "zlib")),
        jobs=st.lists(uuids, max_size=3).map(tuple),
    ),
    m.Catalogue: st.builds(m.Catalogue, models=st.lists(infos, max_size=3).map(tuple)),
    m.Status: st.builds(
        m.Status,
        worker=st.sampled_from(m.WORKER_STATES),
        device=texts,
        loaded=st.lists(keys, max_size=3).map(tuple),
        reason=texts,
    ),
    m.Generate: generates(),
    m.Annotate: st.builds(
        m.Annotate, job=uuids, kind=st.sampled_from(m.CONTROL_KINDS), picture=images()
    ),
    m.Cancel: st.builds(m.Cancel, job=uuids),
    m.Acknowledge: st.builds(m.Acknowledge, job=uuids),
    m.Progress: st.builds(
        m.Progress,
        job=uuids,
        stage=st.sampled_from(m.STAGES),
        done=unit,
        place=steps,
        variant=variants,
        step=steps,
        steps=steps,
        note=texts,
    ),
    m.Preview: st.builds(
        m.Preview, job=uuids, variant=variants, step=steps, area=rects, picture=images()
    ),
    m.Result: st.builds(
        m.Result,
        job=uuids,
        variant=variants,
        seed=st.integers(0, m.LARGEST_SEED),
        x=coordinates,
        y=coordinates,
        picture=images(),
        recipe=st.dictionaries(texts, json_values, max_size=4),
        last=st.booleans(),
    ),
    m.ControlMap: st.builds(
        m.ControlMap,
        job=uuids,
        kind=st.sampled_from(m.CONTROL_KINDS),
        picture=images(("rgba8", "gray8")),
    ),
    m.Error: st.builds(
        m.Error,
        code=st.sampled_from(tuple(CODES)),
        message=texts,
        job=st.none() | uuids,
        field=st.none() | texts,
        words=st.none() | st.dictionaries(texts, texts, max_size=2),
    ),
    m.LiveOpen: st.builds(
        m.LiveOpen,
        job=uuids,
        model=keys,
        area=sizes,
        controls=st.lists(controls(), max_size=2).map(tuple),
        **_numbers,
    ),
    m.LiveSettings: st.builds(
        m.LiveSettings,
        job=uuids,
        controls=st.lists(controls(), max_size=2).map(tuple),
        **_numbers,
    ),
    m.LiveFrame: st.builds(
        m.LiveFrame,
        job=uuids,
        revision=revisions,
        base=st.integers(0, 2**53),
        x=areas,
        y=areas,
        picture=images(),
    ),
    m.LiveResult: st.builds(
        m.LiveResult, job=uuids, revision=revisions, x=areas, y=areas, picture=images()
    ),
    m.LiveKeyFrame: st.builds(m.LiveKeyFrame, job=uuids),
    m.LiveClose: st.builds(m.LiveClose, job=uuids),
    m.LiveClosed: st.builds(m.LiveClosed, job=uuids),
}
any_message = st.one_of(*MESSAGES.values())


def new_job() -> str:
    return str(uuid.uuid4())
