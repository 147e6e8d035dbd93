"""One module a subject. Each has ``measure(bench, plan)``, which returns what JSON can hold."""
