"""What is read once for all who ask at the same time: pages, programs, Prometheus."""
