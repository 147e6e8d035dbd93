"""The zygote: imports the application and forks workers."""
