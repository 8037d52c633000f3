"""The programs of the how-to guides run as the reader would run them, and print what the page says they print."""

import re
from pathlib import Path

import pytest
from tests.examples.test_examples import run, worker

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = ["routing.md", "retries.md", "delays.md", "results.md"]


def blocks(page, language):
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def said(program):
    """What stands behind its calls of print."""
    return re.findall(r"^ *print\(.*\)  # (.+)$", program, re.MULTILINE)


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide(page, tmp_path):
    tasks, *clients = blocks(page, "python")
    assert tasks.startswith("# tasks.py\n")
    (tmp_path / "tasks.py").write_text(tasks)
    command = blocks(page, "bash")[0].split()
    assert command[:4] == ["celeriac", "-A", "tasks", "worker"]
    assert any(said(program) for program in clients)
    with worker(tmp_path, *command[4:]):
        for number, program in enumerate(clients):
            (tmp_path / f"client{number}.py").write_text(program)
            assert run(f"client{number}.py", cwd=tmp_path) == said(program)


VISITS = {
    "fastapi": """
import asyncio

import httpx
from tasks import app
from web_fastapi import api


async def visit():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://testserver") as client:
        task_id = (await client.post("/sums", params={"x": 4, "y": 5})).json()["id"]
        await app.AsyncResult(task_id).aget(timeout=10)
        print((await client.get(f"/sums/{task_id}")).json())


asyncio.run(visit())
""",
    "flask": """
from tasks import app
from web_flask import web

client = web.test_client()
task_id = client.post("/sums", data={"x": 4, "y": 5}).json["id"]
app.AsyncResult(task_id).get(timeout=10)
print(client.get(f"/sums/{task_id}").json)
""",
    "django": """
import shop.tasks
from django.test import Client

client = Client()
task_id = client.get("/buy").json()["id"]
print(client.get(f"/receipts/{task_id}").json())
print(shop.tasks.app.conf.publish_timeout)
""",
}
ANSWERS = {
    "fastapi": ["{'state': 'SUCCESS', 'sum': 9}"],
    "flask": ["{'state': 'SUCCESS', 'sum': 9}"],
    "django": ["{'receipt': 'receipt of order 17'}", "3.0"],
}


@pytest.mark.parametrize("framework", VISITS)
def test_a_web_framework(framework, tmp_path):
    for text in blocks("web.md", "python"):
        path = tmp_path / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "visit.py").write_text(VISITS[framework])
    with worker(tmp_path, app="shop.tasks" if framework == "django" else "tasks"):
        assert run("visit.py", cwd=tmp_path) == ANSWERS[framework]
