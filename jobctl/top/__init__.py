"""``jobctl top``: the full-screen display, made with Textual.

The screen never waits for Redis: what is read or changed there is a call in a thread of its own
(:mod:`jobctl.top.background`), whose answer comes back to the loop of the screen.
"""
