"""The entry point: verbs, options, exit codes, how errors are said."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import sessiondb
from later_version import make_later_version
from sessiondb_tools.main import VERBS, main


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_explains_itself(run, name):
    done = run(*name.split(), "--help")
    assert done.code == 0
    assert f"usage: sessiondb {name}" in done.out
    assert f"sessiondb {name}" in done.out.split("\n\n", 1)[1], "an example is part of the help"


def test_the_help_lists_every_verb(run):
    done = run("--help")
    assert done.code == 0
    assert all(re.search(rf"^  {name} ", done.out, re.MULTILINE) for name in VERBS)


def test_the_version_is_printed(run):
    assert run("--version").out == f"sessiondb {sessiondb.__version__}\n"


def test_no_verb_at_all_is_wrong_usage(run):
    done = run()
    assert done.code == 2
    assert "usage: sessiondb VERB" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lst"], "there is no verb 'lst'; did you mean list?"),
        (["log"], "did you mean log dump or log verify?"),
        (["log", "dmp"], "log dump"),
        (["--db", "x", "get"], "the verb comes first"),
    ],
)
def test_an_unknown_verb_is_wrong_usage_with_a_hint(run, arguments, said):
    done = run(*arguments)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    "arguments", [["get"], ["get", "a", "--tabel", "x"], ["list", "--limit", "x"], ["get", "a", "b"]]
)
def test_wrong_arguments_are_wrong_usage(run, arguments):
    done = run(*arguments)
    assert done.code == 2
    assert "usage: sessiondb" in done.err


def test_options_are_not_guessed_from_their_beginning(run, store):
    assert run("list", "--db", store, "--pre", "a").code == 2


def test_a_missing_store_is_said_with_its_place_and_the_next_step(run, tmp_path):
    path = str(tmp_path / "none.json")
    for verb in (["get", "a"], ["list"], ["tables"], ["status"], ["checkpoint"], ["delete", "a"], ["log", "dump"]):
        done = run(*verb, "--db", path)
        assert done.code == 3
        assert done.out == ""
        assert re.fullmatch(rf"sessiondb {' '.join(verb[:2]) if verb[0] == 'log' else verb[0]}: there is no store at "
                            rf"{re.escape(path)}; next: .*\n", done.err)  # fmt: skip
    assert os.listdir(tmp_path) == []


def test_a_foreign_file_is_left_alone(run, tmp_path):
    foreign = tmp_path / "package.json"
    foreign.write_text('{"name": "x"}')
    for verb in (["get", "a"], ["list"], ["put", "a", "1"], ["status"], ["log", "verify"], ["log", "dump"]):
        done = run(*verb, "--db", str(foreign))
        assert done.code == 3, verb
        assert "found a JSON file of another program" in done.err
    assert foreign.read_text() == '{"name": "x"}'
    assert os.listdir(tmp_path) == ["package.json"]


def test_a_busy_store_ends_with_3_and_the_holders_name(run, busy_store):
    for verb in (["get", "a"], ["list"], ["tables"], ["put", "a", "1"], ["delete", "a"], ["checkpoint"]):
        done = run(*verb, "--db", busy_store, "--wait", "0")
        assert done.code == 3, verb
        assert re.search(r"process \d+ \(.*\) since 20.*Z has it", done.err)


def test_a_newer_format_ends_with_3(run, store):
    path = Path(store)
    make_later_version(path, 7)
    done = run("get", "a", "--db", store)
    assert done.code == 3
    assert "upgrade sessiondb" in done.err


def test_a_suffix_that_names_no_backend_is_wrong_usage(run):
    done = run("list", "--db", "x.txt")
    assert done.code == 2
    assert "json:///PATH" in done.err


@pytest.mark.parametrize("arguments", [["--db", ""], ["--db", "memory:"], ["--wait", "-1"], ["--wait", "nan"]])
def test_a_wrong_option_is_wrong_usage(run, store, arguments):
    done = run("list", "--db", store, *arguments)
    assert done.code == 2
    assert "next:" in done.err or "must be" in done.err


def test_the_environment_names_the_store_when_the_command_line_does_not(run, store, monkeypatch):
    monkeypatch.setenv("SESSIONDB_URL", f"json:///{store}")
    assert run("get", "a", "--json").out == '{"n":1}\n'


def test_the_command_line_goes_before_the_environment(run, store, monkeypatch):
    monkeypatch.setenv("SESSIONDB_URL", "json:////nowhere/x.json")
    assert run("get", "a", "--json", "--db", store).code == 0


def test_without_a_location_the_state_folder_has_the_store(run, tmp_path):
    assert run("get", "a").code == 3
    assert not (tmp_path / "state").exists(), "reading makes nothing"
    assert run("put", "a", "1").code == 0
    path = tmp_path / "state" / "sessiondb" / "sessions.json"
    assert path.exists()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert run("get", "a").out == "1\n"


def test_without_a_state_folder_the_home_folder_has_the_store(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    (tmp_path / "home").mkdir()
    assert run("put", "a", "1").code == 0
    assert (tmp_path / "home/.local/state/sessiondb/sessions.json").exists()


def test_a_path_with_a_space_and_a_tilde_in_it_is_found(run, tmp_path):
    path = tmp_path / "a ~ %41#?" / "s s.json"
    path.parent.mkdir()
    assert run("put", "a", "1", "--db", str(path)).code == 0
    assert run("get", "a", "--db", f"json:///{path}").out == "1\n"


def test_a_mistake_in_the_program_is_not_hidden(monkeypatch, store):
    monkeypatch.setattr("sessiondb_tools.verbs.get.open_for_reading", lambda arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["get", "a", "--db", store])


def test_ctrl_c_ends_with_130_and_without_a_traceback(run, monkeypatch, store):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("sessiondb_tools.verbs.get.run", interrupted)
    done = run("get", "a", "--db", store)
    assert done.code == 130
    assert done.err == "sessiondb: interrupted\n"


def test_ctrl_c_in_a_process_of_its_own_ends_it_quietly(tmp_path):
    reading = subprocess.Popen(
        [sys.executable, "-m", "sessiondb_tools", "import", "-", "--db", str(tmp_path / "x.json")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Whoever runs the tests in the background may have made SIGINT ignored, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert reading.stdin is not None
    with reading:
        try:
            # More than a pipe holds: when this returns, the command is in the middle of reading.
            reading.stdin.write(b"[" + b" " * (1 << 20))
            reading.stdin.flush()
            for _ in range(5):
                reading.send_signal(signal.SIGINT)
                # Python does not notice a signal that comes just before it begins to wait for more input.
                with suppress(subprocess.TimeoutExpired):
                    reading.wait(5)
                    break
            assert reading.returncode == 130
            assert reading.stderr is not None
            assert reading.stderr.read() == b"sessiondb: interrupted\n"
        finally:
            reading.kill()


def test_a_reader_that_goes_away_leaves_no_traceback(tmp_path):
    path = str(tmp_path / "big.json")
    with sessiondb.open(path) as db:
        db.table("records").put_many({f"{n:06}": {"text": "x" * 100} for n in range(5_000)})
    listing = subprocess.Popen(
        [sys.executable, "-m", "sessiondb_tools", "list", "--db", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        assert listing.stdout.readline().startswith(b"000000\t")
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert listing.returncode == 141


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["get", "a"], 0), (["get", "zzz"], 1), (["put", "a", "{"], 2), (["list", "--db", "/nowhere/x.json"], 3)],
)
def test_a_process_of_its_own_ends_with_the_code_and_no_traceback(command, store, arguments, code):
    done = command(*arguments, *([] if "--db" in arguments else ["--db", store]))
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert (done.stderr == b"") == (code == 0)


def test_output_is_utf_8_whatever_the_locale_says(command, store):
    done = command("get", "b", "--json", "--db", store, env=os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
    assert done.stdout.decode() == '[null,2.5,"ü"]\n'


def test_a_verb_imports_neither_the_demo_nor_the_benchmarks():
    program = (
        "import sys, sessiondb_tools.main; "
        "assert 'sessiondb' not in sys.modules; "
        "sessiondb_tools.main.main(['get', 'a', '--db', '/nowhere/x.json']); "
        "print([name for name in sys.modules if 'demo' in name or 'bench' in name or name == 'portalocker'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"[]\n"


def test_what_recovery_did_is_said_on_stderr(run, killed_store):
    from .conftest import segment_of

    segment = segment_of(killed_store)
    data = bytearray(segment.read_bytes())
    end = len(data.rstrip(b"\0"))
    data[end : end + 8 - end % 8 + 24] = b"\1" * (8 - end % 8 + 24)
    segment.write_bytes(data)
    done = run("put", "a", "1", "--db", killed_store)
    assert done.code == 0
    assert "a torn tail" in done.err
    assert "quarantine" in done.err


@pytest.mark.parametrize("name", VERBS)
def test_the_reference_page_names_every_verb_and_option(run, name):
    page = (Path(__file__).parents[2] / "docs/reference/command.md").read_text()
    assert f"`{name}`" in page
    options = re.findall(r"^  (--[a-z-]+)", run(*name.split(), "--help").out, re.MULTILINE)
    assert [option for option in options if f"`{option}" not in page] == []
