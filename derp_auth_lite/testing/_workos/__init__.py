"""What the WorkOS environment of tests is made of."""
