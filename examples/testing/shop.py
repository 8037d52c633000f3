"""A shop: it charges a card, and sends a receipt once that has worked. `test_shop.py` tests it without a broker."""

from celeriac import App

app = App("shop", broker="amqp://guest:guest@localhost:5672//")
receipts: list[str] = []
ledger: dict[str, int] = {}


class CardReaderError(Exception):
    """The card reader does not answer."""


def charge_card(order: str, cents: int) -> None:
    """Charge a card; asked twice for one order, it charges once."""
    ledger.setdefault(order, cents)


@app.task(autoretry_for=(CardReaderError,), max_retries=3, default_retry_delay=60)
def charge(order: str, cents: int) -> int:
    charge_card(order, cents)
    send_receipt.apply_async((order,), countdown=600)
    return cents


@app.task
def send_receipt(order: str) -> None:
    receipts.append(order)


def check_out(order: str, cents: int) -> None:
    """Do what the web page does: leave the work to a worker."""
    charge.delay(order, cents)
