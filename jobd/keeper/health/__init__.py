"""The health listener: HTTP for probes, Prometheus and autoscalers."""
