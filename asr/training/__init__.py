"""The one loop: it knows a `Task` and nothing of speech."""
