"""What happens to tasks: their statuses, their fields, their end."""
