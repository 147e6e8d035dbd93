"""What is measured and how: the contenders, the plan, the bench."""
