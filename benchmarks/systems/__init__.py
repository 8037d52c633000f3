"""One module a system: imported by its worker, and run as a program by the producer to fill its queue."""
