"""Files of every kind that is read, damaged ones among them; and lists of subscriptions."""

from __future__ import annotations

import io
import json
import zipfile
from email.message import EmailMessage
from pathlib import Path

import docx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfWriter

from sources import FetchSettings, NotAFeed, NotReachable, detect_kind, open_source
from sources.formats import text_of
from sources.opml import Subscription, read_opml, write_opml
from sources.sitemap import read_sitemap

QUICK = FetchSettings(settle_s=0.0)


def pdf(lines: list[str], *, title: str = "Lakes") -> bytes:
    """The smallest PDF that shows these lines."""
    shown = " ".join(f"({line}) Tj 0 -14 Td" for line in lines)
    stream = f"BT /F1 12 Tf 72 720 Td {shown} ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Title ({title}) >>".encode(),
    ]
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R /Info 6 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table) + trailer


def word_document() -> bytes:
    document = docx.Document()
    document.core_properties.title = "Lakes"
    document.add_paragraph("A tarn is a lake.")
    table = document.add_table(rows=1, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "tarn", "a lake"
    document.add_paragraph("A fell is a hill.")
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def mail(body: str, *, html: bool = False) -> bytes:
    message = EmailMessage()
    message["Subject"] = "Lakes — and hills"
    message["From"] = "ada@example.org"
    message.set_content("An empty-handed reader sees this." if html else body)
    if html:
        message = EmailMessage()
        message["Subject"] = "Lakes — and hills"
        message.set_content(body, subtype="html")
    return message.as_bytes()


def test_a_pdf_gives_its_text_with_broken_lines_joined() -> None:
    page = text_of(
        pdf(["A tarn is a lake that lies high up in the hills, and no", "river runs into it from above. It is cold in ev-", "ery month."]),
        kind=".pdf",
    )
    assert (page.title, page.problem) == ("Lakes", None)
    assert page.text == "A tarn is a lake that lies high up in the hills, and no river runs into it from above. It is cold in every month."


def test_a_word_document_gives_paragraphs_and_tables_in_order() -> None:
    page = text_of(word_document(), kind=".docx")
    assert (page.title, page.text) == ("Lakes", "A tarn is a lake.\n\ntarn | a lake\n\nA fell is a hill.")


@pytest.mark.parametrize("html", [False, True])
def test_a_mail_gives_its_subject_and_its_body(html: bool) -> None:
    page = text_of(mail("<p>A tarn is a <b>lake</b>.</p>" if html else "A tarn is a lake.", html=html), kind=".eml")
    assert (page.title, page.text) == ("Lakes — and hills", "A tarn is a lake.")


def encrypted_pdf() -> bytes:
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("word", algorithm="RC4-128")
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


def blank_pdf() -> bytes:
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


def archive_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open("word/document.xml", "w") as part:
        for _ in range(220):
            part.write(b"\0" * 2**20)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", ".pdf", "empty"),
        (b"%PDF-1.4 and nothing of it", ".pdf", "damaged beyond reading"),
        (encrypted_pdf(), ".pdf", "needs a password"),
        (blank_pdf(), ".pdf", "of pictures"),
        (b"PK\x03\x04 no archive", ".docx", "damaged beyond reading"),
        (archive_bomb(), ".docx", "unpack to more than"),
        (b"\x00\x01" * 50, ".txt", "binary data"),
        (b"Content-Type: text/plain; charset=no-such\n\nA tarn.", ".eml", "damaged"),
        (b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA", ".eml", "without text"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(data: bytes, kind: str, words: str) -> None:
    page = text_of(data, kind=kind)
    assert page.text == ""
    assert words in (page.problem or "")


def test_a_folder_takes_every_kind_and_a_maildir_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(["A tarn is a lake."]))
    (tmp_path / "b.docx").write_bytes(word_document())
    (tmp_path / "c.jsonl").write_text('{"title": "Fell", "text": "A fell is a hill."}\n\n[1]\n{"x": 1}\nnot json\n')
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4")
    for name in ("cur", "new", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    (tmp_path / "mail" / "cur" / "1700.host:2,S").write_bytes(mail("A beck is a stream."))
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config.md").write_text("not this")
    got = open_source(str(tmp_path), settings=QUICK).poll({})
    assert {one.external_id.split("#")[0]: one.title for one in got.documents} == {
        "a.pdf": "Lakes", "b.docx": "Lakes", "c.jsonl": "Fell", "mail/cur/1700.host:2,S": "Lakes — and hills",
    }  # fmt: skip
    assert [problem.split(":")[0] for problem in got.problems] == ["broken.pdf"]
    lines = next(one for one in got.documents if one.external_id.startswith("c.jsonl"))
    assert (
        lines.fetch["note"]
        == "line 3 is not an object; line 4 has no text under any of text, content, body, article; line 5 is no valid JSON"
    )


def test_a_line_brings_what_it_says_of_itself(tmp_path: Path) -> None:
    row = {
        "id": 7,
        "url": "https://x.example/7",
        "headline": "Tarn",
        "content_html": "<p>A tarn is a lake.</p>",
        "date": "2026-03-03T10:00:00Z",
    }
    (tmp_path / "news.jsonl").write_text(json.dumps(row))
    (document,) = open_source(str(tmp_path / "news.jsonl"), settings=QUICK).poll({}).documents
    assert (document.external_id, document.url, document.title) == ("news.jsonl#7", "https://x.example/7", "Tarn")
    assert document.text == "A tarn is a lake."
    assert document.published_at is not None
    assert document.published_at.isoformat() == "2026-03-03T10:00:00+00:00"


def test_a_kind_of_file_that_is_not_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.exe").write_bytes(b"MZ")
    with pytest.raises(NotReachable, match=r"ends in \.exe are not read"):
        open_source(str(tmp_path / "a.exe"), kind="file", settings=QUICK).poll({})
    with pytest.raises(NotReachable, match="a folder, not a file"):
        open_source(str(tmp_path), kind="file", settings=QUICK).poll({})


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("https://example.org/feed.xml", "feed"),
        ("https://example.org/sitemap_index.xml", "sitemap"),
        ("https://example.org/maps/news-sitemap.xml.gz?x=1", "sitemap"),
        ("https://example.org/sitemap", "feed"),
        ("/var/notes", "folder"),
        ("./notes/a.pdf", "file"),
        ("~/terms.jsonl", "file"),
    ],
)
def test_a_location_shows_its_kind(location: str, kind: str) -> None:
    assert detect_kind(location) == kind


OPML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<opml version="1.0"><head><title>ada's subscriptions</title></head><body>
<outline text="S\xe9curit\xe9">
  <outline type="rss" text="Varn" title="Varn news" xmlUrl="https://varn.example/feed" htmlUrl="https://varn.example/"/>
  <outline text="deeper"><outline type="atom" text="Deep" xmlurl="feed://deep.example/atom"/></outline>
</outline>
<outline type="rss" text="Tagged" XMLURL="http://tagged.example/rss" category="/Science/Hills,/Other"/>
<outline type="rss" text="Local" xmlUrl="file:///etc/passwd"/>
<outline type="rss" text="Nowhere"/>
<outline type="rss" text="Again" title="Again" xmlUrl="http://tagged.example/rss" category="Science"/>
</body></opml>""".encode("latin-1")


def test_opml_is_read_with_its_categories_and_says_what_it_left_out() -> None:
    found, problems = read_opml(OPML, "ada.opml")
    assert [(one.location, one.title, one.category) for one in found] == [
        ("https://varn.example/feed", "Varn news", "Sécurité"),
        ("http://deep.example/atom", "Deep", "Sécurité"),
        ("http://tagged.example/rss", "Tagged", "Science"),
    ]
    assert found[0].page == "https://varn.example/"
    assert problems == (
        "Local: file:///etc/passwd is no http address and was left out.",
        "Nowhere gives no address (xmlUrl) and was left out.",
    )


@pytest.mark.parametrize(
    "data", [b"", b"<rss/>", b"\x00\xff", b"hello", b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><rss>&a;</rss>"]
)
def test_what_is_no_opml_says_so(data: bytes) -> None:
    with pytest.raises(NotAFeed, match="no OPML"):
        read_opml(data, "x.opml")


def test_an_opml_file_reads_no_other_file_and_may_be_nested_without_end() -> None:
    entity = b"<!DOCTYPE opml [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><opml><body><outline text='&a;' xmlUrl='http://a.example/'/></body></opml>"
    (one,), _ = read_opml(entity, "x")
    assert "root" not in (one.title or "")
    deep = (
        b"<opml><body>" + b"<outline text='x'>" * 5000 + b"<outline xmlUrl='http://a.example/'/>" + b"</outline>" * 5000 + b"</body></opml>"
    )
    read_opml(deep, "x")


@given(
    st.lists(
        st.builds(
            Subscription,
            st.from_regex(r"https://[a-z]{1,8}\.example/[a-z0-9]{0,8}", fullmatch=True),
            st.one_of(st.none(), st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=20)),
            st.one_of(st.none(), st.from_regex(r"[A-Za-z]{1,10}", fullmatch=True)),
        ),
        max_size=12,
        unique_by=lambda one: (one.location, one.category),
    )
)
def test_what_is_written_is_read_again(subscriptions: list[Subscription]) -> None:
    found, problems = read_opml(write_opml(subscriptions, title="x"), "x")
    assert problems == ()
    assert {(one.location, one.category) for one in found} == {(one.location, one.category) for one in subscriptions}


def test_a_password_is_not_exported() -> None:
    assert b"secret" not in write_opml([Subscription("https://ada:secret@x.example/", None, None)], title="x")


def test_a_sitemap_lists_pages_and_an_index_lists_sitemaps() -> None:
    is_index, pages = read_sitemap(
        b"<urlset><url><loc> /a </loc><lastmod>2026-03-03</lastmod></url><url><loc>mailto:x</loc></url></urlset>",
        "x",
        base_url="https://x.example/",
    )
    assert (is_index, [(one.url, one.changed) for one in pages]) == (False, [("https://x.example/a", "2026-03-03")])
    is_index, maps = read_sitemap(b"<sitemapindex><sitemap><loc>https://x.example/1.xml</loc></sitemap></sitemapindex>", "x", base_url="")
    assert (is_index, [one.url for one in maps]) == (True, ["https://x.example/1.xml"])
    with pytest.raises(NotAFeed, match="no sitemap"):
        read_sitemap(b"<rss/>", "x", base_url="")
