"""What all processes of ours share."""
