"""Dead letters: what was set aside, looked at, sent back to its queue, or dropped; by the port alone.

letters = DeadLetters(app)
for letter in letters.peek():
    print(letter.id, letter.task, letter.reason)
letters.replay(task="shop.charge")
"""

from celeriac.dead.letter import DeadMessage
from celeriac.dead.letters import DeadLetters

__all__ = ["DeadLetters", "DeadMessage"]
