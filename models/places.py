"""Where models lie: what kind of folder a painter pointed to, and which of its folders hold what.

Read in place, never written: our own layout, a ComfyUI (its root, its ``models`` folder or its
``extra_model_paths.yaml``), an A1111 or Forge, and the cache of the Hugging Face Hub.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from velatura.models.errors import ModelError
from velatura.models.weights import read_json

CHECKPOINT, LORA, EMBEDDING, CONTROLNET = "checkpoint", "lora", "embedding", "controlnet"
ANNOTATOR = "annotator"

# Names of folders (in lower case) in ours, ComfyUI's and A1111's, and what lies in them.
_KINDS: Mapping[str, str] = {
    "checkpoints": CHECKPOINT,
    "diffusers": CHECKPOINT,
    "stable-diffusion": CHECKPOINT,
    "lora": LORA,
    "loras": LORA,
    "lycoris": LORA,
    "embeddings": EMBEDDING,
    "controlnet": CONTROLNET,
    "annotators": ANNOTATOR,
}
# What makes a folder somebody else's: ours holds its checkpoints directly.
_FOREIGN = {"checkpoints": "ComfyUI", "stable-diffusion": "A1111"}
# Of A1111: beside its ``models``.
_A1111_BESIDE = {"embeddings": EMBEDDING, "extensions/sd-webui-controlnet/models": CONTROLNET}
# What the packages for Windows put around the program.
_WRAPPED = ("ComfyUI", "webui", "stable-diffusion-webui")
_COMFY_PATHS = "extra_model_paths.yaml"
_YAML = frozenset({".yaml", ".yml"})
_HUB_PREFIX = "models--"
# Parts of a model that painting does without.
_OPTIONAL = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
_LARGEST_YAML, _MOST_LISTS = 2**20, 200


@dataclass(frozen=True)
class Folder:
    """A folder with files of one kind. Links in it may lead anywhere in ``root``."""

    kind: str
    path: Path
    root: Path


@dataclass(frozen=True)
class Place:
    """What a painter pointed to. ``label`` says what it was taken for.

    flat    the checkpoints are the direct children of ``path``, as in our own layout
    hub     a cache of the Hugging Face Hub, whose snapshots are the models
    reason  one sentence when it could not be read
    """

    label: str
    path: Path
    folders: tuple[Folder, ...] = ()
    flat: bool = False
    hub: bool = False
    reason: str = ""


def find_places(path: Path) -> tuple[Place, ...]:
    """What lies at ``path``: one place, and one more for each section of ComfyUI's yaml file.

    A folder of no known layout is taken for one of ours.
    """
    if path.suffix.lower() in _YAML and os.path.isfile(path):
        return tuple(_comfy_sections(path))
    for inner in _WRAPPED:
        if not _foreign(path) and _foreign(path / inner):
            path = path / inner
            break
    models = _models_of(path)
    label = _foreign(path)
    if label:
        folders = list(_kind_folders(models, path))
        if label == "A1111":
            root = models.parent
            beside = ((root / name, kind) for name, kind in _A1111_BESIDE.items())
            folders += [Folder(kind, f, root) for f, kind in beside if os.path.isdir(f)]
        extra = path / _COMFY_PATHS
        more = tuple(_comfy_sections(extra)) if os.path.isfile(extra) else ()
        return (Place(label, path, tuple(folders)), *more)
    for hub in (path, path / "hub"):
        if any(_names(hub, _HUB_PREFIX)):
            return (Place("Hugging Face", hub, hub=True),)
    inside = tuple(_kind_folders(path, path))
    kind = _KINDS.get(path.name.lower(), CHECKPOINT)
    if kind != CHECKPOINT and not inside:
        return (Place(path.name, path, (Folder(kind, path, path),)),)
    return (Place(path.name, path, inside, flat=True),)


def is_kind_folder(name: str) -> bool:
    """Whether a folder of this name holds files of one kind and is no model itself."""
    return name.lower() in _KINDS


def snapshots(hub: Path) -> Iterator[tuple[str, Path]]:
    """("owner/name", folder) of what a cache of the Hub holds: of each repository its ``main``,
    else its newest revision; one that was downloaded whole before one that was not."""
    for repository in sorted(_names(hub, _HUB_PREFIX)):
        folder = hub / repository / "snapshots"
        name = repository.removeprefix(_HUB_PREFIX).replace("--", "/")
        try:
            revision = (hub / repository / "refs" / "main").read_text("ascii")[:100].strip()
        except (OSError, ValueError):
            revision = ""
        if revision not in set(_names(folder, "")) or not _is_whole(folder / revision):
            there = sorted(_names(folder, ""), key=lambda one: _time(folder / one), reverse=True)
            if not there:
                continue
            # ``main`` before the newest, where neither is whole.
            first = revision if revision in there else there[0]
            revision = next((one for one in there if _is_whole(folder / one)), first)
        yield name, folder / revision


def _time(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _is_whole(snapshot: Path) -> bool:
    """Whether each part that the index names has a folder with a weight file, config or words in it.

    A download that was broken off leaves a snapshot with some of them.
    """
    try:
        index = read_json(snapshot / "model_index.json")
        parts = [name for name, value in index.items() if isinstance(value, list) and any(value)]
        parts = [name for name in parts if name not in _OPTIONAL]
        return all(_is_whole_part(snapshot / name) for name in parts)
    except (ModelError, OSError):
        return False


def _is_whole_part(part: Path) -> bool:
    names = [path.name for path in part.iterdir() if path.exists()]
    if "config.json" not in names:
        return bool(names)  # a tokenizer or a scheduler
    return any(name.endswith((".safetensors", ".bin")) for name in names)


def hub_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the Hugging Face libraries keep what they download, as their documentation says."""
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"])
    cache = environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(environ.get("HF_HOME") or Path(cache, "huggingface")) / "hub"


def _models_of(path: Path) -> Path:
    """The ``models`` folder of a program's root; ``path`` when it is that folder itself."""
    return path / "models" if _foreign(path, deep=False) == "" else path


def _foreign(path: Path, *, deep: bool = True) -> str:
    """Whose layout ``path`` has, by the names in it or, when ``deep``, in its ``models``."""
    for folder in (path, path / "models") if deep else (path,):
        for name in _names(folder, ""):
            if name.lower() in _FOREIGN:
                return _FOREIGN[name.lower()]
    return ""


def _names(folder: Path, start: str) -> Iterator[str]:
    """Names of the folders in ``folder`` that begin with ``start``."""
    try:
        with os.scandir(folder) as entries:
            yield from (e.name for e in entries if e.name.startswith(start) and e.is_dir())
    except (OSError, ValueError):
        return


def _kind_folders(models: Path, root: Path) -> Iterator[Folder]:
    for name in sorted(_names(models, "")):
        if is_kind_folder(name):
            yield Folder(_KINDS[name.lower()], models / name, root)


def _comfy_sections(path: Path) -> Iterator[Place]:
    """Each section of an ``extra_model_paths.yaml``: a base path, and folders of one kind each."""
    try:
        sections = _read_yaml(path)
    except ValueError as error:
        yield Place("ComfyUI", path, reason=f"{path.name} {error}")
        return
    for label, section in sections.items():
        if not isinstance(section, dict):
            continue
        base = os.path.expandvars(os.path.expanduser(str(section.get("base_path") or "")))
        if "\0" in base:
            yield Place(
                str(label)[:100], path, reason=f"{path.name} holds a path with a NUL: remove it."
            )
            continue
        root = Path(os.path.normpath(path.parent / base))
        folders = []
        for name, lines in section.items():
            if str(name).lower() not in _KINDS or not isinstance(lines, str):
                continue
            for line in filter(None, map(str.strip, lines.replace("\0", "").splitlines())):
                folder = Path(os.path.normpath(root / os.path.expandvars(line)))
                inside = root if base and folder.is_relative_to(root) else folder
                folders.append(Folder(_KINDS[str(name).lower()], folder, inside))
        yield Place(str(label)[:100], path, tuple(folders))


def _read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping in ``path``, read without making any object; ValueError says what is wrong."""
    import yaml

    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_YAML + 1)
        if len(text) > _LARGEST_YAML:
            raise ValueError(f"is too large: at most {_LARGEST_YAML} bytes.")
        if text.count(b"[") > _MOST_LISTS:
            # The parser's time grows with the square of how deep they are.
            raise ValueError("is not readable YAML: correct it.")
        value = yaml.safe_load(text)
    except (OSError, yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError("is not readable YAML: correct it.") from error
    if not isinstance(value, dict):
        raise ValueError("must hold sections with paths, as ComfyUI's example does.")
    return value
