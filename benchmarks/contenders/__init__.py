"""One file a system: how its worker is started, and on which terms; ``systems/`` holds what runs in its environment."""
