"""The fetcher thread: claims jobs and acknowledges them."""
