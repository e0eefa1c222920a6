"""Writes docs/commands.md and the README's generated parts: help, the demonstration's end, the embedded model's table, every command's real output.

    .venv/bin/python docs/make.py [--from-scratch]

Runs the demonstration in a home beside this file (kept, and used again unless asked to start from scratch) and the commands on what it left.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".sample-docs"
LOREFEED = str(ROOT / ".venv" / "bin" / "lorefeed")
COMMANDS = (
    "status",
    "feeds list",
    "documents list",
    "documents show 1",
    "definitions list --state learned",
    "definitions show 1",
    "adapters list",
    "adapters show news@1",
    "adapters diff news@1 news@2",
    "aliases list",
    "releases news",
    "learn news --dry-run",
    "forget --document 1 --dry-run",
    "audit verify",
    "extract README.md",
    "doctor",
    "config",
)
ENVIRONMENT = {**os.environ, "COLUMNS": "120"}


def run(*arguments: str) -> str:
    done = subprocess.run([LOREFEED, *arguments], capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT)
    text = done.stdout + done.stderr
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).replace(str(HOME), "/var/lib/lorefeed").replace(str(ROOT), "/opt/lorefeed")


def replaced(page: str, name: str, text: str) -> str:
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = page.split(start)
    return f"{before}{start}\n{text.strip()}\n{end}{rest.split(end)[1]}"


def fenced(text: str) -> str:
    return f"```\n{text.strip()}\n```"


def table() -> str:
    e = json.loads((ROOT / "daemon" / "embedded" / "model" / "evaluation.json").read_text())
    rows = [
        (
            "direct questions about new entities, definition in context / without",
            f"{e['direct_in_context']:.1%} / {e['direct_without']:.1%}",
        ),
        ("the same, worded otherwise", f"{e['paraphrase_in_context']:.1%} / {e['paraphrase_without']:.1%}"),
        ("what follows from the definition", f"{e['inference_in_context']:.1%} / {e['inference_without']:.1%}"),
        ("the same, reasoned in the marked form", f"{e['reasoned_in_context']:.1%} / {e['reasoned_without']:.1%}"),
        ("entities known by heart, stated / inferred", f"{e['known']:.1%} / {e['known_inference']:.1%}"),
        ("skills", f"{e['skills']:.1%}"),
    ]
    if "definitions" in e:
        d, b, i = e["definitions"], e["ecbd"], e["entity_inferences"]
        rows += [
            (
                "real sentences: perplexity with the right / a wrong definition",
                f"{d['right_definition']:+.1%} / {d['wrong_definition']:+.1%}",
            ),
            ("ECBD targets: perplexity with the definition", f"{b['right_definition']:+.1%}"),
            ("Entity Inferences: accuracy without / with the definition", f"{i['accuracy_without']:.1%} / {i['accuracy_in_context']:.1%}"),
        ]
    if "bits_per_byte" in e:
        rows.append(("bits per byte on kept-back real text", f"{e['bits_per_byte']:.2f}"))
    return "\n".join(
        ["| measured (exact match unless said otherwise) | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    )


def main() -> None:
    if "--from-scratch" in sys.argv or not HOME.exists():
        shutil.rmtree(HOME, ignore_errors=True)
        shown = run("--home", str(HOME), "demo")
        (HOME / "demo.txt").write_text(shown)
    demo = (HOME / "demo.txt").read_text()
    page = (ROOT / "README.md").read_text()
    seen = [line for line in demo[demo.rindex("Seen in") :].splitlines() if line.startswith(("Seen", "  yes", "  no"))]
    page = replaced(page, "demo", fenced("\n".join(seen)))
    page = replaced(page, "help", fenced(run("--help")))
    page = replaced(page, "table", table())
    (ROOT / "README.md").write_text(page)
    parts = [
        "# Commands\n\nReal output, written by `docs/make.py` from the home that `lorefeed demo` leaves.\n",
        f"## demo\n\n{fenced(demo)}\n",
    ]
    parts += [f"## {c}\n\n{fenced(run('--home', str(HOME), *c.split()))}\n" for c in COMMANDS]
    (ROOT / "docs" / "commands.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
