"""A style: what a painter means by one name, as far as words and numbers say it."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import check_record, integer, key, optional, real, text

LONGEST_PART = 2000


@dataclass(frozen=True, kw_only=True)
class Style:
    """A preset. Its words go around a request's own; the rest are good first values for it.

    before, after  stand around the prompt; ``after`` also holds the style's LoRAs, as
                   ``<lora:name:weight>``
    negative       what to avoid, after the request's own
    model, sampler, steps, guidance  None: the ones that are chosen, or the model's own
    live_sampler   the sampler for live painting, likewise
    """

    name: str = key()
    before: str = text(LONGEST_PART, "")
    after: str = text(LONGEST_PART, "")
    negative: str = text(LONGEST_PART, "")
    model: str | None = optional(key())
    sampler: str | None = optional(key())
    steps: int | None = optional(integer(1, 150))
    guidance: float | None = optional(real(0, 50))
    live_sampler: str | None = optional(key())

    def __post_init__(self) -> None:
        check_record(self)

    def prompt_around(self, prompt: str) -> str:
        """The whole prompt for the painter's own."""
        prompt = prompt.strip()
        # A comment of the painter's ends with its line.
        end = "\n" if "#" in prompt.rpartition("\n")[2] else ""
        around = f"{self.before}{prompt}{end}{self.after}"
        return around if prompt else around.strip(" ,\n")

    def negative_after(self, negative: str) -> str:
        """The whole negative prompt for the painter's own."""
        negative = negative.strip()
        end = "\n" if "#" in negative.rpartition("\n")[2] else ", "
        return end.join(part for part in (negative, self.negative) if part)
