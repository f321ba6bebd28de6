"""The files and folders of one kind in a place, by the names that painters call them.

Found by their names alone: nothing is opened here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from velatura.models.places import CHECKPOINT, Folder, Place, is_kind_folder, snapshots
from velatura.models.weights import PICKLES

SINGLE = ".safetensors"
# (path, size, time of the content, time of whatever changed last) of one file.
Stamp = tuple[str, int, int, int]
_MATTERS = frozenset({".json", ".yaml", SINGLE, *PICKLES})
# What makes a folder a model or a part of one, and how a part's weight files are called.
_MARKS = ("config.json", "unet")
_PART_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model", "flax_model")
_DEEPEST = 4
# More than any painter has; a folder that was named by mistake must not stop the server.
_MOST = 100_000
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Item:
    """Something of one ``kind`` (see places). Its ``name`` is a key, never a path.

    name    its path below its folder without ``.safetensors``: "my model", "anime/my model"
    place   the label of where it lies
    reason  one sentence when it must not be used: it leads elsewhere, or it is a pickle
    """

    kind: str
    name: str
    path: Path
    place: str
    root: Path
    reason: str = ""


def list_items(place: Place, roots: Iterable[Path]) -> Iterator[Item]:
    """Everything in ``place``. Links may lead to any of ``roots``."""
    allowed = tuple(roots)
    for kind, name, path, root in _candidates(place):
        reason = _reason(name, path, (root, *allowed))
        yield Item(kind, name, path, place.label, root, reason)


def pick(items: Iterable[Item], name: str) -> Item | None:
    """The item called ``name``, or the only one whose name ends with it after a folder's.

    A1111 and ComfyUI differ in whether sub-folders belong to a name, so both are understood.
    """
    there = tuple(items)
    for item in there:
        if item.name == name:
            return item
    wanted = name.replace("\\", "/").removesuffix(SINGLE).casefold()
    for plain in (lambda one: one.name, lambda one: one.name.rpartition("/")[2]):
        found = [item for item in there if plain(item).casefold() == wanted]
        if len(found) == 1:
            return found[0]
    return None


def stamps(place: Place) -> tuple[Stamp, ...]:
    """Those of what ``place`` is made of: the same while nothing changes."""
    if place.hub:
        folders = [folder for _, folder in snapshots(place.path)]
    elif place.flat:
        folders = [place.path]
    else:
        folders = [folder.path for folder in place.folders]
    return tuple(islice((one for f in folders for one in stamps_in(f, _DEEPEST)), _MOST))


def stamps_in(folder: Path, depth: int) -> Iterator[Stamp]:
    """Those of what matters in ``folder``, ``depth`` folders deep; a folder's size is -1."""
    for child in _scan(folder):
        try:
            if child.is_dir():
                yield child.path, -1, 0, 0
                if depth > 1:
                    yield from stamps_in(Path(child.path), depth - 1)
            elif os.path.splitext(child.name)[1].lower() in _MATTERS:
                status = child.stat()
                yield child.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        except OSError:  # gone meanwhile, or a link to itself
            continue


def leads_out(path: Path, roots: Iterable[Path]) -> bool:
    """Whether ``path``, or a link in it down to its parts' files, leads out of all ``roots``."""
    # realpath, because Path.resolve raises for a link to itself.
    inside = [os.path.realpath(root) for root in roots]
    links = [p for p in (path, *path.glob("*"), *path.glob("*/*")) if os.path.islink(p)]
    return not all(
        any(Path(os.path.realpath(p)).is_relative_to(root) for root in inside)
        for p in (path, *links)
    )


def _candidates(place: Place) -> Iterator[tuple[str, str, Path, Path]]:
    if place.hub:
        for name, snapshot in snapshots(place.path):
            if os.path.isfile(snapshot / "model_index.json"):
                yield CHECKPOINT, name, snapshot, place.path
        return
    folders = place.folders
    if place.flat:
        folders = (Folder(CHECKPOINT, place.path, place.path), *folders)
    for folder in folders:
        seen: set[str] = set()
        skip = place.flat and folder.path == place.path
        for path in islice(_find(folder.path, _DEEPEST, seen, skip), _MOST):
            below = path.relative_to(folder.path).as_posix()
            name = below[: -len(SINGLE)] if path.suffix.lower() == SINGLE else below
            yield folder.kind, name, path, folder.root


def _find(folder: Path, depth: int, seen: set[str], skip_kinds: bool) -> Iterator[Path]:
    """Weight files and folders that are a model or a part, without looking into these.

    A folder that may not be read is one too: it shall be named with its reason.
    """
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for child in _scan(folder):
        path = Path(child.path)
        if child.name.startswith(".") or (skip_kinds and is_kind_folder(child.name)):
            continue
        if not _is_folder(child):
            if path.suffix.lower() in {SINGLE, *PICKLES} and os.path.isfile(path):
                yield path
        elif not os.access(path, os.R_OK | os.X_OK) or os.path.exists(path / "model_index.json"):
            yield path
        elif any(os.path.exists(path / name) for name in _MARKS):
            # Of a download with single files, the files are what was wanted.
            singles = [path / one.name for one in _scan(path) if _is_single(one)]
            yield from singles or [path]
        elif depth > 1:
            yield from _find(path, depth - 1, seen, False)


def _is_single(child: os.DirEntry[str]) -> bool:
    """Whether it is a weight file that stands for itself, not a part of a folder's model."""
    stem, suffix = os.path.splitext(child.name)
    whole = suffix.lower() in {SINGLE, *PICKLES} and not stem.startswith(_PART_STEMS)
    return whole and os.path.isfile(child.path)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (OSError, ValueError):
        return []


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError:  # a link to itself
        return False


def _reason(name: str, path: Path, roots: tuple[Path, ...]) -> str:
    if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
        return (
            f"its name must be 1 to {_LONGEST_NAME} characters without control characters: "
            "rename it."
        )
    if not os.access(path, os.R_OK):
        return "it may not be read by this user: give the right to, or move it away."
    if leads_out(path, roots):
        return (
            "it links to files outside the models folder: move them into it, or add the folder "
            "that they lie in too."
        )
    if path.suffix.lower() in PICKLES and os.path.isfile(path):
        return (
            "it is a pickle, which can run code and is never loaded: turn it into safetensors "
            f"with `velatura convert '{name}'`."
        )
    return ""
