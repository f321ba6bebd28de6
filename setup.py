"""Say which folders the wheel takes; all else about the project stands in pyproject.toml.

The folders stay at the top level of the repository and import under one name. New ones are found, so
that none is forgotten. What only a checkout needs stays out: the starter's training and the demo.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOMS = ("protocol", "models", "server", "krita_plugin")
LEFT_OUT = ("models.starter.recipe", "server.demo")


def packages() -> list[str]:
    """Every folder whose name Python can import, whether it holds code or a model's files."""
    shut = [name for out in (*LEFT_OUT, "*.__pycache__") for name in (out, f"{out}.*")]
    return find_namespace_packages(
        include=[name for room in ROOMS for name in (room, f"{room}.*")], exclude=shut
    )


def data(package: str) -> list[str]:
    """Patterns for the files of a package, also those in folders such as "controlnet-line", whose
    names Python cannot import."""
    root = Path(package.replace(".", "/"))
    folders = [
        folder.relative_to(root)
        for folder in root.rglob("*")
        if folder.is_dir() and not folder.relative_to(root).parts[0].isidentifier()
    ]
    return ["*", *(f"{folder.as_posix()}/*" for folder in sorted(folders))]


found = packages()
setup(
    packages=[f"velatura.{name}" for name in found],
    package_dir={f"velatura.{room}": room for room in ROOMS},
    include_package_data=False,
    package_data={f"velatura.{name}": data(name) for name in found},
)
