"""Sidekiq's data format: payloads, options, arguments and numbers. No I/O."""
