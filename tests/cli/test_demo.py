import json
import signal
import subprocess
import sys
import time

from tests.cli.conftest import environment

from celeriac import cli
from celeriac.cli import demo, exits


def run(tmp_path, *args, **more):
    temporary = tmp_path / "temporary folder #%20"
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "celeriac", "demo", *args],
        cwd=tmp_path,
        env=environment(TMPDIR=str(temporary), **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not list(temporary.iterdir()), "it leaves something behind"
    return done


def test_it_shows_results_and_leaves_nothing(tmp_path):
    begun = time.monotonic()
    done = run(tmp_path)
    assert done.returncode == exits.OK, done.stdout + done.stderr
    assert not done.stderr
    assert "factors(600851475143) = [71, 839, 1471, 6857]" in done.stdout
    assert "greet('task 50') = 'hello task 50'" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "what to try next" in done.stdout
    assert time.monotonic() - begun < 15


def test_the_environment_does_not_lead_it_astray(tmp_path):
    done = run(tmp_path, "--json", CELERIAC_BROKER="amqp://nowhere.invalid", CELERIAC_BACKEND="foo://x")
    assert done.returncode == exits.OK, done.stderr
    assert json.loads(done.stdout)["ok"] is True


def test_a_wrong_result_is_no_success(monkeypatch, capsys):
    right = demo._value
    monkeypatch.setattr(demo, "_value", lambda result: 7 if right(result) == "hello task 3" else right(result))
    assert cli.main(["demo", "--json"]) == exits.FAILED
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] is False
    assert shown["wrong"] == ["greet('task 3') gave 7, not 'hello task 3'"]


def test_a_worker_that_does_not_start_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(demo, "file_broker", lambda path: "foo://x")
    assert cli.main(["demo"]) == exits.FAILED
    err = capsys.readouterr().err
    assert "the worker did not start" in err
    assert "foo://" in err


def test_interrupting_it_ends_its_worker(tmp_path):
    waits = "import time; from celeriac.cli import demo, main; demo._value = lambda result: time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{waits}; raise SystemExit(main(['demo']))"],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path), PYTHONWARNINGS="default"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "a worker process" in process.stdout.readline()
        assert "ready" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == exits.INTERRUPTED
    assert not err
    assert not list(tmp_path.iterdir())


def test_on_the_broker_that_is_named(tmp_path):
    url = f"sqlite:///{tmp_path}/mine.db"
    done = run(tmp_path, "-b", url)
    assert done.returncode == exits.OK, done.stderr
    assert url in done.stdout
    assert (tmp_path / "mine.db").exists()


def test_a_broker_that_cannot_be_is_told_at_once(tmp_path):
    for url, code in (("nope://x", exits.MISCONFIGURED), ("amqp://guest:open-sesame@127.0.0.1:1", exits.UNAVAILABLE)):
        done = run(tmp_path, "-b", url)
        assert done.returncode == code
        assert "Traceback" not in done.stderr
        assert "open-sesame" not in done.stdout + done.stderr
