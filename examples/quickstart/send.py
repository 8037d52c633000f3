"""Sends tasks to a worker of ``tasks.py`` and waits for what they return."""

from tasks import add

result = add.delay(4, 4)
print("sent", result.id)
print("4 + 4 =", result.get(timeout=10))

later = add.apply_async((2, 3), countdown=1)
print("a second later, 2 + 3 =", later.get(timeout=10))
