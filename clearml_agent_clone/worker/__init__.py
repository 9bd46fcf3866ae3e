"""The daemon: claims tasks from queues, gives each a slot, starts a runner for it, and says that it is alive."""
