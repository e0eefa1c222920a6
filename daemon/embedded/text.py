"""Tokens to text, a token at a time: holds back half characters and anything that may still turn into a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"  # what decoders write for bytes that are not yet a whole character
CONTEXT_TOKENS = 5  # enough earlier tokens for decoders that treat the first token of a text differently
LONGEST_CHARACTER_TOKENS = 8  # a model that writes broken bytes is not waited for longer than this


class TextStream:
    """The text of one answer as it grows. What `push` returned is never taken back."""

    def __init__(self, decode: Callable[[list[int]], str], *, prompt_ids: Sequence[int], stop: tuple[str, ...]) -> None:
        self._decode = decode
        self._stop = tuple(s for s in stop if s)
        self._window = list(prompt_ids[-CONTEXT_TOKENS:])
        self._read = len(self._window)
        self._held = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        """Take one token; return the text that is now certain."""
        self._window.append(token_id)
        return self._release(self._fresh_text(final=False))

    def finish(self) -> str:
        """The answer ends here: return whatever is still held back."""
        if self.stopped:
            return ""
        text = self._release(self._fresh_text(final=True))
        if not self.stopped:
            text, self._held = text + self._held, ""
        return text

    def _fresh_text(self, *, final: bool) -> str:
        whole = self._decode(self._window)
        waiting = len(self._window) - self._read
        if whole.endswith(UNFINISHED) and not final and waiting < LONGEST_CHARACTER_TOKENS:
            return ""
        before = self._decode(self._window[: self._read])
        self._window = self._window[-CONTEXT_TOKENS:]
        self._read = len(self._window)
        return whole[_shared_length(before, whole) :]

    def _release(self, fresh: str) -> str:
        text = self._held + fresh
        found = [at for s in self._stop if (at := text.find(s)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = _possible_stop_length(text, self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _shared_length(before: str, whole: str) -> int:
    """How far the longer text repeats the shorter; a completed character can change the shorter one's end."""
    if whole.startswith(before):
        return len(before)
    return next((at for at, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), min(len(before), len(whole)))


def _possible_stop_length(text: str, stop: tuple[str, ...]) -> int:
    """The length of the longest end of the text with which a stop string begins."""
    longest = max((len(s) for s in stop), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if text.endswith(tuple(s[:length] for s in stop if len(s) > length)):
            return length
    return 0
