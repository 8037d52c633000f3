"""What the shop sends, does, tries again, and survives. Run it with pytest in this folder."""

import pytest
import shop


def test_checking_out_charges_the_card(celeriac_sandbox):
    shop.check_out("order-17", 4200)
    celeriac_sandbox.assert_enqueued(shop.charge, args=("order-17", 4200), count=1)
    assert shop.ledger == {}  # nothing has run yet

    celeriac_sandbox.drain()
    assert shop.ledger == {"order-17": 4200}


def test_the_receipt_comes_ten_minutes_later(celeriac_sandbox):
    shop.check_out("order-17", 4200)
    celeriac_sandbox.drain()
    celeriac_sandbox.assert_enqueued(shop.send_receipt, args=("order-17",), countdown=600)

    celeriac_sandbox.advance(600)
    celeriac_sandbox.drain()
    assert shop.receipts == ["order-17"]


def test_a_card_reader_that_is_down_is_asked_again(celeriac_sandbox, celeriac_worker, monkeypatch):
    asked = []

    def sulk(order, cents):
        asked.append(order)
        if len(asked) < 3:
            raise shop.CardReaderError

    monkeypatch.setattr(shop, "charge_card", sulk)
    result = shop.charge.delay("order-17", 4200)
    celeriac_sandbox.advance(3600)  # a worker works meanwhile: each attempt has its moment
    assert result.get(timeout=0) == 4200
    assert len(asked) == 3
    assert shop.receipts == ["order-17"]


def test_a_worker_that_dies_in_the_middle_charges_once(celeriac_sandbox):
    celeriac_sandbox.faults.crash_after_run()  # all is done, and nothing is written down: it is run again
    shop.check_out("order-17", 4200)
    runs = celeriac_sandbox.drain()
    assert [run.task for run in runs] == ["shop.charge", "shop.charge"]
    assert shop.ledger == {"order-17": 4200}


def test_a_broker_that_refuses_is_noticed_at_the_till(celeriac_sandbox):
    celeriac_sandbox.faults.fail_publish("nacked")
    with pytest.raises(Exception, match="nacked"):
        shop.check_out("order-17", 4200)
