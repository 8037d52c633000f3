"""A pool with a worker that only remembers, for tests that are coroutines."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from pathlib import Path

import pytest

from celeriac.loading import load_app
from celeriac.locator import Locator
from celeriac.message import CONFIRMED
from celeriac.worker.executors.base import PoolCalls, PoolOptions
from celeriac.worker.executors.process import ProcessPool
from celeriac.worker.executors.solo import SoloPool
from celeriac.worker.executors.thread import ThreadPool
from celeriac.worker.job import Assignment, Job

HERE = Path(__file__).parent
LOCATOR = Locator(module="executors_app", path=(str(HERE),))
PATIENCE = 20


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run coroutine functions, each on a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


class Trial:
    """A pool under trial: what was submitted, began, ended and was published."""

    def __init__(self, kind="process", *, locator=LOCATOR, preload=False, grace=0.0, **options):
        options = PoolOptions(**{"concurrency": 1, **options})
        calls = PoolCalls(
            started=self._started,
            progress=self._progressed,
            finished=self._finished,
            publish=self.publish,
            failed=self._failed,
        )
        self.app = load_app(LOCATOR)
        self.grace = grace
        if kind == "process":
            self.pool = ProcessPool(locator, options, calls, preload=preload)
        else:
            self.pool = {"thread": ThreadPool, "solo": SoloPool}[kind](self.app, options, calls)
        self.ended, self.told = [], []
        self.begun, self.outcomes, self.failures, self.published = [], {}, [], []
        self.receipts = None
        self._seq = 0
        self._news = asyncio.Event()

    async def __aenter__(self):
        async with asyncio.timeout(PATIENCE):
            await self.pool.start()
        return self

    async def __aexit__(self, *_):
        await self.pool.stop(self.grace)
        assert len(self.ended) == len(set(self.ended)), "a job has ended twice"

    def job(self, task, *args, alone=False, body=None, soft_limit=None, **kwargs):
        self._seq += 1
        name = f"executors_app.{task}"
        assignment = Assignment(
            seq=self._seq,
            task=name,
            body=json.dumps([args, kwargs, {}]).encode() if body is None else body,
            content_type="application/json",
            content_encoding="utf-8",
            soft_limit=soft_limit,
            request={"id": f"id-{self._seq}", "task": name},
        )
        known = self.app.tasks.get(name)
        return Job(
            delivery=None,
            header=None,
            assignment=assignment,
            is_async=known is not None and known.is_async,
            alone=alone,
        )

    def submit(self, task, *args, **kwargs):
        """Submit a job; return its number."""
        job = self.job(task, *args, **kwargs)
        self.pool.submit(job)
        return job.seq

    async def until(self, happened):
        """Return once something has happened; the pool's calls are what makes us look."""
        async with asyncio.timeout(PATIENCE):
            while not happened():
                self._news.clear()
                await self._news.wait()

    async def until_logged_or(self, seconds, caplog=None, text=""):
        """Return when something was logged; after ``seconds`` at the latest, if nothing is expected."""
        for _ in range(round(seconds * 100)):
            if caplog is not None and text in caplog.text:
                return
            await asyncio.sleep(0.01)
        assert caplog is None, f"{text!r} was not logged"

    async def outcome(self, seq):
        """Return what became of a job."""
        await self.until(lambda: seq in self.outcomes)
        return self.outcomes[seq]

    async def result(self, seq):
        """Return what a job returned."""
        return json.loads((await self.outcome(seq)).body)

    async def run(self, task, *args, **kwargs):
        """Submit a job and return what it returned."""
        return await self.result(self.submit(task, *args, **kwargs))

    async def all_begun(self, *seqs):
        """Return when all of these run."""
        await self.until(lambda: set(seqs) <= set(self.begun))

    async def publish(self, messages):
        """Confirm everything, unless told otherwise."""
        self.published += messages
        if isinstance(self.receipts, Exception):
            raise self.receipts
        return [CONFIRMED for _ in messages]

    def _started(self, job):
        self.begun.append(job.seq)
        self._news.set()

    def _progressed(self, job, body, content_type, content_encoding):
        self.told.append((job.seq, json.loads(body)))
        self._news.set()

    def _finished(self, job, outcome):
        self.ended.append(job.seq)
        self.outcomes[job.seq] = outcome
        self._news.set()

    def _failed(self, text):
        self.failures.append(text)
        self._news.set()


@pytest.fixture
def trial():
    """The class of pools under trial."""
    return Trial


@pytest.fixture
def gate(tmp_path):
    """A gate that ``hold`` waits at: `path` to pass on, `open()` to let one through."""
    return Gate(tmp_path)


class Gate:
    """A named pipe."""

    def __init__(self, folder):
        self.path = str(folder / "gate")
        os.mkfifo(self.path)

    def open(self, text="through"):
        """Let those through that wait; one must."""
        Path(self.path).write_text(text)
