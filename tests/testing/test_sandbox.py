"""A sandbox: what waits in it, and what runs when it is asked to."""

from __future__ import annotations

import asyncio
import threading
from unittest.mock import ANY

import pytest

from celeriac import App, Queue
from celeriac.errors import ConfigurationError, NotRegistered, TaskError, UnknownOption
from celeriac.testing import NotDrained, Sandbox


def test_nothing_runs_until_it_is_drained(shop, box):
    result = shop.charge.delay(17)
    assert (result.state, shop.done) == ("PENDING", [])
    (run,) = box.drain()
    assert (run.task_id, run.task, run.why, run.shown) == (result.id, "shop.charge", "succeeded", "17")
    assert result.get(timeout=0) == 17
    assert box.enqueued() == []
    assert box.drain() == []


def test_what_follows_is_drained_too_in_whatever_queue(shop, box):
    shop.mail.delay("you")
    shop.charge.apply_async((5,), queue="a-queue-that-nobody-declared")
    assert [run.task for run in box.drain()] == ["shop.charge", "shop.mail", "shop.charge"]


def test_the_app_is_what_it_was_afterwards(shop):
    conf, clock = shop.app.conf, shop.app.clock
    with Sandbox(shop.app, acks_late=False) as box:
        assert shop.app.conf.acks_late is False
        shop.charge.delay(1)
        shop.charge.apply_async((2,), countdown=60)
    assert (shop.app.conf, shop.app.clock) == (conf, clock)
    with Sandbox(shop.app) as box:
        assert box.enqueued() == []


def test_it_is_undone_after_an_error(shop):
    conf = shop.app.conf
    with pytest.raises(ZeroDivisionError), Sandbox(shop.app):
        raise ZeroDivisionError
    assert shop.app.conf is conf


def test_it_is_undone_if_it_cannot_begin(shop, monkeypatch):
    conf = shop.app.conf

    async def fail(_):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("celeriac.connection.Connection.open", fail)
        with pytest.raises(ZeroDivisionError), Sandbox(shop.app):
            pass
    assert shop.app.conf is conf
    with Sandbox(shop.app) as box:
        shop.charge.delay(1)
        assert len(box.drain()) == 1


def test_an_app_is_in_one_sandbox_at_a_time(shop, box):
    with pytest.raises(ConfigurationError, match="in a sandbox already"), Sandbox(shop.app):
        pass
    box.drain()


def test_an_unknown_setting_is_refused(shop):
    with pytest.raises(UnknownOption, match="did you mean 'acks_late'"):
        Sandbox(shop.app, ack_late=True)


def test_arguments_are_really_serialised(shop, box):
    handed = {"list": (1, 2)}
    shop.charge.delay(handed)
    handed["list"] = "changed afterwards"
    assert box.enqueued(shop.charge)[0].args == [{"list": [1, 2]}]
    with pytest.raises(Exception, match="cannot be carried"):
        shop.charge.delay(object())


# what waits


def test_a_call_is_found_however_its_arguments_were_given(shop, box):
    shop.charge.delay(17)
    shop.charge.apply_async((), {"amount": (1, 2), "currency": "USD"}, countdown=60)
    box.assert_enqueued(shop.charge)
    box.assert_enqueued("shop.charge", args=[17], countdown=0)
    box.assert_enqueued(shop.charge, args=(17, "EUR"))
    box.assert_enqueued(shop.charge, kwargs={"amount": 17})
    box.assert_enqueued(shop.charge, args=((1, 2), "USD"), queue="celeriac", countdown=60)
    box.assert_enqueued(shop.charge, args=(ANY, "USD"), count=1)
    box.assert_enqueued(shop.charge, kwargs={"currency": "USD"}, count=1)
    box.assert_enqueued(shop.charge, count=2)
    box.refute_enqueued(shop.charge, args=(18,))
    box.refute_enqueued(shop.charge, kwargs={"currency": "CHF"})
    box.refute_enqueued(shop.charge, args=(17,), queue="mail")
    box.refute_enqueued(shop.charge, args=(17,), countdown=60)
    box.refute_enqueued(shop.mail)


def test_a_failed_assertion_shows_what_is_enqueued_instead_the_nearest_first(shop, box):
    shop.charge.apply_async((1, "USD"), countdown=30, queue="slow")
    shop.charge.delay(17, "USD")
    shop.mail.delay("you")
    with pytest.raises(AssertionError) as failed:
        box.assert_enqueued(shop.charge, args=(17,), queue="celeriac")
    assert str(failed.value).splitlines() == [
        "not enqueued:",
        "  - shop.charge(amount=17, currency='EUR') with queue='celeriac'",
        "  + shop.charge(17, 'USD') in 'celeriac'",
        "      currency: expected 'EUR', enqueued with 'USD'",
        "  + shop.charge(1, 'USD') in 'slow' in 30 s",
        "      amount: expected 17, enqueued with 1",
        "      currency: expected 'EUR', enqueued with 'USD'",
        "      queue: expected 'celeriac', enqueued with 'slow'",
        "    shop.mail('you') in 'mail'",
    ]
    with pytest.raises(AssertionError, match="3 times, not 1"):
        box.assert_enqueued(shop.mail, count=3)


def test_a_failed_refutation_shows_what_was_found(shop, box):
    shop.charge.delay(17)
    with pytest.raises(
        AssertionError, match=r"(?s)not to be.*- shop\.charge\(amount=17, \.\.\.\).*\+ shop\.charge\(17\)"
    ):
        box.refute_enqueued(shop.charge, kwargs={"amount": 17})


def test_nothing_waits_is_said(shop, box):
    with pytest.raises(AssertionError, match="nothing waits in any queue"):
        box.assert_enqueued(shop.charge)


def test_a_mistyped_task_is_no_success(box):
    with pytest.raises(NotRegistered, match=r"did you mean 'shop\.charge'"):
        box.refute_enqueued("shop.chrage")
    with pytest.raises(AssertionError, match=r"did you mean 'shop\.charge'"):
        box.assert_enqueued("shop.chrage")


def test_another_program_s_task_is_found_too(shop, box):
    shop.app.send_task("stock.reserve", ("a-book", (1, 2)), {"days": 3})
    box.assert_enqueued("stock.reserve", args=("a-book", (1, 2)), kwargs={"days": 3})
    with pytest.raises(AssertionError, match="enqueued with"):
        box.assert_enqueued("stock.reserve", args=("a-book",))


def test_a_mistyped_expectation_is_none_either(shop, box):
    shop.charge.delay(1)
    with pytest.raises(UnknownOption, match="did you mean 'queue'"):
        box.refute_enqueued(shop.charge, queu="celeriac")


def test_what_is_revoked_or_set_aside_waits_no_more(shop, box):
    shop.reject.delay()
    box.drain(propagate=False)
    assert box.enqueued() == []


# draining


def test_a_failure_is_raised_as_what_it_was(shop, box):
    shop.charge.delay(1)
    shop.break_it.delay()
    shop.break_it.delay()
    with pytest.raises(ValueError, match="broken") as raised:
        box.drain()
    assert [note.rpartition(" has ")[2] for note in raised.value.__notes__] == ["failed: broken"] * 2
    assert [run[2] for run in shop.done] != []


def test_a_failure_is_left_alone_if_one_asks(shop, box):
    result = shop.break_it.delay()
    assert [run.why for run in box.drain(propagate=False)] == ["failed"]
    assert result.state == "FAILURE"


def test_a_failure_without_a_result_is_raised_too(shop, box):
    shop.break_it.apply_async(ignore_result=True)
    with pytest.raises(TaskError, match=r"(?s)shop\.break has failed: broken.*in break_it"):
        box.drain()


def test_what_is_set_aside_is_a_failure(shop, box):
    shop.reject.delay()
    with pytest.raises(TaskError, match="no such thing"):
        box.drain()


def test_solo_is_the_caller_s_own_thread(shop):
    with Sandbox(shop.app, pool="solo") as box:
        shop.mail.delay("you")
        shop.charge.delay(2)
        box.drain()
    assert [run[2] for run in shop.done] == [threading.current_thread()] * 2


@pytest.mark.parametrize("pool", ["thread", "solo"])
def test_a_failure_on_either_pool_ends_the_drain(shop, pool):
    with Sandbox(shop.app, pool=pool) as box:
        shop.break_it.delay()
        with pytest.raises(ValueError, match="broken"):
            box.drain()
        shop.charge.delay(3)
        assert len(box.drain()) == 1


def test_the_stuck_are_named_with_where_they_are(shop, box):
    stuck, asleep = shop.wait.delay(), shop.sleep.delay()
    behind, later = shop.charge.delay(17), shop.charge.apply_async((18,), countdown=3600)
    with pytest.raises(NotDrained) as failed:
        box.drain(timeout=0.3)
    text = str(failed.value)
    assert text.startswith("not done after 0.3 s:\n")
    assert f"shop.wait[{stuck.id}] (): running for 0." in text
    assert "in wait_for_it\n" in text
    assert "self.hold.wait()" in text
    assert f"shop.sleep[{asleep.id}]: running for 0." in text
    assert "await asyncio.sleep(3600)" in text
    assert "run_sync" not in text
    assert f"shop.charge[{behind.id}] (17,): " in text
    assert f"shop.charge[{later.id}] (18,): delayed until " in text
    assert ", 3600 s" in text or ", 3599 s" in text


def test_what_no_worker_here_consumes_is_not_waited_for_but_told(shop, box):
    with box.worker(queues=["celeriac"]):
        shop.mail.delay("you")
        with pytest.raises(NotDrained, match=r"never run:\n.*queued in 'mail', which no worker here consumes"):
            box.drain()


def test_a_standing_worker_is_waited_for(shop, box):
    with box.worker(queues=["celeriac", "mail"]) as worker:
        result = shop.mail.delay("you")
        runs = box.drain()
        assert [run.task for run in runs] == ["shop.mail", "shop.charge"]
        assert result.state == "SUCCESS"
        assert worker.finished == runs
        assert [run.task for run in box.drain()] == []


def test_a_standing_worker_has_no_thread_of_ours(shop, box):
    with pytest.raises(ConfigurationError, match="needs threads"):
        box.worker(pool="solo")


def test_a_failure_that_came_before_the_drain_is_raised_by_it(shop, box):
    with box.worker() as worker:
        result = shop.break_it.delay()
        assert result.get(timeout=10, propagate=False).args == ("broken",)
        with pytest.raises(ValueError, match="broken"):
            box.drain()
        assert box.drain() == []
        assert len(worker.finished) == 1


def test_an_early_acknowledged_task_is_waited_for(shop, box):
    begun = threading.Event()

    @shop.app.task(acks_late=False)
    def slow():
        begun.set()
        shop.hold.wait()

    with box.worker():
        result = slow.delay()
        assert begun.wait(10)
        threading.Timer(0.2, shop.hold.set).start()
        box.drain()
        assert result.state == "SUCCESS"


def test_from_a_coroutine(shop):
    async def main():
        with Sandbox(shop.app) as box:
            result = await shop.charge.adelay(17)
            later = await shop.charge.aapply_async((18,), countdown=60)
            box.assert_enqueued(shop.charge, count=2)
            box.faults.lose_connection()
            await box.adrain()
            await box.aadvance(60)
            await box.adrain()
            return await result, await later

    assert asyncio.run(main()) == (17, 18)


def test_a_time_limit_does_not_keep_a_task_out(shop, box):
    @shop.app.task(time_limit=60)
    def limited():
        return "ran"

    result = limited.delay()
    box.drain()
    assert result.get(timeout=0) == "ran"


def test_priorities_and_declared_queues_are_the_app_s(shop):
    app = App("ranked", broker="amqp://nowhere.invalid:1", queues=[Queue("ranked", priorities=10)])
    order = []

    @app.task(queue="ranked")
    def note(what):
        order.append(what)

    with Sandbox(app) as box:
        note.apply_async(("low",), priority=1)
        note.apply_async(("high",), priority=9)
        box.assert_enqueued(note, args=("high",), priority=9)
        box.drain()
    assert order == ["high", "low"]
