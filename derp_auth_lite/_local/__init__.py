"""What backends share that keep something in the application's own database."""
