"""The full-screen display: driven with Textual's pilot, and in a real terminal."""
