"""The stores of the native backend: each takes the database engine and can be tested alone."""
