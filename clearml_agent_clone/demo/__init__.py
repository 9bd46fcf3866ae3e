"""``clearml-agent demo``: a server, a worker and a task, for a minute and in a temporary folder."""
