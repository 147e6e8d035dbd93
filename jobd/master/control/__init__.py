"""The control socket: what jobctl asks for."""
