"""What a folder or a file is: its family and what a painter is told of it, without a tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from velatura.models.distilled import FewSteps, of_file, of_folder
from velatura.models.errors import ModelError
from velatura.models.families.base import Family, Found
from velatura.models.families.registry import families
from velatura.models.families.single import looks_like
from velatura.models.samplers import ZERO_SNR_SAMPLER, has_zero_snr, samplers_for
from velatura.models.weights import Header, find_weights, read_header, read_json
from velatura.models.words import describe_words
from velatura.protocol.errors import LocalError
from velatura.protocol.messages import ModelInfo

# A second UNet beside a model's own: offered as a second model that shares all else.
DEPTH_UNET = "unet-depth"
_DEPTH_WORDS = "It keeps the depth of what is painted over; to generate it needs a depth guide."
# A second copy of the weights that training kept; it is not loaded.
_AVERAGES = "model_ema."
_FEW_WORDS = "It was made to paint in {steps} steps or so, with little or no guidance."
# Of a config: more than any model has, and little enough to be computed with.
_MOST_LAYERS, _LARGEST_NUMBER, _LONGEST_LIST = 512, 2**24, 64
# Tensors that a part has only where it is whole.
_PART_MARKS = {
    "vae": ("encoder.conv_in.weight", "decoder.conv_out.weight"),
    "text_encoder_2": ("text_projection.weight",),
}
# Beyond twice its native side a model repeats the subject.
_LARGEST_OVER_NATIVE = 2


@dataclass(frozen=True)
class Weight:
    """All weights of a model together. ``count`` by the names of dtypes in safetensors."""

    files: tuple[Path, ...]
    bytes: int
    count: dict[str, int]

    @property
    def numbers(self) -> int:
        return sum(self.count.values())

    @property
    def precision(self) -> str:
        """The dtype of most of its numbers, as safetensors spells it."""
        return max(self.count, key=lambda name: self.count[name], default="")


def detect(path: Path, unet: str = "unet") -> tuple[Family, Found]:
    """The family of the diffusers folder or single file at ``path`` and what was read of it.

    ``unet`` is the sub-folder of the UNet. Raises ModelError with one sentence: what it looks like,
    or which part is missing or may not be loaded.
    """
    if path.is_file():
        return _detect_file(path)
    if not (path / "model_index.json").is_file():
        raise ModelError(
            "unsupported", "it has no model_index.json: get the whole diffusers folder."
        )
    family, found = _detect_folder(path, unet)
    if unet == DEPTH_UNET and found.extra != "depth":
        raise ModelError("unsupported", f"{DEPTH_UNET} must take 5 channels: remove it.")
    for part in found.parts:
        _check_part(path / part)
    return family, found


def _check_part(part: Path) -> None:
    """Check that the part of a model in a folder can be loaded, by its config and its headers.

    Raises ModelError with what it lacks, or for numbers that cannot be true.
    """
    for name, value in read_json(part / "config.json").items():
        most = _MOST_LAYERS if "layers" in name else _LARGEST_NUMBER
        numbers = value if isinstance(value, list) else [value]
        true = all(abs(n) <= most for n in numbers if isinstance(n, int))
        if not true or len(numbers) > _LONGEST_LIST:
            raise ModelError(
                "unsupported",
                f"{part.name}/config.json: {name!a:.60} cannot be true: get it again.",
            )
    headers = [read_header(file) for file in find_weights(part).files]
    for wanted in _PART_MARKS.get(part.name, ()):
        if not any(wanted in header.tensors for header in headers):
            raise ModelError(
                "unsupported", f"{part.name} is not whole (it lacks {wanted}): get it again."
            )


def describe(
    name: str, path: Path, family: Family, found: Found, controls: tuple[str, ...]
) -> ModelInfo:
    """What the catalogue says of a model; ModelError when its configs hold impossible numbers."""
    largest = min(family.largest, _LARGEST_OVER_NATIVE * found.native)
    words = [describe_words(path / "tokenizer"), _DEPTH_WORDS if found.extra == "depth" else ""]
    if found.few:
        words.append(_FEW_WORDS.format(steps=found.few.steps))
    scheduler = path / "scheduler" / "scheduler_config.json"
    schedule = {**(read_json(scheduler) if scheduler.is_file() else {}), **found.schedule}
    sampler = ZERO_SNR_SAMPLER if has_zero_snr(schedule) else family.sampler
    try:
        return ModelInfo(
            name=name,
            family=family.name,
            native=found.native,
            multiple=family.multiple,
            largest=max(found.native, largest),
            actions=family.actions,
            controls=controls,
            samplers=samplers_for(schedule),
            sampler=found.few.sampler if found.few else sampler,
            steps=found.few.steps if found.few else family.steps,
            guidance=found.few.guidance if found.few else family.guidance,
            words=" ".join(word for word in words if word),
            text_width=found.shape[-1],
        )
    except LocalError as error:
        raise ModelError("unsupported", error.message) from error


def weigh(path: Path, found: Found) -> Weight:
    """The weights of the model at ``path``, from the headers of its files.

    Raises ModelError when one is missing or broken.
    """
    files = tuple(file for part in found.parts for file in find_weights(path / part).files)
    headers = [read_header(file) for file in files or (path,)]
    count: dict[str, int] = {}
    for header in headers:
        for dtype, numbers in header.count(without=_AVERAGES).items():
            count[dtype] = count.get(dtype, 0) + numbers
    return Weight(files or (path,), sum(header.path.stat().st_size for header in headers), count)


def _detect_folder(path: Path, unet: str) -> tuple[Family, Found]:
    scheduler = path / "scheduler" / "scheduler_config.json"
    if scheduler.is_file() and "EDM" in str(read_json(scheduler).get("_class_name")):
        raise ModelError(
            "unsupported",
            "it was trained with EDM's noise (as Playground 2.5 is), which is not painted with "
            "here: get an ordinary version.",
        )
    for family in families().all:
        found = family.detect(path, unet)
        if found is not None:
            return family, replace(found, few=_few_steps(path, unet))
    raise _unknown(str(read_json(path / "model_index.json").get("_class_name", "something else")))


def _detect_file(path: Path) -> tuple[Family, Found]:
    header: Header = read_header(path)
    for family in families().all:
        found = family.detect_file(header)
        if found is not None:
            few = of_file(path, header.metadata)
            return family, family.distil(replace(found, few=few)) if few else found
    raise _unknown(looks_like(header))


def _few_steps(path: Path, unet: str) -> FewSteps | None:
    scheduler = path / "scheduler" / "scheduler_config.json"
    config = path / unet / "config.json"
    return of_folder(
        path,
        read_json(path / "model_index.json"),
        read_json(config) if config.is_file() else {},
        read_json(scheduler) if scheduler.is_file() else {},
    )


def _unknown(looks: str) -> ModelError:
    names = ", ".join(family.name for family in families().all)
    return ModelError(
        "unsupported", f"it looks like {looks:.100}; these families can paint: {names}."
    )
