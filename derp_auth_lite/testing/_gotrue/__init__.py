"""What the fake Supabase project is made of."""
