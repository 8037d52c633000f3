"""Signatures: no byte of what is signed may change, no key is shown, and keys can be replaced."""

import logging
import pickle
from dataclasses import asdict, fields

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from celeriac import App
from celeriac.errors import ConfigurationError, UntrustedMessage
from celeriac.settings import Settings
from celeriac.signing import LEAST_KEY_BYTES, SIGNATURE_BYTES, Secret, Signer, TaskPlace

KEY, OTHER = "the key of the shop, 32 bytes long", "another key, as long as the first"
PLACE = TaskPlace("shop.add", "id-1", "mail", "", "application/x-cloudpickle", "binary", "")
BODY = b"some bytes"

texts = st.text(max_size=8)
places = st.builds(TaskPlace, *[texts] * len(TaskPlace._fields))


def signer(*keys):
    return Signer([Secret(key) for key in keys])


@given(places, st.binary(max_size=50))
def test_what_is_signed_is_verified(place, body):
    mine = signer(KEY)
    mine.verify_task(mine.sign_task(place, body), place, body)


@given(places, places, st.binary(max_size=20), st.binary(max_size=20))
def test_no_signature_fits_another_place_or_body(place, other_place, body, other_body):
    assume((place, body) != (other_place, other_body))
    mine = signer(KEY)
    with pytest.raises(UntrustedMessage, match="no key of ours"):
        mine.verify_task(mine.sign_task(place, body), other_place, other_body)


@given(st.text(max_size=80) | st.binary(max_size=40).map(bytes.hex))
def test_no_forged_signature_is_accepted(forged):
    mine = signer(KEY)
    assume(forged != mine.sign_task(PLACE, BODY))
    with pytest.raises(UntrustedMessage):
        mine.verify_task(forged, PLACE, BODY)


@given(st.integers(0, SIGNATURE_BYTES * 2 - 1))
def test_no_truncated_signature_is_accepted(length):
    mine = signer(KEY)
    with pytest.raises(UntrustedMessage):
        mine.verify_task(mine.sign_task(PLACE, BODY)[:length], PLACE, BODY)


@pytest.mark.parametrize("field", TaskPlace._fields)
def test_every_part_of_the_place_is_signed(field):
    mine = signer(KEY)
    with pytest.raises(UntrustedMessage):
        mine.verify_task(mine.sign_task(PLACE, BODY), PLACE._replace(**{field: getattr(PLACE, field) + "x"}), BODY)


def test_nothing_moves_from_one_part_to_the_next():
    mine = signer(KEY)
    one, two = PLACE._replace(task="ab", id="c"), PLACE._replace(task="a", id="bc")
    assert mine.sign_task(one, BODY) != mine.sign_task(two, BODY)
    assert mine.sign(("task", *PLACE), BODY) != mine.sign(("result", *PLACE), BODY)


def test_keys_are_replaced_by_signing_with_the_first_and_accepting_each():
    old, both, new = signer(KEY), signer(OTHER, KEY), signer(OTHER)
    both.verify_task(old.sign_task(PLACE, BODY), PLACE, BODY)
    new.verify_task(both.sign_task(PLACE, BODY), PLACE, BODY)
    for signs, verifies in [(old, new), (both, old)]:
        with pytest.raises(UntrustedMessage):
            verifies.verify_task(signs.sign_task(PLACE, BODY), PLACE, BODY)


def test_without_a_key_nothing_is_trusted():
    assert not signer()
    with pytest.raises(UntrustedMessage):
        signer().verify_task(signer(KEY).sign_task(PLACE, BODY), PLACE, BODY)
    with pytest.raises(UntrustedMessage, match="is not signed"):
        signer(KEY).verify_task(None, PLACE, BODY)


def test_each_signature_is_compared_in_constant_time_against_every_key(monkeypatch):
    compared = []

    def compare(a, b):
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr("celeriac.signing.hmac.compare_digest", compare)
    both = signer(KEY, OTHER)
    both.verify_task(both.sign_task(PLACE, BODY), PLACE, BODY)
    assert compared == [(SIGNATURE_BYTES, SIGNATURE_BYTES)] * 2


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_nowhere(caplog):
    caplog.set_level(logging.DEBUG)
    app = App("shop", broker="memory://", signing_keys=[KEY, OTHER.encode()])
    shown = [repr(app), repr(app.conf), str(app.conf), repr(asdict(app.conf)), repr(app.codecs.signer)]
    shown += [f"{key} {key!r} {key!s}" for key in app.conf.signing_keys]
    shown += [str(vars(app.codecs.signer)), caplog.text]
    assert not any("key of the shop" in text or "another key" in text for text in shown)
    assert "signing_keys=('**', '**')" in repr(app.conf)
    assert [key.reveal() for key in app.conf.signing_keys] == [KEY.encode(), OTHER.encode()]


def test_the_setting_says_that_it_is_secret():
    assert [each.name for each in fields(Settings) if each.metadata["secret"]] == ["signing_keys"]


@pytest.mark.parametrize("value", ["hush", ["hush"], [b"hush"], b"hush, and more than sixteen bytes", [1], 7])
def test_a_key_that_is_none_is_refused_without_showing_it(value):
    with pytest.raises(ConfigurationError, match="signing_keys: ") as caught:
        Settings.resolve({"signing_keys": value}, {})
    assert "hush" not in str(caught.value)


def test_keys_come_from_the_environment():
    settings = Settings.resolve({}, {"CELERIAC_SIGNING_KEYS": f"{KEY};{OTHER}"})
    assert [key.reveal() for key in settings.signing_keys] == [KEY.encode(), OTHER.encode()]
    with pytest.raises(ConfigurationError, match=f"CELERIAC_SIGNING_KEYS: a key has {LEAST_KEY_BYTES} bytes or more"):
        Settings.resolve({}, {"CELERIAC_SIGNING_KEYS": "short"})


def test_keys_are_compared_and_kept_as_they_are():
    assert Secret(KEY) == Secret(KEY.encode()) != Secret(OTHER)
    assert len({Secret(KEY), Secret(KEY), Secret(OTHER)}) == 2
    assert pickle.loads(pickle.dumps(Secret(KEY))) == Secret(KEY)  # noqa: S301  our own


@pytest.mark.parametrize("key", [12345678, True, list(range(40)), bytearray(40), None])
def test_a_key_is_text_or_bytes(key):
    """``bytes(12345678)`` would be a key of zeros."""
    with pytest.raises(TypeError, match="text or bytes"):
        Secret(key)
    with pytest.raises(ConfigurationError, match="signing_keys"):
        _ = App(signing_keys=[key]).conf
