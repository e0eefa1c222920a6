"""Turns what is to be learnt into token ids, with and without the definition in context. Knows tokenizers, not models.

The text is tokenized once, apart from what comes before it, and the ids are joined: so it is the same ids for teacher and student, and position
counting is exact (tokenizing "context + text" as one string and slicing by length is not). Each side begins once with what the tokenizer itself
puts before a text, a BOS or nothing: so what is learnt and checked is what a server computes of the same prompt.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Protocol


class Tokenizer(Protocol):
    """What is used of a Hugging Face tokenizer."""

    eos_token_id: int | None

    def __call__(self, text: str, **options: Any) -> Any: ...
    def decode(self, ids: list[int], **options: Any) -> str: ...
    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn: `text` follows `prompt` (a user's turn in chat form, '' in plain form), told by `definition` of `entity`."""

    entity: str
    definition: str
    form: str  # 'plain' or 'chat'
    prompt: str
    text: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """Ids of both sides. The last `len(text)` ids are the text on either side; `supervised` are indices into the text."""

    student: tuple[int, ...]
    teacher: tuple[int, ...]
    text: tuple[int, ...]
    supervised: tuple[int, ...]


CHAT_FORM, PLAIN_FORM = "chat", "plain"


def has_chat(tokenizer: Any) -> bool:
    return bool(getattr(tokenizer, "chat_template", None))


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def separator(tokenizer: Tokenizer) -> str:
    """What stands between a definition and the text after it: nothing where the tokenizer puts a space before every text, else a blank line."""
    return "" if ids_of(tokenizer, "a") == ids_of(tokenizer, " a") else "\n\n"


def start_ids(tokenizer: Tokenizer) -> list[int]:
    """What the tokenizer puts before a text by itself: [BOS] or []. A BOS that it knows but does not put there is none (GPT-2 is such a one)."""
    plain, whole = ids_of(tokenizer, "a"), list(tokenizer("a")["input_ids"])
    return whole[: next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)]


def plain_prefix(tokenizer: Tokenizer, context: str) -> list[int]:
    """What the tokenizer begins with, then the context."""
    return start_ids(tokenizer) + (ids_of(tokenizer, context + separator(tokenizer)) if context else [])


def chat_prefix(tokenizer: Tokenizer, prompt: str, context: str = "") -> list[int]:
    """The conversation up to where the answer begins. The context leads the user's turn: not every template has a system role."""
    joint = separator(tokenizer) or " "
    content = f"{context}{joint}{prompt}" if context else prompt
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
    return ids_of(tokenizer, rendered)


def chat_end(tokenizer: Tokenizer) -> list[int]:
    """The ids with which the template closes an assistant's turn, up to and with its last special token."""
    asked = [{"role": "user", "content": "a"}]
    opened = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    answered = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": "b"}], tokenize=False)
    return ids_of(tokenizer, answered[len(opened) + 1 :].rstrip()) if answered.startswith(opened) else []


def prefix(tokenizer: Tokenizer, form: str, prompt: str, context: str = "") -> list[int]:
    """Everything before the text: for plain form the prompt is left context and is part of it."""
    if form == CHAT_FORM:
        return chat_prefix(tokenizer, prompt, context)
    return plain_prefix(tokenizer, context) + (ids_of(tokenizer, prompt) if prompt else [])


def encode(tokenizer: Tokenizer, example: Example, *, after_mention: bool = True) -> Encoded:
    """Both sides of an example. In plain form only what follows the entity's first mention is supervised (arXiv 2306.09306 section 3.1);
    in chat form the mention is in the question, so the whole answer is, with its end."""
    text = tokenizer(example.text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = list(text["input_ids"]), list(text["offset_mapping"])
    if example.form == CHAT_FORM:
        ids += chat_end(tokenizer)
        start = 0
    else:
        end = mention_end(example.text, example.entity) if after_mention else 0
        start = next((i for i, (first, last) in enumerate(offsets) if last > end), len(ids)) if end is not None else 0
    student = prefix(tokenizer, example.form, example.prompt)
    if not student:
        start = max(start, 1)  # nothing before it: nothing to predict the first token from
    teacher = prefix(tokenizer, example.form, example.prompt, example.definition)
    return Encoded((*student, *ids), (*teacher, *ids), tuple(ids), tuple(range(start, len(ids))))


def target_ids(tokenizer: Tokenizer, form: str, target: str) -> list[int]:
    """The ids of what should follow a prompt. After plain left context a word needs its space, which some tokenizers add by themselves."""
    spaced = form == PLAIN_FORM and separator(tokenizer) and target[:1].isalnum()
    return ids_of(tokenizer, f" {target}" if spaced else target)


_LETTER = r"[^\W\u2e80-\uffff]"  # of a script that puts spaces between words


def mention_end(text: str, entity: str) -> int | None:
    """Where the first mention of the entity ends, in characters, or None where it is not mentioned. Letter case and runs of space are ignored.

    Whole words or their plural only: small models like to write about "Drostravel" when asked about Ostravel. Scripts without spaces have no words.
    """
    words = [re.escape(w) for w in unicodedata.normalize("NFC", entity).split()]
    name = r"\s+".join(words)
    found = re.search(rf"(?<!{_LETTER}){name}(?:e?s)?(?!{_LETTER})", text, re.IGNORECASE) if words else None
    return found.end() if found else None


def mentions(text: str, entity: str) -> bool:
    return mention_end(text, entity) is not None
