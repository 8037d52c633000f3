from datetime import UTC, datetime

from celeriac.events import Finished, Started, TaskEvent, Unsuccessful
from celeriac.worker.observers import Observers

ABOUT = {"task_id": "1", "task": "t", "queue": "q", "at": datetime(2026, 1, 1, tzinfo=UTC)}
STARTED = Started(**ABOUT)
FINISHED = Finished(**ABOUT, why="succeeded", shown="1", seconds=1.0, traceback=None)
FAILED = Unsuccessful(**ABOUT, why="failed", shown="boom", seconds=1.0, traceback="...")


def test_nothing_is_wanted_of_an_empty_house():
    observers = Observers()
    assert not any(observers.want(kind) for kind in (TaskEvent, Started, Finished, Unsuccessful))
    observers.tell(STARTED)


def test_each_is_told_what_it_asked_for_with_its_subclasses():
    observers, everything, finished, failed = Observers(), [], [], []
    observers.add(failed.append, Unsuccessful)
    assert not observers.want(Finished)
    observers.add(finished.append, Finished)
    assert observers.want(Finished)
    assert not observers.want(Started)
    observers.add(everything.append)
    for event in (STARTED, FINISHED, FAILED):
        observers.tell(event)
    assert everything == [STARTED, FINISHED, FAILED]
    assert finished == [FINISHED, FAILED]
    assert failed == [FAILED]


def test_one_that_raises_harms_no_other(caplog):
    observers, heard = Observers(), []

    def broken(event):
        raise RuntimeError("no")

    observers.add(broken, Started)
    observers.add(heard.append, Started)
    observers.tell(STARTED)
    assert heard == [STARTED]
    assert "an observer failed" in caplog.text
