"""Encode prompts with one CLIP text encoder, or with SDXL's two, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from velatura.models.families.denoiser import Chunk, FindRow, Text
from velatura.models.hooks import Hook, hooked

if TYPE_CHECKING:
    from transformers import CLIPTokenizer
    from velatura.models.families.unet.loaded import UNetLoaded

# A mean this small beside the values themselves is chance, and to restore it would be too.
_LEAST_MEAN = 0.01


class ClipEncoder:
    """CLIP (Radford et al. 2021) as a PromptEncoder."""

    def __init__(self, loaded: UNetLoaded) -> None:
        pairs = (
            (loaded.tokenizer, loaded.text_encoder),
            (loaded.tokenizer_2, loaded.text_encoder_2),
        )
        self._pairs = [(cutter, encoder) for cutter, encoder in pairs if encoder is not None]
        self._device, self._dtype = loaded.device, loaded.dtype
        self._tokenizer = loaded.tokenizer
        self.room = loaded.tokenizer.model_max_length - 2
        self.comma = self.tokenize(",")[-1]
        self.vocabulary = len(loaded.tokenizer)
        self.widths = tuple(encoder.config.hidden_size for _, encoder in self._pairs)
        layers = min(encoder.config.num_hidden_layers for _, encoder in self._pairs)
        # A model of two never reads their last layer.
        self.most_skip = max(0, layers - (len(self._pairs) > 1))

    def tokenize(self, text: str) -> list[int]:
        """Cut a text into tokens, without start and end."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return ids

    def read(self, tokens: Sequence[int]) -> str:
        """Put tokens together to a text again."""
        return str(self._tokenizer.decode(list(tokens))).strip()

    @torch.no_grad()
    def encode(self, chunks: Sequence[Chunk], skip: int, find_row: FindRow) -> Text:
        """Encode the chunks of a prompt; weights are applied as A1111 applies them.

        One encoder: the last layer but ``skip``, normalised as the last one's would be. Two (Podell
        et al. 2023): the layer before that of both, side by side and not normalised, and the second
        one's pooled first chunk.
        """
        made = [self._encode(chunk, skip, find_row) for chunk in chunks]
        embeddings = torch.cat([one for one, _ in made], dim=1).to(self._dtype)
        pooled = made[0][1]
        return Text(embeddings, "", None if pooled is None else pooled.to(self._dtype))

    def match(
        self, prompt: Text, negative: Text, empty: Text, is_silent: bool
    ) -> tuple[Text, Text]:
        """Fill the shorter one up with no words; SDXL is told nothing by zeros."""
        if prompt.pooled is not None and is_silent:
            zeros = torch.zeros_like(prompt.embeddings), torch.zeros_like(prompt.pooled)
            return prompt, Text(zeros[0], negative.note, zeros[1])
        longest = max(prompt.embeddings.shape[1], negative.embeddings.shape[1])

        def filled(text: Text) -> Text:
            missing = (longest - text.embeddings.shape[1]) // empty.embeddings.shape[1]
            parts = [text.embeddings, *[empty.embeddings] * missing]
            return replace(text, embeddings=torch.cat(parts, dim=1))

        return filled(prompt), filled(negative)

    def _encode(
        self, chunk: Chunk, skip: int, find_row: FindRow
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(1, tokens, width) in the encoders' dtype, and the pooled text of two."""
        outputs = []
        for number, (tokenizer, encoder) in enumerate(self._pairs):
            tokens = _fill(chunk, tokenizer).to(self._device)
            with hooked(_textual_inversion(encoder, chunk, number, find_row)):
                outputs.append(encoder(tokens, output_hidden_states=True))
        if len(outputs) == 1:
            hidden, encoder = outputs[0].last_hidden_state, self._pairs[0][1]
            if skip:
                hidden = encoder.final_layer_norm(outputs[0].hidden_states[-(skip + 1)])
            return _weigh(hidden, chunk), None
        hidden = [_weigh(one.hidden_states[-(skip + 2)], chunk) for one in outputs]
        return torch.cat(hidden, dim=2), outputs[-1].text_embeds


def _textual_inversion(
    encoder: torch.nn.Module, chunk: Chunk, number: int, find_row: FindRow
) -> Iterable[tuple[torch.nn.Module, Hook]]:
    """Put rows in the place of tokens' embeddings; neither tokenizer nor encoder is changed.

    Source: Gal et al. 2022.
    """
    rows = {
        1 + index: find_row(token, number) for index, token in enumerate(chunk.tokens) if token < 0
    }
    if not rows:
        return

    def put(_: torch.nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        for position, row in rows.items():
            changed[0, position] = row.to(output)
        return changed

    yield encoder.get_input_embeddings(), put  # type: ignore[operator]


def _fill(chunk: Chunk, tokenizer: CLIPTokenizer) -> torch.Tensor:
    """Put start, end and padding around a chunk's tokens: (1, tokens)."""
    # A textual inversion stands there by the first token of all; its rows come in its place.
    plain = (max(0, token) for token in chunk.tokens)
    tokens = [tokenizer.bos_token_id, *plain, tokenizer.eos_token_id]
    tokens += [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(tokens))
    return torch.tensor([tokens])


def _weigh(hidden: torch.Tensor, chunk: Chunk) -> torch.Tensor:
    """Multiply each token of ``hidden`` (1, tokens, width) by its weight, and restore the mean.

    As A1111 does ("Original" emphasis): without the mean, heavy words would burn the whole
    picture. Where either mean is chance (some encoders normalise it away) or the weights have
    turned its sign, nothing is restored.
    """
    if all(weight == 1 for weight in chunk.weights):
        return hidden
    weights = torch.ones(hidden.shape[1])
    weights[1 : 1 + len(chunk.weights)] = torch.tensor(chunk.weights)
    before = hidden.float()
    after = before * weights.to(before.device)[None, :, None]
    means = [values.mean() / values.pow(2).mean().sqrt() for values in (before, after)]
    if min(abs(float(mean)) for mean in means) > _LEAST_MEAN and means[0] * means[1] > 0:
        after = after * (before.mean() / after.mean())
    return after
