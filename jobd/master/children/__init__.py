"""The master's children: forking them, hearing them, reaping them."""
