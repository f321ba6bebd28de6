"""The jobs and live sequences that both commits paint, as plain values.

Nothing of Velatura is imported: what a case says is turned into messages by each side (paint.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from .pairs import Row, pairwise_rows

# The models' own size is 64 x 64. Size -> (width, height, detail).
SIZES: dict[str, tuple[int, int, str]] = {
    "native": (64, 64, "fast"),
    # Scaled down by no whole number.
    "odd": (139, 101, "fast"),
    # In two passes, the second one tile by tile; a gentle refine in one, tile by tile.
    "full": (144, 112, "full"),
}
SAMPLERS = (
    "Euler",
    "Euler a",
    "DPM++ 2M Karras",
    "DPM++ 2M SDE",
    "DPM++ 3M SDE Exponential",
    "DPM++ SDE Karras",
    "UniPC",
    "DEIS",
    "Heun",
    "DPM2",
    "DPM2 a Karras",
    "LMS",
    "DDIM",
    "PLMS",
    "LCM",
    "TCD",
)
# Painted once each, by models in turn.
MORE_SAMPLERS = (
    "Euler Karras",
    "Euler Exponential",
    "Euler SGM Uniform",
    "Euler Beta",
    "Euler a SGM Uniform",
    "DPM++ 2M",
    "DPM++ 2M SGM Uniform",
    "DPM++ 2M SDE Karras",
    "DPM++ SDE",
    "UniPC Karras",
    "UniPC SGM Uniform",
    "DEIS Karras",
    "Heun Karras",
    "Heun Beta",
    "DPM2 Karras",
    "LMS Karras",
    "DDIM SGM Uniform",
)
FACTORS: dict[str, tuple[Any, ...]] = {
    "sampler": SAMPLERS,
    "model": (
        "sd15",
        "sd15 inpaint",
        "lcm",
        "sd2",
        "sd2 inpaint",
        "sd2 depth",
        "sdxl",
        "sdxl inpaint",
        "sdxl v",
    ),
    "action": ("generate", "refine", "fill", "expand"),
    "controls": ("none", "given", "derived", "several"),
    "size": tuple(SIZES),
    "mask": ("none", "hard", "soft"),
    "strength": (1.0, 0.6, 0.4),
    "lora": ("none", "one", "per variant", "two weights"),
    "word": (False, True),
    "clip_skip": (1, 2),
    "guided": (True, False),
    "edge": ("plain", "soft", "outline", "around"),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job over a picture that covers the canvas; numbers as in Generate.

    mask      none; hard: a rectangle; soft: the same, falling off to the right
    layer     the source is a layer of its own, with transparency
    controls  (kind, seed of the guide's picture or None for a derived map, weight, start, end)
    """

    model: str
    action: str
    sampler: str
    width: int
    height: int
    detail: str
    mask: str
    strength: float
    steps: int
    guidance: float
    prompt: str
    negative: str
    seed: int
    variants: int
    clip_skip: int
    layer: bool = False
    controls: tuple[tuple[str, int | None, float, float, float], ...] = ()
    soft_edge: int = 0
    keep_outline: bool = False
    around: int = 0


@dataclass(frozen=True, kw_only=True)
class Live:
    """A live canvas that is painted after each event; numbers as in LiveOpen.

    events: ("key",), ("brush", x, y, width, height, seed of the colour), ("settings", changes)
    """

    model: str
    sampler: str
    width: int
    height: int
    strength: float = 0.5
    steps: int = 4
    guidance: float = 1.0
    prompt: str = "a red house"
    negative: str = ""
    seed: int = 7
    clip_skip: int = 1
    controls: tuple[tuple[str, int | None, float, float, float], ...] = ()
    events: tuple[tuple[Any, ...], ...] = field(default=())


Case = Job | Live


def key_of(case: Case) -> str:
    """What is painted, as a short text that changes with it."""
    told = json.dumps([type(case).__name__, asdict(case)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def jobs() -> dict[str, Job]:
    """All jobs by unique names."""
    rows = [*pairwise_rows(FACTORS, _allowed), *_more_rows()]
    made = [_job(row, number) for number, row in enumerate(rows)]
    return {f"{n:03} {one.model}, {one.action}, {one.sampler}": one for n, one in enumerate(made)}


def _allowed(row: Row) -> bool:
    get = row.get
    if get("sampler") == "PLMS" and (
        get("action", "generate") != "generate" or get("size") == "full"
    ):
        return False
    if get("model") == "sd2 depth":
        if get("controls") == "several":
            return False
        if get("action") == "generate" and get("controls") == "none":
            return False
    # That commit has no LoRAs for models that are told the guidance scale.
    if get("model") == "lcm" and get("lora", "none") != "none":
        return False
    # What is empty has no outline to keep.
    return not (get("action") == "expand" and get("edge") == "outline")


def _more_rows() -> Iterator[Row]:
    plain: Row = {"lora": "none", "word": False, "clip_skip": 1, "edge": "plain"}
    models = ("sd15", "sd2", "sdxl", "sd15 few steps", "sdxl few steps", "sdxl v")
    for number, sampler in enumerate((*MORE_SAMPLERS, "Euler", "LCM", "DPM++ 2M SDE")):
        yield {
            **plain,
            "sampler": sampler,
            "model": models[number % len(models)],
            "action": ("fill", "generate", "refine")[number % 3],
            "controls": "none",
            "size": "native",
            "mask": ("soft", "none", "hard")[number % 3],
            "strength": (1.0, 0.6)[number % 2],
            "guided": number % 4 != 0,
        }
    # Tiles are rare among the pairs: every model paints some, with and without a ControlNet.
    for number, model in enumerate(FACTORS["model"]):
        for controls in ("none", "given"):
            yield {
                **plain,
                "sampler": ("Euler", "DDIM")[number % 2],
                "model": model,
                "action": "refine",
                "controls": controls,
                "size": "full",
                "mask": "none" if controls == "none" else "soft",
                "strength": 0.4,
                "guided": controls == "given",
            }


def _controls(model: str, which: str, seed: int) -> tuple[Any, ...]:
    if which == "none":
        return ()
    if model == "sd2 depth":
        return (("depth", seed if which == "given" else None, 0.9, 0.0, 1.0),)
    if model == "sdxl":
        return {
            "given": (("pose", seed, 0.8, 0.0, 1.0),),
            "derived": (("line", None, 1.0, 0.0, 0.7),),
            # One net for two kinds, and another one beside it.
            "several": (
                ("depth", seed, 0.7, 0.0, 1.0),
                ("pose", seed + 1, 1.2, 0.0, 0.5),
                ("line", None, 0.6, 0.25, 1.0),
            ),
        }[which]
    second = "depth" if model == "sd15" else "scribble"
    return {
        "given": (("line", seed, 0.8, 0.0, 1.0),),
        "derived": (("tile" if model == "sd15" else "line", None, 1.0, 0.0, 0.7),),
        "several": (("line", seed, 0.7, 0.0, 0.6), (second, seed + 1, 1.4, 0.4, 1.0)),
    }[which]


_LORAS = {
    "none": "",
    "one": " <lora:ink:0.8>",
    "per variant": " {<lora:ink:1>|<lora:chalk:0.5>|<lora:wash:0.7>}",
    "two weights": " <lora:ink:0.3:0.6> <lora:chalk:0.5>",
}


def _job(row: Row, number: int) -> Job:
    width, height, detail = SIZES[row["size"]]
    edge = row["edge"]
    return Job(
        model=row["model"],
        action=row["action"],
        sampler=row["sampler"],
        width=width,
        height=height,
        detail=detail,
        mask=row["mask"],
        strength=row["strength"],
        # At odd numbers too, where int(steps * strength) rounds down.
        steps=4 + number % 3,
        guidance=4.0 if row["guided"] else 1.0,
        prompt="a (red:1.3) house" + (", dusk" if row["word"] else "") + _LORAS[row["lora"]],
        negative="night" if row["guided"] and number % 2 else "",
        seed=number,
        variants=2 if row["lora"] == "per variant" else 1,
        clip_skip=row["clip_skip"],
        layer=row["action"] == "refine" and edge != "plain",
        controls=_controls(row["model"], row["controls"], number),
        soft_edge=5 if edge == "soft" else 0,
        keep_outline=edge == "outline",
        around=6 if edge == "around" else 0,
    )


KEY = ("key",)
STROKES = (
    KEY,
    ("brush", 20, 28, 7, 6, 1),
    ("brush", 0, 0, 3, 3, 2),
    ("brush", 50, 40, 14, 8, 3),
)
LINE = (("line", 5, 0.8, 0.0, 1.0),)


def lives() -> dict[str, Live]:
    """All live sequences by unique names."""

    def live(model: str, sampler: str, size: tuple[int, int] = (64, 64), **more: Any) -> Live:
        width, height = size
        return Live(
            model=model, sampler=sampler, width=width, height=height, **{"events": STROKES, **more}
        )

    changed = (*STROKES, ("settings", {"prompt": "a blue boat", "seed": 9, "steps": 3}))
    return {
        "live sd15 LCM": live("sd15", "LCM"),
        "live sd15 TCD": live("sd15", "TCD", strength=0.8),
        "live sd15 DDIM, guided": live("sd15", "DDIM", guidance=3.0, negative="night"),
        "live sd15 Euler, guided": live("sd15", "Euler", guidance=5.0, strength=1.0),
        "live sd15 halved": live("sd15", "LCM", (256, 96)),
        "live sd15 enlarged": live("sd15", "LCM", (30, 21), events=(KEY, ("brush", 3, 3, 2, 2, 1))),
        "live sd15 wide parts": live("sd15", "Euler", (128, 48), guidance=2.0),
        "live sd15 derived line": live("sd15", "LCM", controls=(("line", None, 1.0, 0.0, 1.0),)),
        "live sd15 two controls": live(
            "sd15", "TCD", guidance=2.0, controls=(*LINE, ("depth", 6, 0.7, 0.5, 1.0))
        ),
        "live sd15 LoRA": live("sd15", "LCM", prompt="a red house <lora:ink:0.8>"),
        "live sd15 word, clip skip": live("sd15", "DDIM", prompt="a house, dusk", clip_skip=2),
        "live sd15 new settings": live("sd15", "LCM", events=(*changed, *STROKES[1:])),
        "live sd15 few steps": live("sd15 few steps", "Euler", steps=2, strength=0.7),
        "live lcm": live("lcm", "LCM", guidance=4.0, strength=0.9),
        "live sd2 v, guided": live("sd2", "DDIM", guidance=4.0, negative="day"),
        "live sd2 v LCM": live("sd2", "LCM", (75, 53), strength=0.9),
        "live sdxl LCM": live("sdxl", "LCM", (96, 80)),
        "live sdxl guided": live("sdxl", "Euler", guidance=3.0, negative="night", clip_skip=2),
        "live sdxl union": live("sdxl", "LCM", controls=(("pose", 5, 0.8, 0.0, 0.5),)),
        "live sdxl v": live("sdxl v", "TCD", (128, 48), guidance=2.0, strength=0.7),
    }


def all_cases() -> dict[str, Case]:
    return {**jobs(), **lives()}
