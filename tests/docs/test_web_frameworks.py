"""The programs of docs/how-to/web-frameworks.md: the sites answer, and their tasks run."""

import subprocess
import sys

import pytest
from tests.docs.pages import BY_PATH, DOCS
from tests.examples.test_examples import environment, run

PAGE = BY_PATH[DOCS / "how-to" / "web-frameworks.md"]
SETTINGS = """
SECRET_KEY = "no secret"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
CELERIAC_BROKER = "memory://"
CELERIAC_GRACE = 17
"""
DJANGO = """
import mysite.worker
from celeriac.testing import Sandbox
from django.core.management import call_command
from django.test import RequestFactory

from shop.tasks import welcome
from shop.views import sign_up

call_command("migrate", verbosity=0)
with Sandbox(mysite.worker.app, pool="solo") as box:
    response = sign_up(RequestFactory().post("/", {"name": "ann"}))
    box.assert_enqueued(welcome, args=(1,))
    (run,) = box.drain()
    print(response.status_code, response.content.decode(), run.why)
    result = welcome.delay(1)
    box.drain()
    print(result.get(timeout=0), mysite.worker.app.conf.grace)
"""
FASTAPI = """
import asyncio
import json

from api import api
from tasks import queue


async def ask(method, path):
    sent, scope = [], {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    await api(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def main():
    status, started = await ask("POST", "/reports/monday")
    await queue.AsyncResult(started["id"]).aget(timeout=10)
    print(status, await ask("GET", "/results/" + started["id"]), (await ask("GET", "/results/nobody"))[0])


with queue.run_worker():
    asyncio.run(main())
"""
FLASK = """
from flask_tasks import queue
from site_flask import web

with queue.run_worker():
    client = web.test_client()
    started = client.post("/reports/monday")
    queue.AsyncResult(started.json["id"]).get(timeout=10)
    print(started.status_code, client.get("/results/" + started.json["id"]).json)
    print(client.get("/results/nobody").status_code)
"""


@pytest.mark.parametrize(
    ("program", "prints"),
    [
        pytest.param(DJANGO, ['201 {"user": 1} succeeded', "welcome, ann 17.0"], id="Django"),
        pytest.param(FASTAPI, ["202 (200, {'state': 'SUCCESS', 'result': 'report of monday'}) 404"], id="FastAPI"),
        pytest.param(
            FLASK,
            ["202 {'result': 'report of monday by site_flask', 'state': 'SUCCESS'}", "404"],
            id="Flask",
        ),
    ],
)
def test_a_site(program, prints, tmp_path):
    for fence in filter(lambda fence: fence.name, PAGE.having("python")):
        path = tmp_path / fence.name
        path.parent.mkdir(exist_ok=True)
        path.write_text(fence.text, encoding="utf-8")
    (tmp_path / "mysite" / "settings.py").write_text(SETTINGS, encoding="utf-8")
    told = {**environment(), "PYTHONWARNINGS": "default", "CELERIAC_BROKER": "memory://"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=told, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == prints


@pytest.mark.parametrize("fence", [each for each in PAGE.having("python") if not each.name], ids=lambda each: each.line)
def test_what_needs_no_site_runs(fence, tmp_path):
    assert run("-c", fence.text, cwd=tmp_path) == []
