"""Children, nurseries and workers that die at the worst moment."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from celeriac.locator import Locator
from celeriac.worker.job import Died, Failed, Interrupted, Succeeded

PATIENCE = 20
KILLED = "signal 9 (SIGKILL)"


def kill(pid):
    os.kill(pid, signal.SIGKILL)


async def test_a_killer_is_told_from_its_successor(trial):
    async with trial() as pool:
        assert await pool.outcome(pool.submit("die")) == Died(exit=KILLED, beside=0)
        assert await pool.run("echo", 1) == 1


async def test_a_task_that_ends_its_process(trial):
    async with trial() as pool:
        assert await pool.outcome(pool.submit("exit_hard", 3)) == Died(exit="exit code 3", beside=0)
        assert await pool.outcome(pool.submit("exit_hard", 0)) == Died(exit="exit code 0", beside=0)


async def test_an_idle_child_dies(trial):
    async with trial() as pool:
        (pid,) = pool.pool.pids
        kill(pid)
        assert await pool.run("pid") != pid
        assert all(isinstance(outcome, Succeeded) for outcome in pool.outcomes.values())


async def test_what_a_dead_child_had_not_begun_runs_elsewhere(trial, gate):
    async with trial(ahead=20) as pool:
        held = pool.submit("hold", gate.path)
        await pool.all_begun(held)
        ahead = [pool.submit("pid") for _ in range(15)]
        (pid,) = pool.pool.pids
        kill(pid)
        assert await pool.outcome(held) == Died(exit=KILLED, beside=0)
        assert pid not in {await pool.result(seq) for seq in ahead}
        assert pool.begun[1:] == ahead


async def test_coroutines_beside_a_killer(trial):
    async with trial() as pool:
        held = [pool.submit("ahold") for _ in range(20)]
        await pool.all_begun(*held)
        killer = pool.submit("adie")
        for seq in [*held, killer]:
            assert await pool.outcome(seq) == Died(exit=KILLED, beside=20)


async def test_a_coroutine_and_a_def_task_die_together(trial, gate):
    async with trial() as pool:
        seqs = [pool.submit("hold", gate.path), pool.submit("ahold")]
        await pool.all_begun(*seqs)
        kill(*pool.pool.pids)
        for seq in seqs:
            assert await pool.outcome(seq) == Died(exit=KILLED, beside=1)


async def test_a_killer_in_quarantine_harms_nobody(trial):
    async with trial() as pool:
        neighbour = pool.submit("ahold", 0.2)
        assert await pool.outcome(pool.submit("adie", alone=True)) == Died(exit=KILLED, beside=0)
        assert await pool.run("echo", 1, alone=True) == 1
        assert await pool.result(neighbour) == "slept"


async def test_a_child_killed_before_it_is_ready(trial, tmp_path, monkeypatch):
    (tmp_path / "slow_app.py").write_text(
        "import os, time\n"
        "from celeriac.app import App\n"
        "if not os.path.exists(os.environ['SLOW_DONE']):\n"
        "    with open(os.environ['SLOW_PID'], 'w') as file: file.write(str(os.getpid()))\n"
        "    time.sleep(3600)\n"
        "app = App(broker='memory://slow')\n"
    )
    os.mkfifo(tmp_path / "pid")
    monkeypatch.setenv("SLOW_DONE", str(tmp_path / "done"))
    monkeypatch.setenv("SLOW_PID", str(tmp_path / "pid"))
    pool = trial(locator=Locator(module="slow_app", path=(str(tmp_path),)))
    starting = asyncio.create_task(pool.pool.start())
    await asyncio.sleep(0)
    pid = int(await asyncio.to_thread((tmp_path / "pid").read_text))
    (tmp_path / "done").touch()
    kill(pid)
    await starting
    assert pool.failures == []
    assert pid not in pool.pool.pids
    await pool.pool.stop(0)


@pytest.mark.parametrize("preload", [False, True])
async def test_an_app_that_does_not_import_fails_the_pool(trial, tmp_path, preload):
    (tmp_path / "bad_app.py").write_text("def boom():\n    raise RuntimeError('not today')\n\nboom()\n")
    pool = trial(locator=Locator(module="bad_app", path=(str(tmp_path),)), preload=preload, concurrency=2)
    async with pool:
        (text,) = pool.failures
        assert "RuntimeError: not today" in text
        assert 'bad_app.py", line 2, in boom' in text
        assert "celeriac" not in text.replace(str(tmp_path), "")


async def test_births_after_early_deaths_are_slower_and_slower(trial, tmp_path, monkeypatch):
    births = tmp_path / "births"
    (tmp_path / "dying_app.py").write_text(
        f"import os, time\nopen({str(births)!r}, 'a').write(f'{{time.monotonic()}}\\n')\nos._exit(1)\n"
    )
    monkeypatch.setattr("celeriac.worker.executors.family.BACKOFF_SECONDS", 0.1)
    async with trial(locator=Locator(module="dying_app", path=(str(tmp_path),))) as pool:
        assert len(pool.failures) == 1
    first, second, third = (float(line) for line in births.read_text().split())
    assert second - first > 0.2
    assert third - second > 0.4


async def test_an_app_that_kills_its_importer_fails_the_pool(trial, tmp_path):
    (tmp_path / "killing_app.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    async with trial(locator=Locator(module="killing_app", path=(str(tmp_path),))) as pool:
        (text,) = pool.failures
        assert KILLED in text


async def test_preload_refuses_an_import_that_leaves_threads(trial, tmp_path):
    (tmp_path / "threaded_app.py").write_text(
        "import threading, time\n"
        "from celeriac.app import App\n"
        "app = App(broker='memory://threaded')\n"
        "threading.Thread(target=time.sleep, args=(3600,), name='the-poller', daemon=True).start()\n"
    )
    async with trial(locator=Locator(module="threaded_app", path=(str(tmp_path),)), preload=True) as pool:
        (text,) = pool.failures
        assert "the-poller" in text


async def test_a_lifespan_that_fails_fails_the_pool(trial, tmp_path):
    (tmp_path / "lifeless_app.py").write_text(
        "from celeriac.app import App\n"
        "app = App(broker='memory://lifeless')\n"
        "@app.lifespan\n"
        "async def life():\n"
        "    raise RuntimeError('no database')\n"
        "    yield\n"
    )
    async with trial(locator=Locator(module="lifeless_app", path=(str(tmp_path),))) as pool:
        (text,) = pool.failures
        assert "RuntimeError: no database" in text


async def test_a_lifespan_that_ends_by_itself_ends_its_child(trial, tmp_path, caplog):
    (tmp_path / "brittle_app.py").write_text(
        "import asyncio\n"
        "from celeriac.app import App\n"
        "app = App(broker='memory://brittle')\n"
        "@app.task(name='executors_app.bound', bind=True)\n"
        "def give_way(self): self.request.state['loop'].call_soon_threadsafe(self.request.state['broken'].set)\n"
        "async def break_down(event):\n"
        "    await event.wait()\n"
        "    raise RuntimeError('lost the database')\n"
        "@app.lifespan\n"
        "async def life():\n"
        "    event = asyncio.Event()\n"
        "    async with asyncio.TaskGroup() as group:\n"
        "        watcher = group.create_task(break_down(event))\n"
        "        yield {'loop': asyncio.get_running_loop(), 'broken': event}\n"
        "        watcher.cancel()\n"
    )
    async with trial(locator=Locator(module="brittle_app", path=(str(tmp_path),))) as pool:
        (pid,) = pool.pool.pids
        pool.submit("bound")
        await pool.until(lambda: pool.outcomes)
        while pid in pool.pool.pids:  # noqa: ASYNC110 - the pool tells nobody of a death without jobs
            await asyncio.sleep(0.01)
        assert "lost the database" in caplog.text
        assert pool.failures == []


async def test_a_task_that_closes_our_descriptors(trial):
    async with trial() as pool:
        assert await pool.outcome(pool.submit("close_everything")) == Died(exit="exit code 1", beside=0)
        assert await pool.run("echo", 1) == 1


async def test_a_stopped_child_holds_up_nobody(trial):
    async with trial(concurrency=2) as pool:
        stopped = pool.submit("stop_myself")
        await pool.all_begun(stopped)
        for n in range(40):
            assert await pool.run("echo", n) == n
        assert [await pool.run("aecho", n) for n in range(4)] == [0, 1, 2, 3]
        assert stopped not in pool.outcomes


async def test_an_idle_child_that_is_stopped_holds_up_nobody(trial):
    async with trial(concurrency=2) as pool:
        stopped, other = pool.pool.pids
        os.kill(stopped, signal.SIGSTOP)
        while state_of(stopped) != "T":  # noqa: ASYNC110 - the kernel tells only its parent
            await asyncio.sleep(0)
        for _ in range(10):
            assert await pool.run("pid") == other
        os.kill(stopped, signal.SIGCONT)


async def test_the_nursery_dies(trial, gate):
    async with trial(concurrency=2) as pool:
        held = [pool.submit("hold", gate.path) for _ in range(2)]
        await pool.all_begun(*held)
        ahead = [pool.submit("pid") for _ in range(4)]
        old = pool.pool.pids
        kill(pool.pool._family._nursery.pid)
        for seq in held:
            outcome = await pool.outcome(seq)
            assert isinstance(outcome, Died)
            assert outcome.beside == 1
        for seq in ahead:
            assert await pool.result(seq) not in old
        for pid in old:
            assert gone(pid)


async def test_a_task_that_kills_its_whole_group(trial):
    async with trial(concurrency=2) as pool:
        outcome = await pool.outcome(pool.submit("kill_group"))
        assert isinstance(outcome, Died)
        assert outcome.beside == 0
        assert await pool.run("echo", 1) == 1


async def test_stop_does_not_wait_for_a_stopped_nursery(trial, monkeypatch):
    monkeypatch.setattr("celeriac.worker.executors.process.LEAVE_SECONDS", 0.1)
    monkeypatch.setattr("celeriac.worker.executors.nursery_client.CLOSE_SECONDS", 0.1)
    async with trial() as pool:
        nursery = pool.pool._family._nursery.pid
        os.kill(nursery, signal.SIGSTOP)
        await pool.pool.stop(0)
        assert gone(nursery)


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_what_is_submitted_on_hearing_of_a_death_is_not_given_to_the_dead(trial, concurrency):
    async with trial(concurrency=concurrency, ahead=1) as pool:
        followers = []

        def finished(job, outcome):
            tell(job, outcome)
            if len(followers) < 20:
                followers.extend(pool.submit("aecho" if n % 2 else "echo", n) for n in range(20))

        tell = pool._finished
        object.__setattr__(pool.pool._calls, "finished", finished)
        children = [os.pidfd_open(pid) for pid in pool.pool.pids]
        pool.submit("echo", 1)  # its end is among the last words of the child
        pool.submit("die")
        await asyncio.sleep(0)
        assert select.select(children, [], [], PATIENCE)[0], "nobody dies"  # meanwhile the loop reads nothing
        for child in children:
            os.close(child)
        await pool.until(lambda: followers and set(followers) <= set(pool.outcomes))
        assert all(isinstance(pool.outcomes[seq], Succeeded) for seq in followers)


async def test_results_written_before_death_are_kept(trial):
    async with trial(concurrency=1) as pool:
        first = pool.submit("echo", 1)
        second = pool.submit("die")
        assert isinstance(await pool.outcome(first), Succeeded)
        assert isinstance(await pool.outcome(second), Died)


@pytest.mark.parametrize("hog", ["hog", "hog_in_re"])
def test_no_child_outlives_its_worker(hog, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(
        "import asyncio, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from conftest import Trial\n"
        "async def main():\n"
        "    async with Trial(concurrency=3) as pool:\n"
        f"        busy = [pool.submit({hog!r}), pool.submit('ahold')]\n"
        "        await pool.all_begun(*busy)\n"
        "        print(*pool.pool.pids, pool.pool._family._nursery.pid, flush=True)\n"
        "        await asyncio.sleep(3600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as worker:
        pids = [int(pid) for pid in worker.stdout.readline().split()]
        assert len(pids) == 4
        watched = [os.pidfd_open(pid) for pid in pids]
        worker.kill()
        deadline = time.monotonic() + 1
        for descriptor in watched:
            ready, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
            assert ready, "a child lives a second after its worker was killed"
            os.close(descriptor)


async def test_an_interrupted_neighbour_is_no_failure(trial, gate):
    async with trial(concurrency=2) as pool:
        held = pool.submit("hold", gate.path)
        failed = pool.submit("fail")
        assert isinstance(await pool.outcome(failed), Failed)
        await pool.all_begun(held)
        await pool.pool.stop(0)
        assert await pool.outcome(held) == Interrupted()


def state_of(pid):
    """Return the kernel's letter for what a process does."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def gone(pid):
    """Return whether a process is dead, reaped or not, soon."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 1)[0])
    finally:
        os.close(descriptor)
