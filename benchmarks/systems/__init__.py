"""One module a system: imported by its worker, and run as a program by the producer to fill its queue.

These run in the systems' own environments: they import that system, the standard library and one another, no more.
"""
