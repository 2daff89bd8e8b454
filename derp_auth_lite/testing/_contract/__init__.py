"""What the contract of backends is made of: its parts, a class each."""
