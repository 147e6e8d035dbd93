"""What the pages of one dashboard share."""
