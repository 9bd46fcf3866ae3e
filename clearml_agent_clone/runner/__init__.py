"""One task, from the claim to its last status. Daemon and ``execute`` start the same runner."""
