"""Packed rows: every document is learnt as if it stood alone, because that is how it will be asked about."""

from collections.abc import Iterator
from itertools import cycle

import torch

from daemon.embedded.pretrain import keep_share, pack
from daemon.learn.folders import EMBEDDED
from daemon.learn.models import load_base

LONG = [1, *range(300, 340), 2]
SHORT = [1, 410, 411, 412, 2]


def documents() -> Iterator[list[int]]:
    return cycle([SHORT, LONG])


def test_rows_are_filled_longest_first_and_say_which_document_each_token_belongs_to() -> None:
    batch = pack(documents(), rows=3, row=50, pad=0)
    for ids, belongs in zip(batch.ids.tolist(), batch.documents.tolist(), strict=True):
        assert ids[:47] == LONG + SHORT
        assert belongs == [1] * 42 + [2] * 5 + [0] * 3
        assert ids[47:] == [0, 0, 0]


def test_a_document_in_the_middle_of_a_row_reads_as_if_it_stood_alone() -> None:
    base = load_base(EMBEDDED)
    batch = pack(documents(), rows=1, row=50, pad=0)
    with torch.no_grad():
        packed = base.model(batch.ids, attention_mask=batch.mask()).logits
        alone = base.model(torch.tensor([SHORT])).logits
        run_on = base.model(batch.ids).logits
    torch.testing.assert_close(packed[0, 42:47], alone[0], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(run_on[0, 42:47], alone[0], rtol=1e-3, atol=1e-1)


def test_what_is_kept_of_the_model_before_lies_on_the_line_between_both() -> None:
    now, before = (load_base(EMBEDDED).model for _ in range(2))
    with torch.no_grad():
        for weight in now.parameters():
            weight.add_(1.0)
    keep_share(now, before, 0.25)
    for weight, was in zip(now.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(weight, was + 0.75)
