"""Texts to model inputs: calling a tokenizer, and filling up features.

Rules: a call reads its arguments, tokenizes every text once, cuts the tokens into rows, fills the
rows up and returns them as lists or tensors. Read next: `base.py`.
"""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

from mobilebert_core.errors import MobileBertWarning, TokenizerError
from mobilebert_core.tokenization.batch_encoding import BatchEncoding
from mobilebert_core.tokenization.encoding import Encoding, Frame, TokenSequence
from mobilebert_core.tokenization.inputs import Sample, Text, read_samples
from mobilebert_core.tokenization.options import (
    PaddingOptions,
    check_numbers,
    read_padding,
    read_truncation,
    warn_of_ignored_length,
)
from mobilebert_core.tokenization.padding import fill_up, read_features
from mobilebert_core.tokenization.settings import Side
from mobilebert_core.tokenization.special_tokens import SpecialTokens
from mobilebert_core.tokenization.windows import Cut, Truncation, cut_windows

PaddingArgument = bool | Literal["longest", "max_length", "do_not_pad"]
TruncationArgument = bool | Truncation | None


class Calls(SpecialTokens):
    """What turns texts into model inputs; texts themselves are split by the two tokenizers."""

    @abstractmethod
    def _tokenize(self, texts: list[Text], *, is_split_into_words: bool) -> list[TokenSequence]:
        """The tokens of each text, without special tokens."""

    def __call__(
        self,
        text: str | Sequence[Any],
        text_pair: str | Sequence[Any] | None = None,
        add_special_tokens: bool = True,
        padding: PaddingArgument = False,
        truncation: TruncationArgument = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Model inputs for one text, a pair of texts, or a batch of either.

        Args:
            text: a str; a list of them is a batch, tuples of two in it are pairs. With
                `is_split_into_words`, a list of words stands for each str.
            text_pair: the second text, or a list with one for each in the batch. An empty str is
                a text too: the row ends with two separators.
            add_special_tokens: `[CLS]` first and `[SEP]` after each text.
            padding: `"longest"` or True fills up to the longest row, `"max_length"` to
                `max_length`.
            truncation: `"longest_first"` or True cuts the longer text, `"only_first"` and
                `"only_second"` cut that one. None cuts only if `max_length` is given without
                padding.
            max_length: the length of a row with its special tokens; `model_max_length` if None.
            stride: how many tokens consecutive windows of a text share.
            is_split_into_words: texts are lists of words; offsets then count within the word.
            pad_to_multiple_of: round the padded length up.
            padding_side: `"left"` or `"right"`, in place of the setting.
            return_tensors: `"np"`, `"pt"`, `"tf"` or `"jax"`; lists if None.
            return_token_type_ids: return `token_type_ids`, 1 for the second text.
            return_attention_mask: return `attention_mask`, 0 for padding.
            return_overflowing_tokens: return one row per window, with
                `overflow_to_sample_mapping` (which text each row is from).
            return_special_tokens_mask: return `special_tokens_mask`, 1 for special tokens.
            return_offsets_mapping: return `offset_mapping`, first character and end per token.
            return_length: return `length`, one per row.
            verbose: warn of rows that are too long for the model.

        Returns:
            Lists of ids by name; flat for a single text, unless its windows are asked for too.

        Raises:
            TokenizerError: an argument or text is invalid, or the texts cannot be cut so.

        Example:
            >>> from mobilebert_core.tokenization import MobileBertTokenizer
            >>> batch = MobileBertTokenizer()(["One.", "One, two."], padding=True)
            >>> batch["input_ids"]
            [[101, 2028, 1012, 102, 0, 0], [101, 2028, 1010, 2048, 1012, 102]]
        """
        check_numbers(max_length, stride, pad_to_multiple_of, padding_side)
        samples, is_batch = read_samples(text, text_pair, is_split_into_words=is_split_into_words)
        filling = self._padding(padding, max_length, pad_to_multiple_of, padding_side)
        strategy = read_truncation(truncation, padding, max_length)
        warn_of_ignored_length(filling.strategy, strategy, max_length is not None)
        limit = self.settings.model_max_length if max_length is None else max_length
        self._check_multiple(filling, strategy, limit)
        frame = self._frame(add_special_tokens)
        cuts = {
            texts: self._cut(strategy, limit, stride, frame, texts, return_overflowing_tokens)
            for texts in sorted(set(map(len, samples)))
        }
        rows, sample_indices = self._rows(samples, frame, is_split_into_words, cuts)
        if verbose and max_length is None:
            self._warn_of_long_rows(rows)
        _fill_rows(rows, filling)
        names = self.settings.model_input_names
        wanted = {
            "input_ids": True,
            "token_type_ids": _default(return_token_type_ids, "token_type_ids" in names),
            "attention_mask": _default(return_attention_mask, "attention_mask" in names),
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
        }
        data = {name: list(map(_VALUES[name], rows)) for name in wanted if wanted[name]}
        if return_overflowing_tokens:
            data["overflow_to_sample_mapping"] = sample_indices
        elif not is_batch and return_tensors is None:
            data = {name: _unwrapped(value) for name, value in data.items()}
        return BatchEncoding(data, rows, return_tensors)

    def pad(
        self,
        encoded_inputs: Any,
        padding: PaddingArgument = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Fill up features that are ids already, e.g. to make a batch of single rows.

        Args:
            encoded_inputs: features by name, or a list of such rows. Values without one item a
                token, such as labels, pass through.
            padding: as in a call.
            max_length: as in a call.
            pad_to_multiple_of: as in a call.
            padding_side: as in a call.
            return_attention_mask: add `attention_mask` where it is missing.
            return_tensors: as in a call; None keeps the kind of array that was given.
            verbose: accepted for compatibility; padding warns of nothing.

        Raises:
            TokenizerError: the features or an argument are invalid.

        Example:
            >>> from mobilebert_core.tokenization import MobileBertTokenizer
            >>> MobileBertTokenizer().pad([{"input_ids": [101, 102]}, {"input_ids": [101]}])
            {'input_ids': [[101, 102], [101, 0]], 'attention_mask': [[1, 1], [1, 0]]}
        """
        check_numbers(max_length, 0, pad_to_multiple_of, padding_side)
        features = read_features(encoded_inputs)
        wanted = "attention_mask" in self.settings.model_input_names
        filled = fill_up(
            features,
            self._padding(padding, max_length, pad_to_multiple_of, padding_side),
            self.pad_token_id,
            with_mask=_default(return_attention_mask, wanted),
        )
        return BatchEncoding(filled, tensor_type=return_tensors or features.framework)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens stand around one text, or around a pair."""
        return 3 if pair else 2

    def _padding(
        self, padding: Any, max_length: int | None, multiple: int | None, side: Side | None
    ) -> PaddingOptions:
        strategy = read_padding(padding)
        if multiple is not None and strategy == "do_not_pad":
            raise TokenizerError(
                f"pad_to_multiple_of={multiple}, but nothing is padded; pass padding=True too"
            )
        return PaddingOptions(
            strategy=strategy,
            max_length=self.settings.model_max_length if max_length is None else max_length,
            multiple=multiple,
            side=side or self.settings.padding_side,
        )

    def _check_multiple(self, filling: PaddingOptions, strategy: Truncation, limit: int) -> None:
        if (
            strategy == "do_not_truncate"
            or filling.multiple is None
            or limit % filling.multiple == 0
        ):
            return
        raise TokenizerError(
            f"rows are cut to {limit} and filled up to a multiple of {filling.multiple}, which "
            f"would be longer; give a max_length that is a multiple of {filling.multiple}"
        )

    def _frame(self, add_special_tokens: bool) -> Frame:
        settings = self.settings
        return Frame(
            begin=(self.cls_token_id, settings.cls_token) if add_special_tokens else None,
            end=(self.sep_token_id, settings.sep_token) if add_special_tokens else None,
            pad=(self.pad_token_id, settings.pad_token),
        )

    def _cut(
        self,
        strategy: Truncation,
        limit: int,
        stride: int,
        frame: Frame,
        texts: int,
        keep_overflow: bool,
    ) -> Cut:
        special = 0 if frame.begin is None else self.num_special_tokens_to_add(texts == 2)
        room = limit - special
        if strategy != "do_not_truncate" and (room < 0 or 0 < stride >= room):
            raise TokenizerError(
                f"max_length={limit} leaves {room} tokens of text beside {special} special tokens, "
                f"and stride={stride} has to be less than that; raise max_length or lower stride"
            )
        return Cut(
            strategy=strategy,
            room=room,
            stride=stride,
            side=self.settings.truncation_side,
            keep_overflow=keep_overflow,
        )

    def _rows(
        self, samples: list[Sample], frame: Frame, is_split_into_words: bool, cuts: dict[int, Cut]
    ) -> tuple[list[Encoding], list[int]]:
        """The rows, and which sample each is from."""
        texts = [text for sample in samples for text in sample]
        tokenized = iter(self._tokenize(texts, is_split_into_words=is_split_into_words))
        rows: list[Encoding] = []
        sample_indices: list[int] = []
        for index, sample in enumerate(samples):
            sequences = [next(tokenized) for _ in sample]
            lengths = tuple(len(sequence.ids) for sequence in sequences)
            windows = cut_windows(lengths, cuts[len(lengths)])
            rows += [Encoding(sequences, window, frame) for window in windows]
            sample_indices += [index] * len(windows)
        return rows, sample_indices

    def _warn_of_long_rows(self, rows: list[Encoding]) -> None:
        longest, limit = max(map(len, rows)), self.settings.model_max_length
        if longest > limit:
            warnings.warn(
                f"a row has {longest} tokens, but the model takes {limit}; pass truncation=True",
                MobileBertWarning,
                stacklevel=3,
            )


_VALUES = {
    "input_ids": lambda row: row.ids,
    "token_type_ids": lambda row: row.type_ids,
    "attention_mask": lambda row: row.attention_mask,
    "special_tokens_mask": lambda row: row.special_tokens_mask,
    "offset_mapping": lambda row: row.offsets,
    "length": len,
}


def _default(given: bool | None, otherwise: bool) -> bool:
    return otherwise if given is None else given


def _unwrapped(value: list[Any]) -> Any:
    """The only row; `length` stays a list, as in the transformers library."""
    return value[0] if isinstance(value[0], list) else value


def _fill_rows(rows: list[Encoding], filling: PaddingOptions) -> None:
    target = filling.target([len(row) for row in rows])
    for row in rows:
        missing = max(0, target - len(row))
        row.pad_left, row.pad_right = (missing, 0) if filling.side == "left" else (0, missing)
