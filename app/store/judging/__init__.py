"""What judges say of live traffic."""
