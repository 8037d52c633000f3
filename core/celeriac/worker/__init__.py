"""The worker: five rooms that one message walks through, and the executors that run tasks.

Delivery -> admit -> Job | Refused -> run -> Outcome -> decide -> Verdict -> settle -> Settled
"""
