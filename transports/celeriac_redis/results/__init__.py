"""The rooms behind the result store: its keys and values, its connections, and who waits for what."""
