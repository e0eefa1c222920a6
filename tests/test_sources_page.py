"""HTML and Markdown to text: paragraphs kept, markup gone, nothing that can hurt a database or a terminal."""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path

import pytest

from sources.encoding import clean_line, clean_text, decode, is_binary
from sources.markdown import markdown_to_text
from sources.page import html_to_text, without_title

PAGES = Path(__file__).parents[2] / "shared" / "data" / "html_article_extraction"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("An oslith is a lamp.", "An oslith is a lamp."),
        ("<p>An <b>oslith</b> is a <i>lamp</i>.</p><p>It is blue.</p>", "An oslith is a lamp.\n\nIt is blue."),
        ("<p>One\n   line</p>", "One line"),
        ("Fish &amp; chips &lt;fresh&gt; &#8211; caf&eacute;", "Fish & chips <fresh> – café"),
        ("<ul><li>one</li><li><p>two</p></li></ul>", "- one\n- two"),
        ("<dl><dt>Tarn</dt><dd>A lake.</dd><dt>Fell</dt><dd>A hill.</dd></dl>", "Tarn\nA lake.\nFell\nA hill."),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<div>a<div>b</div>c</div>", "a\n\nb\n\nc"),
        ("<script>x()</script><style>p{}</style><p>A tarn.<iframe>no</iframe></p><!-- no -->", "A tarn."),
        ("<p>unclosed <b>bold", "unclosed bold"),
        ("<pre>a\n  b</pre>", "a\nb"),
        ("", ""),
        ("   ", ""),
        ("<!-- only -->", ""),
        ("\x00\x01", ""),
    ],
)
def test_a_fragment_keeps_its_paragraphs(html: str, text: str) -> None:
    assert html_to_text(html).text == text


def test_a_page_declares_its_own_encoding() -> None:
    page = '<html><head><meta charset="windows-1251"><title>Озеро</title></head><body><p>Тарн — это озеро.</p></body></html>'
    got = html_to_text(page.encode("cp1251"))
    assert (got.title, got.text, got.problem) == ("Озеро", "Тарн — это озеро.", None)


def test_text_that_declares_an_encoding_itself_is_read_all_the_same() -> None:
    assert html_to_text('<?xml version="1.0" encoding="latin-1"?><html><body><p>Café</p></body></html>').text == "Café"


def test_binary_bytes_are_no_page() -> None:
    assert html_to_text(b"\x89PNG\x00\x00").text == ""


def test_deep_nesting_neither_crashes_nor_takes_long() -> None:
    started = time.process_time()
    html_to_text("<div>" * 50_000 + "x" + "</div>" * 50_000)
    html_to_text("<html><body>" + "<b>" * 50_000 + "x")
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("# Tarn\n\nA **tarn** is a *small* _lake_.", "Tarn\n\nA tarn is a small lake."),
        ("A [tarn](http://x/a_b 'y') and ![image](i.png)[fell][1].\n\n[1]: http://x", "A tarn and fell."),
        ("* one\n+ two\n  - three\n1. four", "- one\n- two\n- three\n1. four"),
        ("before\n\n```python\ncode_here()\n```\n\nafter", "before\n\nafter"),
        ("before\n\n~~~\nnever closed", "before"),
        ("Use `x_y_z` and snake_case_names and 2*3*4.", "Use x_y_z and snake_case_names and 2*3*4."),
        ("> quoted\n> words", "quoted\nwords"),
        ("Title\n=====\n\ntext\n\n---\n\nmore", "Title\n\ntext\n\nmore"),
        ("| a | b |\n|---|---|\n| c | d |", "| a | b |\n| c | d |"),
        ("a \\*star\\* and <b>tag</b> <!-- no -->", "a *star* and tag"),
        ("---\nnot front matter, a rule", "not front matter, a rule"),
        ("", ""),
    ],
)
def test_markdown_becomes_plain_text(markdown: str, text: str) -> None:
    assert markdown_to_text(markdown).text == text


@pytest.mark.parametrize(
    ("markdown", "title"),
    [
        ("---\ntitle: Tarn\n---\ntext", "Tarn"),
        ("---\ndate: 1\nTitle: 'A: tarn'\n---\n# Other", "A: tarn"),
        ('+++\ntitle = "Tarn"\n+++\ntext', "Tarn"),
        ("---\ndate: 1\n---\n## A *tarn* ##\ntext", "A tarn"),
        ("Tarn\n----\ntext", "Tarn"),
        ("\ufeff# Tarn\r\n\r\ntext", "Tarn"),
        ("no heading", None),
        ("```\n# a comment in code\n```\n", None),
    ],
)
def test_markdown_tells_its_title(markdown: str, title: str | None) -> None:
    assert markdown_to_text(markdown).title == title


def test_markdown_of_any_shape_takes_time_in_proportion() -> None:
    started = time.process_time()
    for piece in ("*", "_", "`", "[", "![", "<", "<!--", "```\n", "~~", "# ", "---\n", "| ", "> ", "\\", "a_b*c", "[x](", "- "):
        markdown_to_text(piece * 5000)
    assert time.process_time() - started < 5


def test_cleaned_text_can_be_stored_and_shown() -> None:
    assert clean_text("a\x00b\x1b[31mc\ud800d\ufeffe\r\nf\u2028g\n\n\n\nh\u00a0 i") == "ab[31mcde\nf\ng\n\nh i"
    assert clean_text("cafe\u0301") == "café"
    assert clean_line(" a\n b ") == "a b"
    assert clean_line("x" * 600).endswith("…")
    assert len(clean_line("x" * 600)) == 500


def test_text_and_binary_are_told_apart() -> None:
    assert is_binary(b"abc\x00")
    assert is_binary(bytes(range(32)) * 10)
    assert not is_binary("Ein Café.\r\n\tÜber".encode())
    assert decode(b"\x7fELF\x02\x01\x01\x00") is None


@pytest.mark.parametrize("encoding", ["cp1251", "shift_jis", "cp1250", "utf-16", "latin-1"])
def test_an_undeclared_encoding_is_guessed(encoding: str) -> None:
    texts = {
        "cp1251": "Тарн это небольшое озеро, которое лежит высоко в горах и питается снегом.",
        "shift_jis": "ターンとは、山の高いところにある小さな湖のことです。雪どけ水が流れこみます。",
        "cp1250": "Zażółć gęślą jaźń, a potem idź spać spokojnie do swojego łóżka.",
        "utf-16": "A tarn is a lake.",
        "latin-1": "naïve",
    }
    got = decode(texts[encoding].encode(encoding))
    assert got is not None
    assert got.text == texts[encoding]


def test_a_title_is_not_said_twice() -> None:
    assert without_title("Tarn\n\nA lake.", "tarn") == "A lake."
    assert without_title("Tarn", "Tarn") == "Tarn"
    assert without_title("A tarn.\n\nA lake.", "Tarn") == "A tarn.\n\nA lake."


@pytest.mark.skipif(not PAGES.is_dir(), reason=f"no collected web pages beside the checkout ({PAGES})")
def test_collected_web_pages_give_their_article() -> None:
    rows = [json.loads(line) for line in (PAGES / "open.jsonl").read_text(encoding="utf-8").splitlines()][:12]
    shares = []
    for row in rows:
        got = html_to_text(gzip.decompress((PAGES / row["html"]).read_bytes()))
        wanted, found = set(row["expected_text"].split()), set(got.text.split())
        shares.append(len(wanted & found) / max(1, len(wanted | found)))
    sys.stdout.write(f"web pages: mean share of common words {sum(shares) / len(shares):.2f} over {len(shares)}\n")
    assert sum(shares) / len(shares) > 0.75
