"""jobd: background jobs for Python, in the data format of Sidekiq."""
