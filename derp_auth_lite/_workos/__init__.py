"""What the WorkOS backend is made of."""
