"""What comes out of a run: tables, figures, plot, the published page."""
