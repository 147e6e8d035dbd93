"""The master's children: forking, messages, reaping."""
