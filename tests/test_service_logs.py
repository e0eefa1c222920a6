"""Log lines: a sentence for people, fields for machines, priorities for the journal."""

import io
import json
import logging
import os

import pytest

from daemon.logs import configure_logging


@pytest.fixture(autouse=True)
def root_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_people_read_a_sentence():
    stream = io.StringIO()
    configure_logging("text", stream=stream)
    logging.getLogger("daemon.test").info("Promoted adapter %s", "news@1", extra={"action": "promoted"})
    assert stream.getvalue().endswith("INFO    Promoted adapter news@1\n")


def test_machines_read_fields():
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("daemon.test").exception("It broke", extra={"action": "failed", "job": 7})
    line = json.loads(stream.getvalue())
    assert line["message"] == "It broke"
    assert (line["level"], line["logger"], line["action"], line["job"]) == ("error", "daemon.test", "failed", 7)
    assert line["traceback"].endswith("ValueError: odd")
    assert line["time"].endswith("+00:00")


def test_a_field_cannot_replace_the_message():
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    logging.getLogger("daemon.test").info("The sentence", extra={"level": "mine", "time": "now"})
    line = json.loads(stream.getvalue())
    assert (line["message"], line["level"]) == ("The sentence", "info")


def test_set_up_twice_it_says_everything_once():
    stream = io.StringIO()
    configure_logging("text", stream=io.StringIO())
    configure_logging("text", stream=stream)
    logging.getLogger("daemon.test").warning("Once")
    assert stream.getvalue().count("Once") == 1


def test_libraries_do_not_write_our_diary():
    stream = io.StringIO()
    configure_logging("text", stream=stream)
    logging.getLogger("apscheduler.scheduler").info("Added job")
    assert stream.getvalue() == ""


def test_the_journal_gets_priorities_instead_of_times(tmp_path):
    with (tmp_path / "journal").open("w+") as stream:
        found = os.fstat(stream.fileno())
        configure_logging("text", stream=stream, environment={"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        logging.getLogger("daemon.test").error("First line\nsecond line")
        stream.seek(0)
        assert stream.read() == "<3>First line\n<3>second line\n"
