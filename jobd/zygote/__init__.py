"""The zygote, which has imported the application and forks workers."""
