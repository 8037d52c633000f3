"""The App whose tasks the executors' tests run, in children and here."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from celeriac.app import App
from celeriac.errors import SoftTimeLimitExceeded
from celeriac.request import current_task, progress

app = App("executors_app", broker="memory://executors")
LIFE = os.environ.get("EXECUTORS_LIFE")


def note(line):
    with Path(LIFE).open("a") as file:
        file.write(line)


if LIFE:

    @app.lifespan
    async def life():
        yield {"pid": os.getpid(), "loop": id(asyncio.get_running_loop())}
        note("left\n")


@app.task
def echo(value):
    return value


@app.task
def pid(*_):
    return os.getpid()


@app.task
def modules():
    return [name for name in sys.modules if name.startswith("celeriac.")]


@app.task
async def apid(*_):
    return os.getpid()


@app.task
def thread_name():
    return threading.current_thread().name


@app.task
def hold(fifo):
    """Run until the test opens and closes the other end."""
    return Path(fifo).read_text()


@app.task
async def ahold(seconds=3600):
    await asyncio.sleep(seconds)
    return "slept"


@app.task
async def aecho(value):
    await asyncio.sleep(0)
    return value


@app.task
async def asleeper():
    asyncio.current_task().cancel()
    await asyncio.sleep(3600)


@app.task
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
async def adie():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def exit_hard(code):
    os._exit(code)


@app.task
def kill_group():
    os.killpg(0, signal.SIGKILL)


@app.task
def leave(word):
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "generator": GeneratorExit}[word]


@app.task
async def aleave(word):
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "cancel": asyncio.CancelledError}[word]


@app.task
def unserialisable():
    return {"deep": [object()]}


class BrokenError(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")

    __repr__ = __str__


@app.task
def broken_exception():
    raise BrokenError(object())


@app.task
def fail(text="it failed"):
    raise ValueError(text)


@app.task
def deep():
    return deep.fn()


@app.task(bind=True)
def bound(self, *args):
    return [self.request.id, self.name, current_task().task, list(args)]


@app.task(bind=True)
def state(self):
    return self.request.state


@app.task(bind=True)
async def astate(self):
    return self.request.state["loop"] == id(asyncio.get_running_loop())


@app.task
def hog_in_re():
    """Hold the GIL inside one C call, for ever as far as anyone knows."""
    re.match(r"(a+)+$", "a" * 64 + "b")


@app.task
def hog():
    return sum(range(10**12))


@app.task
def grow(mebibytes):
    grow.kept = b"x" * (mebibytes << 20)
    return os.getpid()


@app.task
def log(text):
    record = logging.getLogger("executors").makeRecord("executors", logging.INFO, __file__, 1, text, (), None)
    logging.getLogger("executors").warning(text)
    return [record.task_id, record.task_name]


@app.task
def stop_myself():
    os.kill(os.getpid(), signal.SIGSTOP)
    return "continued"


@app.task
def send(count):
    return [app.send_task("executors_app.echo", (n,), ignore_result=True).id for n in range(count)]


@app.task
async def asend(count):
    return [(await app.asend_task("executors_app.echo", (n,), ignore_result=True)).id for n in range(count)]


@app.task
def interrupt_myself():
    os.kill(os.getpid(), signal.SIGINT)
    return "went on"


@app.task
def terminate_myself():
    os.kill(os.getpid(), signal.SIGTERM)
    return "went on"


@app.task
def terminate_a_program():
    """Start a program, which must not be deaf to TERM as we are; return the signal that ended it."""
    program = subprocess.Popen(["sleep", "60"])
    program.terminate()
    return -program.wait()


@app.task
def endure(seconds=3600):
    """Wait for a soft limit."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded as error:
        return str(error)
    return "nothing came"


@app.task
def hold_softly():
    time.sleep(3600)


@app.task
def spin():
    """Wait for a soft limit without ever waiting in the kernel."""
    try:
        while True:
            pass
    except SoftTimeLimitExceeded:
        return "spun"


@app.task
async def aendure(within="sleep"):
    """Wait for a soft limit inside something of asyncio's, and see it whole afterwards."""
    lock, queue = asyncio.Lock(), asyncio.Queue()
    await lock.acquire()
    try:
        if within == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(3600))
        elif within == "child":
            await asyncio.create_task(asyncio.sleep(3600))
        elif within == "timeout":
            async with asyncio.timeout(3600):
                await queue.get()
        elif within == "lock":
            await lock.acquire()
        else:
            await asyncio.sleep(3600)
    except SoftTimeLimitExceeded as error:
        lock.release()
        async with lock, asyncio.timeout(3600):
            await asyncio.sleep(0)
        return [str(error), asyncio.current_task().cancelling()]


@app.task
async def astubborn(seconds=3600):
    """Take no notice of a cancellation."""
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(seconds)
    return "went on"


@app.task
async def atidy():
    """Return something though it was cancelled."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        return "tidied up"


@app.task(bind=True)
def count(self, number, fifo):
    """Tell of progress, and wait at a gate."""
    for n in range(number):
        self.progress(n + 1, number, word="counting")
    return Path(fifo).read_text()


@app.task
async def acount(number):
    for n in range(number):
        progress(n + 1)
    await asyncio.sleep(3600)


@app.task
def progress_of_a_set():
    progress(1, what={1})


@app.task
def close_everything():
    os.closerange(3, 256)
