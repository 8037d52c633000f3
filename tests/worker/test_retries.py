"""What a task may wish for, from its exception to its result, through all rooms."""

from __future__ import annotations

import pytest

from celeriac import App, Ignore, Reject, Retry, Snooze
from celeriac.dead import DeadLetters
from celeriac.errors import MaxRetriesExceeded, ResultTimeout, TaskError

PATIENCE = 10


@pytest.fixture
def app():
    app = App("retries", broker="memory://")
    yield app
    app.close()


def test_a_listed_exception_is_tried_again_until_it_works(app):
    attempts = []

    @app.task(bind=True, autoretry_for=(KeyError,), retry_backoff=0.01, max_retries=5)
    def flaky(self, n: int) -> int:
        attempts.append((self.request.attempt, len(self.request.history)))
        if self.request.attempt < n:
            raise KeyError(n)
        return self.request.attempt

    with app.run_worker():
        assert flaky.delay(3).get(timeout=PATIENCE) == 3
    assert attempts == [(1, 0), (2, 1), (3, 2)]


def test_an_exhausted_task_raises_its_last_error_and_keeps_its_history(app):
    @app.task(autoretry_for=(KeyError,), retry_backoff=0.01, max_retries=2)
    def hopeless() -> None:
        raise KeyError("no")

    with app.run_worker():
        result = hopeless.delay()
        with pytest.raises(KeyError):
            result.get(timeout=PATIENCE)
        record = app.client.portal.run(app.client.look(result.id))
        assert record.attempt == 3
        assert [(entry["attempt"], entry["error"]) for entry in record.history] == [
            (1, "KeyError: 'no'"),
            (2, "KeyError: 'no'"),
            (3, "KeyError: 'no'"),
        ]
        assert all(entry["where"] and entry["at"] for entry in record.history)
        assert [entry["why"] for entry in result.history] == ["retry", "retry", "dead"]
        (letter,) = DeadLetters(app).peek()
        assert (letter.id, letter.reason, letter.attempts) == (result.id, "exhausted", 3)


def test_what_is_not_listed_fails_at_once(app):
    runs = []

    @app.task(autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,), retry_backoff=0.01)
    def absent() -> None:
        runs.append(1)
        raise FileNotFoundError("gone")

    with app.run_worker(), pytest.raises(FileNotFoundError):
        absent.delay().get(timeout=PATIENCE)
    assert runs == [1]


def test_self_retry_may_change_the_arguments(app):
    @app.task(bind=True)
    def halve(self, n: int) -> int:
        if n > 1:
            self.retry(countdown=0, args=(n // 2,), max_retries=10)
        return self.request.retries

    with app.run_worker():
        assert halve.delay(8).get(timeout=PATIENCE) == 3


def test_asking_too_often_is_a_failure_that_says_so(app):
    @app.task(max_retries=1)
    async def never() -> None:
        raise Retry(countdown=0)

    @app.task(bind=True, max_retries=1)
    def with_reason(self) -> None:
        try:
            raise OSError("the disk")  # noqa: TRY301 - as user code does
        except OSError as error:
            raise self.retry(countdown=0) from error

    with app.run_worker():
        with pytest.raises(MaxRetriesExceeded):
            never.delay().get(timeout=PATIENCE)
        with pytest.raises(OSError, match="the disk"):
            with_reason.delay().get(timeout=PATIENCE)


def test_a_snoozed_attempt_is_not_counted(app):
    naps = []

    @app.task(bind=True, max_retries=0)
    def sleepy(self) -> int:
        naps.append(1)
        if len(naps) < 4:
            raise Snooze(0.01)
        return self.request.attempt

    with app.run_worker():
        assert sleepy.delay().get(timeout=PATIENCE) == 1


def test_an_ignored_task_leaves_no_result_and_a_rejected_one_a_dead_letter(app):
    @app.task
    def forget_me() -> None:
        raise Ignore

    @app.task
    def not_mine() -> None:
        raise Reject("wrong address")

    with app.run_worker():
        with pytest.raises(TaskError, match="wrong address"):
            not_mine.delay().get(timeout=PATIENCE)
        ignored = forget_me.delay()
        with pytest.raises(ResultTimeout):
            ignored.get(timeout=0.2)
        letters = app.client.portal.run(app.client.connection.transport.peek("celeriac.dead", 10))
    (dead,) = (letter.headers["celeriac"]["dead"] for letter in letters)
    assert (dead["reason"], dead["attempts"]) == ("rejected", 1)


def test_a_task_acknowledged_early_is_tried_again_too(app):
    @app.task(bind=True, acks_late=False, autoretry_for=(KeyError,), retry_backoff=0.01)
    def eager(self) -> int:
        if self.request.attempt == 1:
            raise KeyError
        return self.request.attempt

    with app.run_worker():
        assert eager.delay().get(timeout=PATIENCE) == 2


def test_a_result_tells_that_a_retry_is_due(app):
    @app.task(autoretry_for=(KeyError,), default_retry_delay=60)
    def later() -> None:
        raise KeyError("x")

    with app.run_worker():
        result = later.delay()
        with pytest.raises(ResultTimeout):
            result.get(timeout=0.3)
        assert result.state == "RETRY"
        assert not result.ready()
