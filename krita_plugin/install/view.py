"""What the docker's card says about the server of this computer: pure, in English."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...protocol.sentences import Sentence
from .devices import CPU, LABELS, builds_for
from .installed import VERSIONS, Receipt, installed, is_foreign, used
from .installer import Progress
from .machine import Machine
from .plan import MARK, Plan, in_gb
from .release import Release

NOTHING, OFFER, UPDATE, REPAIR, RUNNING, REFUSED, REMOVE = (
    *("nothing", "offer", "update", "repair"),
    *("running", "refused", "remove"),
)
_STEPS = (
    "Looking at the folder",
    "Unpacking the installer",
    "Python",
    "Libraries",
    "The first picture",
)


@dataclass(frozen=True)
class CardView:
    """kind: of the above. sentence: what will be done; trouble: what went wrong, "" nothing.
    devices: (id, label) to choose from; device: the chosen one's id."""

    kind: str
    sentence: str = ""
    trouble: str = ""
    folder: str = ""
    devices: tuple[tuple[str, str], ...] = ()
    device: str = ""

    @property
    def button(self) -> str:
        """What the button says."""
        if self.trouble:
            return "Retry"
        return {UPDATE: "Update", REPAIR: "Repair", REMOVE: "Remove"}.get(self.kind, "Install")


def situation(data: Path, home: Path, release: Release) -> str:
    """OFFER, UPDATE, or NOTHING where the release's server is the one that starts, or another's."""
    now = used(data, home)
    if now is None:
        return NOTHING if is_foreign(data, home) else OFFER
    return NOTHING if now.receipt.wheel == release.wheel.sha256 else UPDATE


def is_unfinished(home: Path) -> bool:
    """True when an installation began here and none was ever completed."""
    return (home / MARK).exists() and (home / VERSIONS).is_dir() and not installed(home)


def offer(kind: str, plan: Plan, machine: Machine, trouble: str = "") -> CardView:
    """The card before a press. kind: OFFER, UPDATE or REPAIR."""
    download, disk = in_gb(plan.build.download), in_gb(plan.build.disk)
    if kind == UPDATE:
        sentence = Sentence(
            "This plugin brings a newer server ({version}). Models, styles and results stay; the old "
            "server stays until the new one has painted.",
            version=plan.release.version,
        )
    elif kind == REPAIR:
        sentence = Sentence(
            "The server is made anew; what was downloaded is used again. Models, styles and results "
            "stay."
        )
    elif is_unfinished(plan.home):
        sentence = Sentence(
            "The installation was not finished: it goes on with what has arrived. In all it "
            "downloads {download} and takes {disk} on disk.",
            download=download,
            disk=disk,
        )
    else:
        sentence = Sentence(
            "Velatura paints with a server on this computer. Install downloads {download} and takes "
            "{disk} on disk, in one folder of its own.",
            download=download,
            disk=disk,
        )
    return CardView(
        kind,
        sentence,
        trouble,
        str(plan.home),
        tuple((device, LABELS[device]) for device in builds_for(machine)),
        plan.build.device,
    )


def progress_words(progress: Progress) -> str:
    """What comes now, how much of it is there, and how long it takes: one line."""
    parts: list[str] = [_STEPS[progress.step]]
    if progress.name:
        parts.append(progress.name)
    if progress.total and progress.step in (2, 3):
        parts.append(f"{in_gb(progress.done)} of {in_gb(progress.total)}")
    if progress.seconds_left is not None and progress.done < progress.total:
        parts.append(f"about {_time(progress.seconds_left)} left")
    return ", ".join(parts)


def part_done(progress: Progress) -> float:
    """0..1: the libraries are nearly all of the work."""
    begin, end = ((0.0, 0.02), (0.02, 0.04), (0.04, 0.1), (0.1, 0.85), (0.85, 1.0))[progress.step]
    share = progress.done / progress.total if progress.total else 0.0
    return begin + (end - begin) * min(1.0, share)


def installed_words(device: str, seconds: float) -> str:
    """What a painter reads when it is done. device: of LABELS."""
    how = {"seconds": max(1, round(seconds))}
    if device == CPU:
        said = "Installed. No graphics card: small pictures, about {seconds} s."
        return Sentence(said, **how)
    said = "Installed. {device}: small pictures, about {seconds} s."
    return Sentence(said, device=LABELS[device], **how)


def ready_words(receipt: Receipt) -> str:
    """What the light says of a server that paints without a graphics card, as its first picture was
    measured; "" where it has one."""
    if not receipt.paints_on.startswith("CPU"):
        return ""
    return Sentence(
        "Ready. No graphics card: small pictures, about {seconds} s.",
        seconds=max(1, round(receipt.seconds)),
    )


def _time(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"
