"""Sidekiq's bytes: payloads, options, arguments and numbers. No I/O."""
