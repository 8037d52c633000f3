"""How figures come about: one class a file, named by what it measures."""
